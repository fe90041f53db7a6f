"""Brains, stages, recipes, losses, checkpoints and export."""
