"""What users load: ``EnhanceLatent``, ``RestoredASR`` and model folders.

A model folder holds a YAML that describes the networks, and their weights. It comes
from the package, from a training run, from the Hub, or from a public checkpoint.
"""
