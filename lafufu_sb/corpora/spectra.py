"""Spectra of training signals: measure the bandwidth, change gains and phases."""

import numpy as np
from scipy.fft import next_fast_len

BANDWIDTH_FLOOR_DB = -75.0  # of the loudest band; lossy coding leaves less than this
BAND_HZ = 500.0
OCTAVES_HZ = 62.5 * 2.0 ** np.arange(9)  # corners of a random colour


def bandwidth(signal, sample_rate):
    """Measure the frequency up to which a recording has content.

    Arguments
    ---------
    signal : numpy.ndarray
        (samples,)
    sample_rate : int
        Hz.

    Returns
    -------
    float
        Hz, the upper edge of the highest 500-Hz band within 75 dB of the loudest.

    Example
    -------
    >>> bandwidth(np.sin(2 * np.pi * 5100 / 48000 * np.arange(48000)), 48000)
    5500.0
    """
    size = next_fast_len(signal.size, real=True)  # primes are slow
    power = np.abs(np.fft.rfft(signal * np.hanning(signal.size), size)) ** 2
    return highest_band(power, size, sample_rate)


def highest_band(power, size, sample_rate, floor=0.0):
    """Find the highest band of a power spectrum that has content, see ``bandwidth``.

    Arguments
    ---------
    power : numpy.ndarray
        (size // 2 + 1,), from a Fourier transform over ``size`` samples.
    size : int
        Length of the transform.
    sample_rate : int
        Hz.
    floor : float
        Power of a band below which it has no content, however quiet the others are.

    Returns
    -------
    float
        Hz, the upper edge of the band; 0 if no band has content.

    Example
    -------
    >>> highest_band(np.array([0.0, 1.0, 0.0, 1e-9, 0.0]), 8, 4000)
    1000.0
    """
    edges = np.arange(0.0, sample_rate / 2, BAND_HZ) * size / sample_rate
    bands = np.add.reduceat(power, np.round(edges).astype(int))
    floor = max(floor, bands.max() * 10 ** (BANDWIDTH_FLOOR_DB / 10))
    heard = np.flatnonzero(bands > floor)
    return float((heard[-1] + 1) * BAND_HZ) if heard.size else 0.0


def low_pass(signal, cutoff, sample_rate):
    """Remove everything above a frequency, with a raised-cosine edge of 500 Hz.

    Arguments
    ---------
    signal : numpy.ndarray
        (samples,)
    cutoff, sample_rate : float
        Hz.

    Returns
    -------
    numpy.ndarray
        (samples,)

    Example
    -------
    >>> low_pass(np.ones(64), 6000.0, 48000).shape
    (64,)
    """
    if cutoff + BAND_HZ >= sample_rate / 2:
        return signal
    spectrum = np.fft.rfft(signal)
    hertz = np.fft.rfftfreq(signal.size, 1 / sample_rate)
    edge = np.clip((hertz - cutoff) / BAND_HZ, 0.0, 1.0)
    return np.fft.irfft(spectrum * np.cos(0.5 * np.pi * edge) ** 2, signal.size)


def recolour(signal, most_db, rng, sample_rate):
    """Apply a random gain per octave, with linear interpolation between octaves.

    Arguments
    ---------
    signal : numpy.ndarray
        (samples,)
    most_db : float
        Gains are drawn from -most_db to most_db; 0 returns the signal unchanged.
    rng : numpy.random.Generator
        Draws the gains.
    sample_rate : int
        Hz.

    Returns
    -------
    numpy.ndarray
        (samples,)

    Example
    -------
    >>> recolour(np.ones(64), 6.0, np.random.default_rng(0), 48000).shape
    (64,)
    """
    if not most_db:
        return signal
    gains_db = rng.uniform(-most_db, most_db, OCTAVES_HZ.size)
    size = next_fast_len(signal.size, real=True)
    hertz = np.maximum(np.fft.rfftfreq(size, 1 / sample_rate), OCTAVES_HZ[0])
    gain_db = np.interp(np.log2(hertz), np.log2(OCTAVES_HZ), gains_db)
    spectrum = np.fft.rfft(signal, size) * 10.0 ** (gain_db / 20.0)
    return np.fft.irfft(spectrum, size)[: signal.size]


def turn_phase(signal, angle):
    """Turn the phase of all frequencies by the same angle.

    Listeners hear no difference, but a network that sees real and imaginary parts does.

    Arguments
    ---------
    signal : numpy.ndarray
        (samples,)
    angle : float
        Radians; pi inverts the polarity, pi / 2 gives the Hilbert transform.

    Returns
    -------
    numpy.ndarray
        (samples,)

    Example
    -------
    >>> turn_phase(np.ones(64), 0.5).shape
    (64,)
    """
    # Zero padding keeps the end of the signal from wrapping round to its start.
    size = next_fast_len(2 * signal.size, real=True)
    spectrum = np.fft.rfft(signal, size) * np.exp(1j * angle)
    return np.fft.irfft(spectrum, size)[: signal.size]
