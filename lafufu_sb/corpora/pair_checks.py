"""Whether two recordings are a usable training pair."""

import hashlib
from dataclasses import dataclass

import numpy as np

from lafufu_sb.audio.recordings import read
from lafufu_sb.audio.resampling import resample
from lafufu_sb.corpora.manifests import HOP_SECONDS
from lafufu_sb.errors import MissingPackageError, UsageError

SILENT_DB = -60.0  # root mean square, below full scale
FULL = 0.999  # of a recording's own peak
CLIPPED_SHARE = 5e-4  # samples at the peak; speech has a handful, 1e-5
SHIFT_SECONDS = 0.5  # sought on both sides
CONTRAST = 8.0  # of the correlation's peak; unrelated noise has 5 in 0.5 s
HEARD_SECONDS = 30.0  # from the middle, that are correlated
FLOOR = 1e-3  # of the mean of the cross-spectrum: weaker bands are not whitened


@dataclass(frozen=True)
class PairLimits:
    """What a pair may be like.

    Attributes
    ----------
    min_rate : int
        Sample rate (Hz) of the clean recording.
    min_seconds : float
        Length.
    max_shift : float
        Seconds by which one side may lag the other.
    """

    min_rate: int = 44100
    min_seconds: float = 1.0
    max_shift: float = 0.002


class UnusablePairError(UsageError):
    """A pair that is refused: a ``reason`` in one or two words, and the details."""

    def __init__(self, reason, detail):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class PairFacts:
    """Length in seconds, and a hash of the samples of each side."""

    seconds: float
    clean_hash: str
    distorted_hash: str


def check_pair(clean_path, distorted_path, limits):
    """Read a pair and refuse what would spoil a training.

    Arguments
    ---------
    clean_path, distorted_path : str or Path
        Recordings in any format that ``read`` takes; their first channel is used.
    limits : PairLimits
        What is accepted.

    Returns
    -------
    PairFacts

    Raises
    ------
    UnusablePairError
        For files that cannot be read, a low sample rate, other lengths than the
        partner's, silence, clipped clean speech, equal sides, and sides that are
        shifted or have nothing in common.
    """
    clean, clean_rate = _read(clean_path, "clean")
    distorted, rate = _read(distorted_path, "noisy")
    if clean_rate < limits.min_rate:
        raise UnusablePairError(
            "sample rate",
            f"clean has {clean_rate} Hz, less than {limits.min_rate}: the model would "
            "learn to remove what lies above its band",
        )
    lengths = len(clean) / clean_rate, len(distorted) / rate
    if abs(lengths[0] - lengths[1]) > HOP_SECONDS:
        raise UnusablePairError(
            "length", f"clean has {lengths[0]:.3f} s, noisy {lengths[1]:.3f} s"
        )
    if min(lengths) < limits.min_seconds:
        raise UnusablePairError(
            "too short", f"{min(lengths):.3f} s of at least {limits.min_seconds:g} s"
        )
    _check_levels(clean, distorted)
    if rate != clean_rate:
        distorted = _resampled(distorted, rate, clean_rate)
    _check_alignment(clean, distorted, clean_rate, limits.max_shift)
    return PairFacts(min(lengths), _hash(clean), _hash(distorted))


def _read(path, side):
    try:
        samples, rate = read(path)
    except MissingPackageError:
        raise
    except (UsageError, OSError) as error:
        raise UnusablePairError("unreadable", f"{side}: {error}") from error
    signal = samples[0].numpy()
    if not signal.size:
        raise UnusablePairError("unreadable", f"{side} holds no samples")
    if not np.isfinite(signal).all():
        raise UnusablePairError("unreadable", f"{side} has NaN or infinite samples")
    return signal, rate


def _resampled(signal, rate, wanted):
    import torch

    return resample(torch.from_numpy(signal), rate, wanted).numpy()


def _check_levels(clean, distorted):
    for side, signal in (("clean", clean), ("noisy", distorted)):
        level = 10 * np.log10(np.mean(np.square(signal, dtype=np.float64)) + 1e-20)
        if level < SILENT_DB:
            raise UnusablePairError("silence", f"{side} has {level:.0f} dB")
    peak = np.abs(clean).max()
    share = np.mean(np.abs(clean) >= FULL * peak)
    if share > CLIPPED_SHARE:
        raise UnusablePairError(
            "clipping", f"{100 * share:.2f} % of the clean samples are at their peak"
        )
    if len(clean) == len(distorted) and np.array_equal(clean, distorted):
        raise UnusablePairError("identical", "both sides have the same samples")


def _check_alignment(clean, distorted, rate, max_shift):
    shift, contrast = alignment(clean, distorted, rate)
    if contrast < CONTRAST:
        raise UnusablePairError(
            "unrelated",
            f"no shift of up to {SHIFT_SECONDS:g} s makes the sides agree (peak of the "
            f"correlation {contrast:.1f} times its spread): another recording?",
        )
    if abs(shift) > max_shift:
        side = "noisy" if shift > 0 else "clean"
        raise UnusablePairError(
            "misaligned", f"{side} lags by {1000 * abs(shift):.1f} ms"
        )


def alignment(clean, distorted, rate):
    """By how much one side lags the other, from a whitened cross-correlation.

    The cross-spectrum keeps its phase alone (PHAT; Knapp and Carter 1976, "The
    generalized correlation method for estimation of time delay"), except in bands
    that hold hardly anything.

    Arguments
    ---------
    clean, distorted : numpy.ndarray
        (time,) each.
    rate : int
        Hz.

    Returns
    -------
    shift : float
        Seconds; positive where the distorted side is late.
    contrast : float
        The peak of the correlation over its root mean square within 0.5 s.
    """
    samples = min(len(clean), len(distorted))
    heard = min(samples, round(HEARD_SECONDS * rate))
    start = (samples - heard) // 2
    size = 1 << (2 * heard - 1).bit_length()
    spectra = (np.fft.rfft(s[start : start + heard], size) for s in (clean, distorted))
    clean_spectrum, distorted_spectrum = spectra
    cross = distorted_spectrum * np.conj(clean_spectrum)
    magnitude = np.abs(cross)
    correlation = np.fft.irfft(cross / (magnitude + FLOOR * magnitude.mean()), size)
    reach = min(heard - 1, round(SHIFT_SECONDS * rate))
    lags = np.concatenate([correlation[-reach:], correlation[: reach + 1]])
    place = int(np.abs(lags).argmax())
    spread = np.sqrt(np.mean(np.square(lags)))
    return (place - reach) / rate, float(np.abs(lags[place]) / spread)


def _hash(signal):
    return hashlib.sha256(np.ascontiguousarray(signal).tobytes()).hexdigest()
