"""Excerpts of recordings: read them, change their speed, filter and loop them."""

import math

import numpy as np
import torch
from scipy.signal import butter, sosfiltfilt

from lafufu_sb.audio.recordings import read, read_header
from lafufu_sb.audio.resampling import resample
from lafufu_sb.audio.sound_files import create
from lafufu_sb.corpora.mixing import SilentExcerptError
from lafufu_sb.files import written_whole

FILTER_WIDTH = 32  # zero crossings; see ``lafufu_sb.audio.resampling.resample``
CROSSFADE_SECONDS = 0.05  # where a looped noise starts again
HIGH_PASS_ORDER = 4  # forwards and backwards together
SHORTEST_NOISE = 0.5  # seconds; a shorter loop would hum at its repetition rate


def read_channel(path, sample_rate, channel, start=0.0, seconds=None, speed=1.0):
    """Read an excerpt of one channel at a given sample rate and speed.

    Arguments
    ---------
    path : str or Path
        Audio file of any sample rate and number of channels.
    sample_rate : int
        Hz of the result.
    channel : int or numpy.random.Generator
        Channel index, or the generator that draws one.
    start : float
        Start of the excerpt in seconds.
    seconds : float, optional
        Length of the excerpt before the speed changes; by default up to the end.
    speed : float
        Speed-up by resampling, in whole per cent; the pitch changes too.

    Returns
    -------
    numpy.ndarray
        (samples,), float32.

    Raises
    ------
    UsageError, OSError
        If the file cannot be read.
    """
    rate = read_header(path).sample_rate
    frames = -1 if seconds is None else round(seconds * rate)
    signal, _ = read(path, round(start * rate), frames)
    if isinstance(channel, np.random.Generator):
        channel = channel.integers(signal.shape[0])
    signal = signal[channel].contiguous()
    # In two steps: one filter for both ratios at once would take a gigabyte.
    return change_speed(resample(signal, rate, sample_rate, FILTER_WIDTH), speed)


def random_speed(percent, rng):
    """Draw a speed in whole per cent, at most ``percent`` of them from 1."""
    return 1.0 + rng.integers(-percent, percent + 1) / 100.0


def change_speed(signal, speed):
    """Speed a signal up by resampling; the pitch changes too.

    Arguments
    ---------
    signal : numpy.ndarray or torch.Tensor
        (samples,), float32.
    speed : float
        In whole per cent.

    Returns
    -------
    numpy.ndarray
        (ceil(samples / speed),)

    Example
    -------
    >>> change_speed(np.zeros(1200, np.float32), 1.2).shape
    (1000,)
    """
    signal = torch.as_tensor(signal)
    return resample(signal, round(100 * speed), 100, FILTER_WIDTH).numpy()


def high_pass(signal, sample_rate, cutoff_hz):
    """Remove rumble below speech, without a delay.

    Rumble in a recording cannot be told from noise, yet it would be part of the
    training target.

    Arguments
    ---------
    signal : numpy.ndarray
        (samples,)
    sample_rate : int
        Hz.
    cutoff_hz : float
        Where half of the amplitude remains; 0 returns the signal unchanged.

    Returns
    -------
    numpy.ndarray
        (samples,), float64.

    Example
    -------
    >>> time = np.arange(48000) / 48000
    >>> hum = high_pass(np.sin(2 * np.pi * 20 * time), 48000, 50.0)
    >>> float(abs(hum[9600:-9600]).max().round(2))
    0.02
    """
    if not cutoff_hz:
        return signal
    order = HIGH_PASS_ORDER // 2
    sections = butter(order, cutoff_hz, "high", fs=sample_rate, output="sos")
    return sosfiltfilt(sections, signal)


def tile(noise, samples, rng, sample_rate):
    """Loop a short noise with crossfades, from a random point on.

    Silence at its ends (60 dB below the peak) is removed first; it would pulse.

    Arguments
    ---------
    noise : numpy.ndarray
        (length,)
    samples : int
        Length of the result.
    rng : numpy.random.Generator
        Draws the starting point.
    sample_rate : int
        Hz.

    Returns
    -------
    numpy.ndarray
        (samples,)

    Raises
    ------
    SilentExcerptError
        If less than 0.5 s of sound remains.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> tile(rng.standard_normal(1000), 5000, rng, 1000).shape
    (5000,)
    """
    loud = np.flatnonzero(np.abs(noise) > 1e-3 * np.abs(noise).max())
    clip = noise[loud[0] : loud[-1] + 1] if loud.size else noise[:0]
    if clip.size < SHORTEST_NOISE * sample_rate:
        raise SilentExcerptError("noise has less than 0.5 s of sound: draw another")
    fade = round(CROSSFADE_SECONDS * sample_rate)
    angle = np.linspace(0.0, np.pi / 2, fade)  # equal power: the ends are unrelated
    loop = clip[:-fade].astype(np.float64)
    loop[:fade] = loop[:fade] * np.sin(angle) + clip[-fade:] * np.cos(angle)
    start = rng.integers(loop.size)
    return np.tile(loop, math.ceil((start + samples) / loop.size))[start:][:samples]


def write_wav(path, signal, sample_rate, subtype):
    """Write a .wav file, which appears complete or not at all; creates folders.

    Arguments
    ---------
    path : pathlib.Path
        Final name.
    signal : numpy.ndarray
        (samples,) or (samples, channels), full scale 1.
    sample_rate : int
        Hz.
    subtype : str
        Sample format of soundfile, e.g. "PCM_16".
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        channels = 1 if signal.ndim == 1 else signal.shape[1]
        with create(temporary, sample_rate, channels, "WAV", subtype) as file:
            file.write(signal)
