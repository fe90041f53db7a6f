"""Corpus cleaning: every file of a folder or manifest restored, or kept where it harms.

The way of a file: ``manifests`` names it, ``plan`` says where it goes, ``work``
restores it, ``gate`` compares, ``state`` remembers, ``report`` tells.
"""

KINDS = ("folder", "csv", "json", "kaldi", "lhotse")  # of input
