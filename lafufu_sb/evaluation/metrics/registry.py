"""The registry of metrics, the checks they share, and means over files."""

import importlib.util
import math
import numbers
from typing import NamedTuple

import numpy as np
import torch

from lafufu_sb.errors import MissingPackageError, UsageError

SPEECH_RATE = 16000  # Hz, the rate that PESQ-WB and the opinion models are defined at
_SILENCE_PEAK = 1e-8  # -160 dBFS, below 24-bit audio: catches digital silence only

METRICS = {}


class Measured(NamedTuple):
    """The result of a metric.

    value : float
        A plain float: SpeechBrain's checkpoints refuse NumPy scalars. NaN where the
        metric cannot judge the signals.
    note : str
        Why it cannot; empty otherwise.
    """

    value: float
    note: str = ""


class Metric(NamedTuple):
    """A registered metric, see ``metric``."""

    function: callable
    title: str
    packages: tuple
    extra: str
    needs_reference: bool
    judges_silence: bool


def metric(
    name, title, *, packages=(), extra="", needs_reference=True, judges_silence=False
):
    """Register a metric.

    The decorated function takes ``(estimate, reference, sample_rate)``, float64 arrays
    of shape (time,), equally long, finite and (by default) not silent, and returns a
    ``Measured``. ``reference`` is None if the caller has none and none is needed.

    Arguments
    ---------
    name : str
        Key of the metric, on the command line and in result files.
    title : str
        Its name in notes.
    packages : sequence of str
        Modules that the function imports.
    extra : str
        The extra of ``lafufu_sb`` that installs them.
    needs_reference : bool
        Whether the clean signal is needed.
    judges_silence : bool
        Whether digital silence is judged like any other signal.

    Example
    -------
    >>> @metric("peak_ratio", "Peak ratio")
    ... def peak_ratio(estimate, reference, sample_rate):
    ...     return Measured(float(abs(estimate).max() / abs(reference).max()))
    >>> evaluate(torch.ones(9), 2 * torch.ones(9), 48000, ["peak_ratio"])
    {'peak_ratio': Measured(value=0.5, note='')}
    >>> del METRICS["peak_ratio"]
    """

    def register(function):
        METRICS[name] = Metric(
            function, title, tuple(packages), extra, needs_reference, judges_silence
        )
        return function

    return register


def available():
    """Names of the metrics whose packages are installed, a tuple.

    Example
    -------
    >>> "si_sdr" in available()
    True
    """
    return tuple(name for name in METRICS if not _missing(name))


def missing_hints(names):
    """One line for each metric that cannot be computed: what to install."""
    return [_hint(name) for name in names if _missing(name)]


def check_metrics(names):
    """UsageError for an unknown name, MissingPackageError if a package is missing."""
    if unknown := [name for name in names if name not in METRICS]:
        raise UsageError(f"Unknown metrics {unknown}: choose from {list(METRICS)}.")
    if hints := missing_hints(names):
        raise MissingPackageError("; ".join(hints))


def _missing(name):
    packages = METRICS[name].packages
    return [p for p in packages if importlib.util.find_spec(p) is None]


def _hint(name):
    remedy = f'pip install "lafufu_sb[{METRICS[name].extra}]"'
    packages = ", ".join(_missing(name))
    return f"{name} needs the package {packages}: {remedy}"


def evaluate(estimate, reference, sample_rate, names=("si_sdr", "pesq", "estoi")):
    """Compute several metrics of one estimate.

    Arguments
    ---------
    estimate : array or torch.Tensor
        (time,), floating-point.
    reference : array, torch.Tensor or None
        The clean signal, equally long; None if no metric needs one.
    sample_rate : int
        Hz.
    names : sequence of str
        Keys of ``METRICS``; "dnsmos" is its overall score, "pesq" is wide-band.

    Returns
    -------
    dict of str to Measured
        In the order of ``names``.

    Raises
    ------
    UsageError
        For an unknown name, a missing reference, or an invalid signal.
    MissingPackageError
        If a metric lacks a package, see ``available``.

    Example
    -------
    >>> speech = torch.randn(48000, generator=torch.Generator().manual_seed(0))
    >>> evaluate(2 * speech, 2 * speech, 48000, names=["lsd"])
    {'lsd': Measured(value=0.0, note='')}
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    check_metrics(names)
    signals = {"estimate": estimate}
    if reference is not None:
        signals["reference"] = reference
    elif needy := [name for name in names if METRICS[name].needs_reference]:
        raise UsageError(f"{needy} need a reference: pass the clean signal.")
    signals = dict(zip(signals, checked(**signals), strict=True))
    return {name: _apply(METRICS[name], signals, sample_rate) for name in names}


def _apply(metric, signals, sample_rate):
    heard = signals if metric.needs_reference else {"estimate": signals["estimate"]}
    for label, signal in heard.items():
        if fault := unusable(signal, metric.judges_silence):
            return not_judged(f"{metric.title} gives NaN: the {label} is {fault}")
    return metric.function(signals["estimate"], signals.get("reference"), sample_rate)


def not_judged(note):
    """The result of a metric that cannot judge the signals."""
    return Measured(math.nan, note)


def unusable(signal, judges_silence=False):
    """ "silent", "not finite", or "" for a signal that can be judged."""
    if not np.isfinite(signal).all():
        return "not finite"
    # initial: resampling may leave no sample of a very short signal
    if not judges_silence and np.abs(signal).max(initial=0) < _SILENCE_PEAK:
        return "silent"
    return ""


def checked(**signals):
    """Signals as float64 arrays, (time,); UsageError unless equally long and float."""
    arrays = []
    for label, values in signals.items():
        if isinstance(values, torch.Tensor) and values.is_floating_point():
            values = values.detach().cpu().double().numpy()  # NumPy has no bfloat16
        values = np.asarray(values)
        if values.ndim != 1 or not values.size or values.dtype.kind != "f":
            raise UsageError(
                f"{label} is {values.dtype} of shape {values.shape}: pass one non-"
                "empty signal, (time,), of floating samples with full scale 1."
            )
        arrays.append(values.astype(np.float64))
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise UsageError(
            f"{list(signals)} have {lengths} samples: cut them to one length."
        )
    return arrays


def to_speech_rate(signal, sample_rate):
    """Resample (time,) to 16 kHz."""
    if sample_rate == SPEECH_RATE:  # soxr would still change the samples
        return signal
    import soxr

    # librosa's default, behind the published PESQ; torchaudio's moves it by 0.01.
    return soxr.resample(signal, sample_rate, SPEECH_RATE, quality="HQ")


def summarise(rows):
    """Mean and standard deviation of each metric over files.

    Arguments
    ---------
    rows : list of dict
        One per file; entries other than numbers are ignored.

    Returns
    -------
    dict of str to dict
        Per metric ``mean`` and ``std`` (population, as SGMSE reports it) of the ``n``
        finite values, NaN if there are none, and ``failed``, the count of the others.

    Example
    -------
    >>> summarise([{"pesq": 2.0}, {"pesq": 3.0}, {"pesq": math.nan}])
    {'pesq': {'mean': 2.5, 'std': 0.5, 'n': 2, 'failed': 1}}
    """
    columns = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, numbers.Real) and not isinstance(value, bool):
                columns.setdefault(name, []).append(float(value))
    summary = {}
    for name, values in columns.items():
        finite = [value for value in values if math.isfinite(value)]
        usable = finite or [math.nan]
        mean, std = float(np.mean(usable)), float(np.std(usable))
        counts = {"n": len(finite), "failed": len(values) - len(finite)}
        summary[name] = {"mean": mean, "std": std} | counts
    return summary
