"""Evaluation: metrics, measured clips, runs over test sets, tables and plots."""

from lafufu_sb.evaluation.clips import SIDES, ClipReport

__all__ = ["SIDES", "ClipReport"]
