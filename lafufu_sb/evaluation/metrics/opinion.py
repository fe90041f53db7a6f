"""Predicted listening tests that need no clean signal: DNSMOS and DistillMOS."""

import contextlib
import functools
import io
import math
from functools import partial

import numpy as np
import torch

from lafufu_sb.evaluation.metrics.registry import (
    SPEECH_RATE,
    Measured,
    check_metrics,
    checked,
    metric,
    not_judged,
    to_speech_rate,
    unusable,
)
from lafufu_sb.lobes.dnsmos import published_folder

_DNSMOS = {"ovr": "ovrl_mos", "sig": "sig_mos", "bak": "bak_mos", "p808": "p808_mos"}
# speechmos declares none of the others.
_DNSMOS_PACKAGES = ("speechmos", "onnxruntime", "librosa", "requests", "soxr")


def dnsmos(signal, sample_rate):
    """DNSMOS P.835 and P.808.

    The signal is resampled to 16 kHz and divided by its peak only where that exceeds
    1, because the networks hear the level. The package doubles a clip until it lasts
    9.01 s and averages the windows of 9.01 s that start every second: 4 s become 16 s,
    7 windows. Source: Reddy et al., ICASSP 2022 (P.835) and 2021 (P.808, a network of
    its own); the package speechmos, on one thread.

    Arguments
    ---------
    signal : array or torch.Tensor
        (time,).
    sample_rate : int
        Hz.

    Returns
    -------
    dict of str to float
        Mean opinion scores, 1 to 5: ``ovr`` (overall), ``sig`` (speech) and ``bak``
        (background) of P.835; ``p808``. NaN when the signal is silent or not finite.

    Raises
    ------
    MissingPackageError
        If speechmos, or a package that it imports, is not installed.

    Example
    -------
    >>> noise = torch.randn(40000, generator=torch.Generator().manual_seed(0))
    >>> scores = dnsmos(0.1 * noise, 16000)
    >>> list(scores), scores["ovr"] < 2
    (['ovr', 'sig', 'bak', 'p808'], True)
    """
    check_metrics(["dnsmos"])
    signal = to_speech_rate(*checked(signal=signal), sample_rate)
    if unusable(signal):
        return dict.fromkeys(_DNSMOS, math.nan)
    return _dnsmos_scores(signal.tobytes())


@functools.lru_cache(maxsize=1)  # all parts come from one run
def _dnsmos_scores(signal_bytes):
    signal = np.frombuffer(signal_bytes)
    signal = signal / max(1.0, np.abs(signal).max())
    scores = _dnsmos_networks()(signal, SPEECH_RATE, False)
    return {part: float(scores[key]) for part, key in _DNSMOS.items()}


def _dnsmos_part(part, estimate, reference, sample_rate):
    value = dnsmos(estimate, sample_rate)[part]
    if math.isnan(value):
        return not_judged("DNSMOS gives NaN: the estimate is too short or silent")
    return Measured(value)


for _part in _DNSMOS:
    _name = "dnsmos" if _part == "ovr" else f"dnsmos_{_part}"
    _options = {"extra": "metrics", "needs_reference": False}
    metric(_name, "DNSMOS", packages=_DNSMOS_PACKAGES, **_options)(
        partial(_dnsmos_part, _part)
    )


@functools.lru_cache(maxsize=1)
def _dnsmos_networks():
    """The package's DNSMOS, on one thread, so that workers do not compete for cores."""
    import onnxruntime
    from speechmos import dnsmos as package

    folder = published_folder()
    paths = [str(folder / name) for name in ("sig_bak_ovr.onnx", "model_v8.onnx")]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    networks = package.DNSMOS(*paths)
    sessions = [onnxruntime.InferenceSession(path, options) for path in paths]
    networks.onnx_sess, networks.p808_onnx_sess = sessions
    return networks


@metric(
    "distillmos",
    "DistillMOS",
    packages=("distillmos", "soxr"),
    extra="distillmos",
    needs_reference=False,
)
def distillmos(estimate, reference, sample_rate):
    """Mean opinion score, 1 to 5, by a distilled self-supervised network.

    In no loss of this package, so it judges models that were trained with DNSMOS or
    PESQ. Level does not matter: the network normalises its input. Source: Stahl and
    Gamper, "Distillation and Pruning for Scalable Self-Supervised Representation-Based
    Speech Quality Assessment", ICASSP 2025; the package distillmos.
    """
    signal = torch.from_numpy(to_speech_rate(estimate, sample_rate)).float()
    if not len(signal):
        return not_judged("DistillMOS gives NaN: the estimate is too short")
    with torch.inference_mode():
        return Measured(float(_distillmos_network()(signal[None])))


@functools.lru_cache(maxsize=1)
def _distillmos_network():
    from distillmos import ConvTransformerSQAModel

    with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights are
        return ConvTransformerSQAModel().eval()
