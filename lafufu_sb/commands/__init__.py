"""Sub-commands of ``lafufu``, each with its options beside what it runs.

A module has ``add_parser``; nothing heavy is imported before it runs.
"""
