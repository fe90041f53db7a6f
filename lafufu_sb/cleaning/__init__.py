"""Cleaning of corpora: restore all files of a folder or manifest, and harm none.

``manifests`` lists the files, ``plan`` assigns each a result, ``work`` restores it,
``gate`` compares it with the original, ``state`` records it, ``report`` summarises all.
``job`` runs these in turn, ``ray_engine`` on many machines.
"""
