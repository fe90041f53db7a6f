"""Noise and rooms added to speech by the rules of EARS-WHAM and EARS-Reverb v1.

Every function is pure: numpy arrays in, numpy arrays out, no files and no random
draws.  Excerpts without energy raise :class:`SilentExcerptError`, so that whoever
draws excerpts can draw again and tell this case from a wrong argument.

Source of the rules: EARS-WHAM v1 and EARS-Reverb v1, Richter et al. 2024,
"EARS: An Anechoic Fullband Speech Dataset Benchmarked for Speech Enhancement and
Dereverberation".
"""

import functools
import math
import warnings

import numpy as np
import pyloudnorm
from scipy.signal import convolve

BLOCK_SECONDS = 0.4  # gating block of ITU-R BS.1770: shorter signals have no loudness
SNR_STEP_DB = 1.0  # EARS-WHAM v1 raises the SNR by this much while the mixture clips
MOST_STEPS = 100  # later the noise is gone, and what clips is the speech
DECAY_START_DB, DECAY_STOP_DB = -5.0, -35.0  # T30: the fitted part of the decay


class SilentExcerptError(ValueError):
    """An excerpt has no energy (or none above the -70 LUFS gate): draw another."""


class FullScaleError(ValueError):
    """The speech alone reaches full scale, so that no SNR keeps a mixture below."""


@functools.lru_cache(maxsize=8)
def _meter(sample_rate):
    return pyloudnorm.Meter(sample_rate, block_size=BLOCK_SECONDS)


def _mono(name, signal):
    signal = np.asarray(signal, dtype=np.float64)
    if signal.ndim != 1 or signal.size == 0:
        raise ValueError(
            f"{name} has shape {signal.shape}; expected (samples,) with samples > 0: "
            "pick one channel first"
        )
    return signal


def loudness(signal, sample_rate):
    """Measure the integrated loudness of ITU-R BS.1770.

    Parameters
    ----------
    signal : numpy.ndarray, shape (samples,)
        Mono signal, full scale 1.  One shorter than the 0.4-s gating block is
        repeated up to it, so that short words have a loudness too.
    sample_rate : int
        Hz.

    Returns
    -------
    float
        LUFS.

    Raises
    ------
    SilentExcerptError
        No block lies above the absolute gate of -70 LUFS.

    Examples
    --------
    >>> tone = 0.1 * np.sin(2 * np.pi * 997 / 48000 * np.arange(48000))
    >>> round(loudness(tone, 48000))
    -23
    """
    signal = _mono("signal", signal)
    block = math.ceil(BLOCK_SECONDS * sample_rate)
    if signal.size < block:
        signal = np.tile(signal, math.ceil(block / signal.size))
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # a silent block is answered for below
        lufs = float(_meter(int(sample_rate)).integrated_loudness(signal))
    if not math.isfinite(lufs):
        raise SilentExcerptError(
            f"signal of {signal.size} samples with peak {np.abs(signal).max():.2g} "
            "has nothing above -70 LUFS: draw another excerpt"
        )
    return lufs


def noise_gain(speech_lufs, noise_lufs, snr_db):
    """Gain that brings a noise to a ratio of loudness below the speech.

    Parameters
    ----------
    speech_lufs, noise_lufs : float
        See :func:`loudness`.
    snr_db : float
        Wanted ratio in dB.

    Returns
    -------
    float

    Examples
    --------
    >>> float(noise_gain(-20.0, -40.0, 0.0))
    10.0
    """
    return np.power(10.0, (speech_lufs - snr_db - noise_lufs) / 20.0)


def mix_at_snr(speech, noise, snr_db, sample_rate):
    """Add noise at a signal-to-noise ratio defined by loudness.

    While the mixture reaches full scale the SNR is raised by 1 dB; speech is never
    scaled.

    Parameters
    ----------
    speech, noise : numpy.ndarray, shape (samples,)
        Of equal length, full scale 1.
    snr_db : float
        Wanted ratio in dB.
    sample_rate : int
        Hz.

    Returns
    -------
    mixture : numpy.ndarray, shape (samples,)
        float64, below full scale.
    snr_db_used : float
        The wanted ratio plus a whole number of dB.

    Raises
    ------
    SilentExcerptError
        Speech or noise has no energy.
    FullScaleError
        The speech alone reaches full scale, where raising the SNR would never end.
    ValueError
        Lengths differ.

    Notes
    -----
    Source: EARS-WHAM v1, Richter et al. 2024.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> speech, noise = 0.1 * rng.standard_normal((2, 48000))
    >>> mixture, snr_db = mix_at_snr(speech, noise, 5.0, 48000)
    >>> mixture.shape, snr_db
    ((48000,), 5.0)
    """
    speech, noise = _mono("speech", speech), _mono("noise", noise)
    if speech.shape != noise.shape:
        raise ValueError(
            f"speech has {speech.size} samples, noise {noise.size}: "
            "cut or tile the noise to the speech's length first"
        )
    levels = loudness(speech, sample_rate), loudness(noise, sample_rate)
    snr_db = float(snr_db)
    for _ in range(MOST_STEPS):
        mixture = speech + noise_gain(*levels, snr_db) * noise
        if np.abs(mixture).max() < 1.0:
            return mixture, snr_db
        snr_db += SNR_STEP_DB
    raise FullScaleError(
        f"speech peaks at {np.abs(speech).max():.4f}, so no SNR keeps the mixture "
        "below full scale: attenuate the speech first"
    )


def from_direct_path(rir):
    """Cut a room impulse response so that it begins at its direct path.

    Parameters
    ----------
    rir : numpy.ndarray, shape (taps,)
        Room impulse response; the direct path is its largest magnitude.

    Returns
    -------
    numpy.ndarray, shape (taps - argmax,)

    Raises
    ------
    SilentExcerptError
        All taps are zero.

    Examples
    --------
    >>> from_direct_path(np.array([0.0, 0.1, -1.0, 0.5])).shape
    (2,)
    """
    rir = _mono("rir", rir)
    magnitude = np.abs(rir)
    if not magnitude.any():
        raise SilentExcerptError(f"rir of {rir.size} taps is all zero: draw another")
    return rir[int(magnitude.argmax()) :]


def rt60(rir, sample_rate):
    """Estimate the reverberation time from a room impulse response (T30).

    Schroeder's backward integral from the direct path on; a least-squares line
    through it between the samples nearest to -5 dB and -35 dB; twice the time that
    line needs for 30 dB.

    Parameters
    ----------
    rir : numpy.ndarray, shape (taps,)
        Room impulse response.
    sample_rate : int
        Hz.

    Returns
    -------
    float
        Seconds; 0 for a response that is over within a sample.

    Raises
    ------
    SilentExcerptError
        All taps are zero.

    Notes
    -----
    Source: EARS-Reverb v1, Richter et al. 2024.

    Examples
    --------
    >>> decay = 10.0 ** (-3.0 * np.arange(48000) / (0.5 * 48000))
    >>> round(rt60(decay, 48000), 2)
    0.5
    """
    energy = np.cumsum(from_direct_path(rir)[::-1] ** 2)[::-1]
    energy = energy[energy > 0.0]
    decay_db = 10.0 * np.log10(energy / energy[0])
    start = int(np.abs(decay_db - DECAY_START_DB).argmin())
    stop = int(np.abs(decay_db - DECAY_STOP_DB).argmin())
    if stop <= start:
        return 0.0
    seconds = np.arange(start, stop + 1) / sample_rate
    slope = np.polyfit(seconds, decay_db[start : stop + 1], 1)[0]  # dB per second
    return float(2.0 * (DECAY_STOP_DB - DECAY_START_DB) / slope)


def reverberate(speech, rir, sample_rate):
    """Put speech into a room, aligned with and as loud as the dry speech.

    The response is cut to begin at its direct path, so that the dry speech stays the
    time-aligned target; the convolution is truncated to the speech's length and
    scaled to the speech's loudness; only if it then exceeds full scale it is divided
    by its maximum.

    Parameters
    ----------
    speech : numpy.ndarray, shape (samples,)
        Dry speech, full scale 1.
    rir : numpy.ndarray, shape (taps,)
        Room impulse response at the same rate.
    sample_rate : int
        Hz.

    Returns
    -------
    numpy.ndarray, shape (samples,)
        float64, magnitude at most 1.

    Raises
    ------
    SilentExcerptError
        Speech or response has no energy.

    Notes
    -----
    Source: EARS-Reverb v1, Richter et al. 2024.

    Examples
    --------
    >>> speech = 0.1 * np.random.default_rng(0).standard_normal(48000)
    >>> reverberate(speech, np.array([0.0, 0.5, 0.25]), 48000).shape
    (48000,)
    """
    return reverberate_with_gain(speech, rir, sample_rate)[0]


def reverberate_with_gain(speech, rir, sample_rate, gain=None):
    """Do as :func:`reverberate` and tell the gain that matches the loudness.

    Parameters
    ----------
    speech, rir, sample_rate
        See :func:`reverberate`.
    gain : float, optional
        To use, instead of the one that matches.

    Returns
    -------
    reverberant : numpy.ndarray, shape (samples,)
        See :func:`reverberate`.
    gain : float
        Of the convolution, before a division by its maximum.

    Raises
    ------
    SilentExcerptError
        Speech or response has no energy.

    Examples
    --------
    >>> speech = 0.1 * np.random.default_rng(0).standard_normal(48000)
    >>> reverberant, gain = reverberate_with_gain(speech, np.array([0.5]), 48000)
    >>> reverberant.shape, round(float(gain), 6)
    ((48000,), 2.0)
    """
    speech = _mono("speech", speech)
    reverberant = convolve(speech, from_direct_path(rir))[: speech.size]
    if gain is None:
        wanted = loudness(speech, sample_rate)
        difference_db = wanted - loudness(reverberant, sample_rate)
        gain = np.power(10.0, difference_db / 20.0)
    reverberant = gain * reverberant
    peak = np.abs(reverberant).max()
    return (reverberant / peak if peak > 1.0 else reverberant), gain


def ramp(signal, samples=480):
    """Fade a signal in and out along straight lines.

    Parameters
    ----------
    signal : numpy.ndarray, shape (length,)
        At least ``samples`` long.
    samples : int
        Length of each ramp, from 0 to 1 inclusive; 480 are 10 ms at 48 kHz.

    Returns
    -------
    numpy.ndarray, shape (length,)
        A copy.

    Raises
    ------
    ValueError
        The signal is shorter than the ramp.

    Notes
    -----
    Source: test set of EARS-WHAM v1, Richter et al. 2024.

    Examples
    --------
    >>> faded = ramp(np.ones(1000))
    >>> faded.shape, float(faded[0]), float(faded[-1])
    ((1000,), 0.0, 0.0)
    """
    faded = _mono("signal", signal).copy()
    if faded.size < samples:
        raise ValueError(
            f"signal has {faded.size} samples, fewer than the ramp's {samples}: "
            "pass a smaller ramp"
        )
    if samples:
        line = np.linspace(0.0, 1.0, samples)
        faded[:samples] *= line
        faded[-samples:] *= line[::-1]
    return faded
