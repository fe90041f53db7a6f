"""Measured restorations: clips, runs over a test set, tables and plots of several."""

from lafufu_sb.evaluation.clips import SIDES, ClipReport

__all__ = ["SIDES", "ClipReport"]
