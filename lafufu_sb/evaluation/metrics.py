"""Measures of restored speech: SI-SDR, PESQ, ESTOI, LSD and DNSMOS.

Signals are NumPy arrays or torch tensors of a floating type, (time,), full scale 1,
and results plain Python floats (SpeechBrain's checkpoints refuse NumPy scalars).
Signals that a measure cannot judge (silent, not finite, too short, no utterance)
give NaN and a logged warning, so that one bad file never ends the evaluation of a
thousand; `summarise` counts them. Wrong calls raise: ValueError for invalid signals
and names, ImportError where PESQ, ESTOI or DNSMOS lack a package of the ``metrics``
extra, which are imported on first use; `available` tells beforehand.
"""

import functools
import importlib.util
import logging
import math
import numbers
import subprocess
import sys
import warnings

import numpy as np
import torch

from lafufu_sb.lobes.dnsmos import published_folder

logger = logging.getLogger(__name__)

# Parts of DNSMOS by the metrics' names, and the package's names of the parts.
_DNSMOS_PARTS = {"dnsmos": "ovr"} | {f"dnsmos_{p}": p for p in ("sig", "bak", "p808")}
_DNSMOS_SCORES = dict(sig="sig_mos", bak="bak_mos", ovr="ovrl_mos", p808="p808_mos")
METRICS = ("si_sdr", "pesq", "estoi", "lsd", *_DNSMOS_PARTS)
_PACKAGES = {"pesq": ("pesq", "soxr"), "estoi": ("pystoi",)} | dict.fromkeys(
    _DNSMOS_PARTS, ("speechmos", "onnxruntime", "librosa", "requests", "soxr")
)

_SILENCE_PEAK = 1e-8  # -160 dBFS, below 24-bit audio: catches digital silence only
_SPEECH_RATE = 16000  # Hz, the rate that PESQ-WB and DNSMOS are defined at

# The C code of the pesq package has room for 50 utterances and writes past its arrays
# on more: a segmentation fault (ludlows/PESQ#18) that would take the caller with it.
# One needs 0.4 s with its pause, so 20 s are safe; longer clips get their own process.
_PESQ_SAFE = 20 * _SPEECH_RATE  # samples
_PESQ_CHILD = """
import sys, numpy, pesq
estimate, reference = numpy.frombuffer(sys.stdin.buffer.read()).reshape(2, -1)
sys.stdout.write(repr(float(pesq.pesq(16000, reference, estimate, "wb"))))
"""


def si_sdr(estimate, reference):
    """Scale-invariant signal-to-distortion ratio, without removal of the mean.

    Source: Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019, eq. (4).

    Parameters
    ----------
    estimate, reference : array or torch.Tensor, (time,), equally long

    Returns
    -------
    float
        dB, bounded to about +-156 dB (double precision) so that a perfect estimate
        leaves means finite. NaN when either signal is silent or not finite.

    Example
    -------
    >>> reference = torch.tensor([1.0, 1.0, 1.0, 1.0])
    >>> estimate = reference + torch.tensor([0.1, -0.1, 0.1, -0.1])
    >>> round(si_sdr(estimate, reference), 3)
    20.0
    """
    estimate, reference = _checked(estimate=estimate, reference=reference)
    if _unusable("SI-SDR", estimate=estimate, reference=reference):
        return math.nan
    target = (estimate @ reference) / (reference @ reference) * reference
    distortion = estimate - target
    floor = np.finfo(np.float64).eps * (estimate @ estimate)
    ratio = (target @ target + floor) / (distortion @ distortion + floor)
    return float(10.0 * np.log10(ratio))


def pesq_wb(estimate, reference, sample_rate):
    """Wide-band PESQ (ITU-T P.862.2), both signals resampled to 16 kHz.

    Parameters
    ----------
    estimate, reference : array or torch.Tensor, (time,), equally long
    sample_rate : int, Hz

    Returns
    -------
    float
        MOS-LQO, 1.04 to 4.64. NaN for silence, under a quarter of a second, no
        utterance found, or so many (over 50) that the package fails.

    Example
    -------
    >>> time = torch.arange(32000) / 16000
    >>> speech = torch.sin(6000 * time) * torch.sin(10 * time)
    >>> round(pesq_wb(speech, speech, 16000), 2)
    4.64
    """
    check_metrics(["pesq"])
    from pesq import PesqError, pesq

    estimate, reference = _checked(estimate=estimate, reference=reference)
    if _unusable("PESQ", estimate=estimate, reference=reference):
        return math.nan
    estimate = _to_speech_rate(estimate, sample_rate)
    reference = _to_speech_rate(reference, sample_rate)
    try:
        if len(reference) > _PESQ_SAFE:
            return _pesq_in_child(estimate, reference)
        return float(pesq(_SPEECH_RATE, reference, estimate, "wb"))
    except (PesqError, ValueError) as error:  # ValueError: NaN inside the package
        logger.warning("PESQ gives NaN: %s", error)
        return math.nan


def estoi(estimate, reference, sample_rate):
    """Extended short-time objective intelligibility.

    Source: Jensen and Taal, IEEE/ACM TASLP 24(11), 2016; the package pystoi.

    Parameters
    ----------
    estimate, reference : array or torch.Tensor, (time,), equally long
    sample_rate : int, Hz

    Returns
    -------
    float
        About 0 to 1. NaN for silence, and when fewer than 30 frames (0.4 s) remain
        without the silent parts of the reference.

    Example
    -------
    >>> speech = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    >>> round(estoi(speech, speech, 16000), 3)
    1.0
    """
    check_metrics(["estoi"])
    from pystoi import stoi

    estimate, reference = _checked(estimate=estimate, reference=reference)
    if _unusable("ESTOI", estimate=estimate, reference=reference):
        return math.nan
    value = too_few_frames = 1e-5  # what pystoi returns, with a warning
    if len(reference) / sample_rate > 0.4:  # pystoi fails on less than one frame
        # pystoi draws noise of 1e-16 from NumPy's global generator, which measuring
        # must not move in the middle of a training.
        state = np.random.get_state()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                value = float(stoi(reference, estimate, sample_rate, extended=True))
        finally:
            np.random.set_state(state)
    if value != too_few_frames:
        return value
    logger.warning("ESTOI gives NaN: fewer than 30 frames (0.4 s) of speech")
    return math.nan


def lsd(estimate, reference):
    """Log-spectral distance: mean over frames of the RMS over bins.

    Of the difference of log10 power spectra (+1e-8), 2048-sample Hann frames, hop
    512, at any rate (Gray and Markel, IEEE TASSP 24(5), 1976). Compare at equal level.

    Parameters
    ----------
    estimate, reference : array or torch.Tensor, (time,), equally long

    Returns
    -------
    float
        Decades of power: 1 is 10 dB, 0 is identical. NaN if not finite; silence is
        judged like any other signal.

    Example
    -------
    >>> speech = torch.randn(48000, generator=torch.Generator().manual_seed(0))
    >>> lsd(speech, speech), round(lsd(10 * speech, speech), 3)
    (0.0, 2.0)
    """
    estimate, reference = _checked(estimate=estimate, reference=reference)
    if _unusable("LSD", silence=False, estimate=estimate, reference=reference):
        return math.nan
    pair = torch.from_numpy(np.stack([estimate, reference]))
    window = torch.hann_window(2048, dtype=torch.float64)
    # Zeros at the ends: reflection refuses signals shorter than half a frame.
    keys = {"window": window, "pad_mode": "constant", "return_complex": True}
    spectra = torch.stft(pair, 2048, 512, **keys)  # (2, bins, frames)
    powers = torch.log10(spectra.abs().square() + 1e-8)
    return float((powers[0] - powers[1]).square().mean(dim=0).sqrt().mean())


def dnsmos(signal, sample_rate):
    """DNSMOS P.835 and P.808, predicted listening tests that need no reference.

    Resampled to 16 kHz, and divided by the peak only where that exceeds 1, for the
    network hears the level. The package doubles a clip until it lasts 9.01 s and
    averages the windows of 9.01 s that start every second: 4 s become 16 s, 7 windows.
    Source: Reddy et al., ICASSP 2022 (P.835) and 2021 (P.808, a network of its own);
    the package speechmos, on one thread.

    Parameters
    ----------
    signal : array or torch.Tensor, (time,)
    sample_rate : int, Hz

    Returns
    -------
    dict of str to float
        Mean opinion scores, 1 to 5: ``sig`` (speech), ``bak`` (background), ``ovr``
        (overall) of P.835; ``p808``. NaN when the signal is silent or not finite.

    Example
    -------
    >>> noise = torch.randn(40000, generator=torch.Generator().manual_seed(0))
    >>> scores = dnsmos(0.1 * noise, 16000)
    >>> list(scores), scores["ovr"] < 2
    (['sig', 'bak', 'ovr', 'p808'], True)
    """
    check_metrics(["dnsmos"])
    signal = _to_speech_rate(*_checked(signal=signal), sample_rate)
    if _unusable("DNSMOS", signal=signal):
        return dict.fromkeys(_DNSMOS_SCORES, math.nan)
    signal = signal / max(1.0, np.abs(signal).max())
    scores = _dnsmos_scorer()(signal, _SPEECH_RATE, False)
    return {part: float(scores[key]) for part, key in _DNSMOS_SCORES.items()}


def available():
    """Names of the metrics whose packages are installed, a tuple out of `METRICS`.

    Example
    -------
    >>> "si_sdr" in available()
    True
    """
    return tuple(name for name in METRICS if not _missing(name))


def evaluate(estimate, reference, sample_rate, names=("si_sdr", "pesq", "estoi")):
    """Compute several metrics of one estimate.

    Before any work, raises ValueError for an unknown name, a missing reference or an
    invalid signal, and ImportError for a missing package (see `available`).

    Parameters
    ----------
    estimate : array or torch.Tensor, (time,)
    reference : array, torch.Tensor, as long, or None if only DNSMOS is asked for
    sample_rate : int, Hz
    names : sequence of str
        Out of `METRICS`; "dnsmos" is its overall score, "pesq" is wide-band.

    Returns
    -------
    dict of str to float
        In the order of `names`; NaN where a metric cannot judge the signals.

    Example
    -------
    >>> speech = torch.randn(48000, generator=torch.Generator().manual_seed(0))
    >>> evaluate(2 * speech, 2 * speech, 48000, names=["lsd"])
    {'lsd': 0.0}
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    check_metrics(names)
    if reference is not None:
        estimate, reference = _checked(estimate=estimate, reference=reference)
    elif not _DNSMOS_PARTS.keys() >= set(names):
        raise ValueError(f"{list(names)} need a reference: only DNSMOS does not.")
    measures = {"si_sdr": si_sdr, "pesq": pesq_wb, "estoi": estoi, "lsd": lsd}
    values, scores = {}, None
    for name in names:
        if name in _DNSMOS_PARTS:
            scores = scores or dnsmos(estimate, sample_rate)  # one run for all parts
            values[name] = scores[_DNSMOS_PARTS[name]]
        else:
            rate = (sample_rate,) if name in ("pesq", "estoi") else ()
            values[name] = measures[name](estimate, reference, *rate)
    return values


def summarise(rows):
    """Mean and standard deviation of each metric over files.

    Parameters
    ----------
    rows : list of dict
        One per file, as of `evaluate`; entries other than numbers are passed over.

    Returns
    -------
    dict of str to dict
        Per metric ``mean`` and ``std`` (population, as SGMSE reports it) of the ``n``
        finite values, NaN for none, and ``failed``, the count of the others.

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


def _missing(name):
    return [p for p in _PACKAGES.get(name, ()) if importlib.util.find_spec(p) is None]


def check_metrics(names):
    """Raise ValueError for an unknown name, ImportError for a missing package."""
    if unknown := [name for name in names if name not in METRICS]:
        raise ValueError(f"Unknown metrics {unknown}: choose from {list(METRICS)}.")
    for name in names:
        if missing := _missing(name):
            remedy = 'pip install "lafufu_sb[metrics]"'
            raise ImportError(f"{name} needs {', '.join(missing)}: {remedy}")


def _checked(**signals):
    """Check signals, equally long; a list of double-precision arrays, (time,)."""
    arrays = []
    for label, values in signals.items():
        if isinstance(values, torch.Tensor) and values.is_floating_point():
            values = values.detach().cpu().double().numpy()  # NumPy has no bfloat16
        values = np.asarray(values)
        if values.ndim != 1 or not values.size or values.dtype.kind != "f":
            raise ValueError(
                f"{label} is {values.dtype} of shape {values.shape}: pass one non-"
                "empty signal, (time,), of floating samples with full scale 1."
            )
        arrays.append(values.astype(np.float64))
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"{list(signals)} have {lengths} samples: cut them alike.")
    return arrays


def _unusable(metric, silence=True, **signals):
    """Whether a signal is not finite or, where that matters, silent; logs which."""
    for label, signal in signals.items():
        finite = np.isfinite(signal).all()
        # initial: nothing is left of a sample or two at a lower rate
        if not finite or (silence and np.abs(signal).max(initial=0) < _SILENCE_PEAK):
            fault = "silent" if finite else "not finite"
            logger.warning("%s gives NaN: the %s is %s", metric, label, fault)
            return True
    return False


def _to_speech_rate(signal, sample_rate):
    """Resample (time,) to 16 kHz."""
    if sample_rate == _SPEECH_RATE:  # soxr would change the samples all the same
        return signal
    import soxr

    # librosa's default, behind the published PESQ; torchaudio's moves it by 0.01.
    return soxr.resample(signal, sample_rate, _SPEECH_RATE, quality="HQ")


def _pesq_in_child(estimate, reference):
    """PESQ of two 16-kHz signals, (time,), where a crash can do no harm."""
    command = [sys.executable, "-c", _PESQ_CHILD]
    pair = np.stack([estimate, reference]).tobytes()
    child = subprocess.run(command, input=pair, capture_output=True)
    if child.returncode:
        reason = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        reason = reason or "over 50 utterances? Score shorter pieces."
        raise ValueError(f"its process ended with {child.returncode}: {reason}")
    return float(child.stdout)


@functools.lru_cache(maxsize=1)
def _dnsmos_scorer():
    """The package's DNSMOS; on one thread each, workers do not fight for cores."""
    import onnxruntime
    from speechmos import dnsmos as package

    folder = published_folder()
    paths = [str(folder / name) for name in ("sig_bak_ovr.onnx", "model_v8.onnx")]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    scorer = package.DNSMOS(*paths)
    sessions = [onnxruntime.InferenceSession(path, options) for path in paths]
    scorer.onnx_sess, scorer.p808_onnx_sess = sessions
    return scorer
