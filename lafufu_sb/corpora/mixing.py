"""Loudness, and noise added to speech by the rules of EARS-WHAM v1.

Every function is pure: numpy arrays in, numpy arrays out, no files and no random draws.
Excerpts without energy raise ``SilentExcerptError``; a caller that draws excerpts at
random can catch it and draw again.

Source of the rules: Richter et al. 2024, "EARS: An Anechoic Fullband Speech Dataset
Benchmarked for Speech Enhancement and Dereverberation".
"""

import functools
import math
import warnings

import numpy as np
import pyloudnorm

from lafufu_sb.errors import UsageError

BLOCK_SECONDS = 0.4  # gating block of ITU-R BS.1770: shorter signals have no loudness
SNR_STEP_DB = 1.0  # EARS-WHAM v1 raises the SNR by this much while the mixture clips
MOST_STEPS = 100  # by then the noise is inaudible, and the speech itself clips


class SilentExcerptError(UsageError):
    """An excerpt has no energy, or none above the -70 LUFS gate."""


class FullScaleError(UsageError):
    """The speech alone reaches full scale, so that every mixture with it clips."""


@functools.lru_cache(maxsize=8)
def _meter(sample_rate):
    return pyloudnorm.Meter(sample_rate, block_size=BLOCK_SECONDS)


def as_mono(name, signal):
    """Return a signal as float64 (samples,); UsageError for other shapes."""
    signal = np.asarray(signal, dtype=np.float64)
    if signal.ndim != 1 or signal.size == 0:
        raise UsageError(
            f"{name} has shape {signal.shape}; expected (samples,) with samples > 0: "
            "pick one channel first"
        )
    return signal


def loudness(signal, sample_rate):
    """Measure the integrated loudness by ITU-R BS.1770.

    Arguments
    ---------
    signal : numpy.ndarray, shape (samples,)
        Mono signal, full scale 1. A signal shorter than the 0.4-s gating block is
        repeated, so that short words have a loudness too.
    sample_rate : int
        Hz.

    Returns
    -------
    float
        LUFS.

    Raises
    ------
    SilentExcerptError
        If no block exceeds the absolute gate of -70 LUFS.

    Example
    -------
    >>> tone = 0.1 * np.sin(2 * np.pi * 997 / 48000 * np.arange(48000))
    >>> round(loudness(tone, 48000))
    -23
    """
    signal = as_mono("signal", signal)
    block = math.ceil(BLOCK_SECONDS * sample_rate)
    if signal.size < block:
        signal = np.tile(signal, math.ceil(block / signal.size))
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # silence is handled below
        lufs = float(_meter(int(sample_rate)).integrated_loudness(signal))
    if not math.isfinite(lufs):
        raise SilentExcerptError(
            f"signal of {signal.size} samples with peak {np.abs(signal).max():.2g} "
            "has nothing above -70 LUFS: draw another excerpt"
        )
    return lufs


def noise_gain(speech_lufs, noise_lufs, snr_db):
    """Compute the noise gain for a signal-to-noise ratio.

    Arguments
    ---------
    speech_lufs, noise_lufs : float
        See ``loudness``.
    snr_db : float
        Target ratio in dB.

    Returns
    -------
    float

    Example
    -------
    >>> float(noise_gain(-20.0, -40.0, 0.0))
    10.0
    """
    return np.power(10.0, (speech_lufs - snr_db - noise_lufs) / 20.0)


def mix_at_snr(speech, noise, snr_db, sample_rate):
    """Add noise at a signal-to-noise ratio defined by loudness.

    While the mixture reaches full scale, the SNR is raised by 1 dB. The speech is never
    scaled.

    Arguments
    ---------
    speech, noise : numpy.ndarray, shape (samples,)
        Of equal length, full scale 1.
    snr_db : float
        Target ratio in dB.
    sample_rate : int
        Hz.

    Returns
    -------
    mixture : numpy.ndarray, shape (samples,)
        float64, below full scale.
    snr_db_used : float
        The target ratio plus a whole number of dB.

    Raises
    ------
    SilentExcerptError
        If speech or noise has no energy.
    FullScaleError
        If the speech alone reaches full scale.
    UsageError
        If the lengths differ.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> speech, noise = 0.1 * rng.standard_normal((2, 48000))
    >>> mixture, snr_db = mix_at_snr(speech, noise, 5.0, 48000)
    >>> mixture.shape, snr_db
    ((48000,), 5.0)
    """
    speech, noise = as_mono("speech", speech), as_mono("noise", noise)
    if speech.shape != noise.shape:
        raise UsageError(
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


def ramp(signal, samples=480):
    """Fade a signal in and out linearly, as in the test set of EARS-WHAM v1.

    Arguments
    ---------
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
    UsageError
        If the signal is shorter than the ramp.

    Example
    -------
    >>> faded = ramp(np.ones(1000))
    >>> faded.shape, float(faded[0]), float(faded[-1])
    ((1000,), 0.0, 0.0)
    """
    faded = as_mono("signal", signal).copy()
    if faded.size < samples:
        raise UsageError(
            f"signal has {faded.size} samples, fewer than the ramp's {samples}: "
            "pass a smaller ramp"
        )
    if samples:
        line = np.linspace(0.0, 1.0, samples)
        faded[:samples] *= line
        faded[-samples:] *= line[::-1]
    return faded
