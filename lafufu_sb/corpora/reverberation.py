"""Room impulse responses applied to speech by the rules of EARS-Reverb v1.

Functions are pure, as in ``lafufu_sb.corpora.mixing``. Source of the rules: Richter et
al. 2024, "EARS: An Anechoic Fullband Speech Dataset Benchmarked for Speech Enhancement
and Dereverberation".
"""

import numpy as np
from scipy.signal import convolve

from lafufu_sb.corpora.mixing import SilentExcerptError, as_mono, loudness

DECAY_START_DB, DECAY_STOP_DB = -5.0, -35.0  # T30: the fitted part of the decay


def from_direct_path(rir):
    """Remove everything before the direct path of a room impulse response.

    Arguments
    ---------
    rir : numpy.ndarray, shape (taps,)
        Room impulse response; the direct path is its largest magnitude.

    Returns
    -------
    numpy.ndarray, shape (taps - argmax,)

    Raises
    ------
    SilentExcerptError
        If all taps are zero.

    Example
    -------
    >>> from_direct_path(np.array([0.0, 0.1, -1.0, 0.5])).shape
    (2,)
    """
    rir = as_mono("rir", rir)
    magnitude = np.abs(rir)
    if not magnitude.any():
        raise SilentExcerptError(f"rir of {rir.size} taps is all zero: draw another")
    return rir[int(magnitude.argmax()) :]


def rt60(rir, sample_rate):
    """Estimate the reverberation time from a room impulse response (T30).

    A line is fitted to Schroeder's backward integral from the direct path on, by least
    squares between the samples nearest to -5 dB and -35 dB. The result is twice the
    time in which that line falls by 30 dB.

    Arguments
    ---------
    rir : numpy.ndarray, shape (taps,)
        Room impulse response.
    sample_rate : int
        Hz.

    Returns
    -------
    float
        Seconds; 0 for a response of a single tap.

    Raises
    ------
    SilentExcerptError
        If all taps are zero.

    Example
    -------
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
    """Convolve speech with a room response; the result is aligned and equally loud.

    The response is cut at its direct path, so that the dry speech remains the
    time-aligned target. The convolution is truncated to the speech's length and scaled
    to the speech's loudness. Only if it then exceeds full scale, it is divided by its
    maximum.

    Arguments
    ---------
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
        If speech or response has no energy.

    Example
    -------
    >>> speech = 0.1 * np.random.default_rng(0).standard_normal(48000)
    >>> reverberate(speech, np.array([0.0, 0.5, 0.25]), 48000).shape
    (48000,)
    """
    return reverberate_with_gain(speech, rir, sample_rate)[0]


def reverberate_with_gain(speech, rir, sample_rate, gain=None):
    """Reverberate speech and return the gain that matches the loudness, too.

    Arguments
    ---------
    speech, rir, sample_rate
        See ``reverberate``.
    gain : float, optional
        Used instead of the matching one.

    Returns
    -------
    reverberant : numpy.ndarray, shape (samples,)
        See ``reverberate``.
    gain : float
        Gain of the convolution, without the division by the maximum.

    Raises
    ------
    SilentExcerptError
        If speech or response has no energy.

    Example
    -------
    >>> speech = 0.1 * np.random.default_rng(0).standard_normal(48000)
    >>> reverberant, gain = reverberate_with_gain(speech, np.array([0.5]), 48000)
    >>> reverberant.shape, round(float(gain), 6)
    ((48000,), 2.0)
    """
    speech = as_mono("speech", speech)
    reverberant = convolve(speech, from_direct_path(rir))[: speech.size]
    if gain is None:
        wanted = loudness(speech, sample_rate)
        difference_db = wanted - loudness(reverberant, sample_rate)
        gain = np.power(10.0, difference_db / 20.0)
    reverberant = gain * reverberant
    peak = np.abs(reverberant).max()
    return (reverberant / peak if peak > 1.0 else reverberant), gain
