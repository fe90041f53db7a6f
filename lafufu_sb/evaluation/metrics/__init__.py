"""Metrics of restored speech; a new one is a function with the decorator ``metric``.

Signals are NumPy arrays or torch tensors of a floating type, (time,), full scale 1.
Signals that a metric cannot judge (silent, not finite, too short, no utterance) give
NaN and a note, so that one bad file never ends the evaluation of a thousand.
"""

from lafufu_sb.evaluation.metrics.intrusive import estoi, lsd, pesq_wb, si_sdr
from lafufu_sb.evaluation.metrics.opinion import distillmos, dnsmos
from lafufu_sb.evaluation.metrics.registry import (
    METRICS,
    Measured,
    available,
    check_metrics,
    evaluate,
    metric,
    missing_hints,
    summarise,
)

__all__ = [
    "METRICS",
    "Measured",
    "available",
    "check_metrics",
    "distillmos",
    "dnsmos",
    "estoi",
    "evaluate",
    "lsd",
    "metric",
    "missing_hints",
    "pesq_wb",
    "si_sdr",
    "summarise",
]
