"""Speech that a restoration has attenuated, without a reference.

Where a band of a recording is far above the noise of its pauses, it holds speech, and a
restoration has no reason to attenuate it.
"""

import numpy as np

from lafufu_sb.audio.resampling import resample

_RATE = 16000  # Hz
_FRAME, _HOP = 512, 256  # samples
_BANDS, _LOWEST_HZ = 24, 80.0  # equal on the mel scale, up to 8 kHz
_ABOVE_NOISE_DB = 15.0
_BELOW_PEAK_DB = 50.0  # fainter bands are not judged
_LOST_DB = 6.0
_PAUSES, _QUIETEST = 10, 0.05  # frames; share of all where there are fewer pauses


def count_lost(before, after, rate, new_rate, stretches):
    """Count the bands of speech, and those that a restoration attenuates by 6 dB.

    Speech is every band of a frame within the stretches that is 15 dB above the mean of
    the pauses, or of the quietest frames if there are no pauses. Frames last 32 ms;
    there are 24 bands from 80 Hz to 8 kHz.

    Arguments
    ---------
    before, after : torch.Tensor
        (time,): a piece of a recording, and of its restoration.
    rate, new_rate : int
        Their sample rates in Hz.
    stretches : sequence of tuple of float
        Speech in the piece, in seconds from its start.

    Returns
    -------
    lost, heard : int

    Example
    -------
    >>> import torch
    >>> burst = torch.zeros(16000)
    >>> burst[4000:8000] = torch.randn(4000)
    >>> lost, heard = count_lost(burst, 0.1 * burst, 16000, 16000, [(0.25, 0.5)])
    >>> lost == heard > 0
    True
    """
    old, new = _powers(before, rate), _powers(after, new_rate)
    count = min(len(old), len(new))
    if not count:
        return 0, 0
    old, new = old[:count], new[:count]
    middles = (np.arange(count) * _HOP + _FRAME / 2) / _RATE
    spoken = np.searchsorted(np.ravel(stretches), middles) % 2 == 1
    pauses = np.flatnonzero(~spoken)
    if len(pauses) < _PAUSES:
        pauses = np.argsort(old.sum(axis=1))[: max(1, int(_QUIETEST * count))]
    noise = old[pauses].mean(axis=0)
    loud = old > _ratio(-_BELOW_PEAK_DB) * old.max()
    heard = loud & (old > _ratio(_ABOVE_NOISE_DB) * noise) & spoken[:, None]
    lost = heard & (new < _ratio(-_LOST_DB) * old)
    return int(lost.sum()), int(heard.sum())


def _ratio(db):
    return 10.0 ** (db / 10.0)


def _powers(wav, rate):
    """Power in each band, (frames, bands)."""
    wav = resample(wav.double(), rate, _RATE).numpy()
    if len(wav) < _FRAME:
        return np.zeros((0, _BANDS))
    frames = np.lib.stride_tricks.sliding_window_view(wav, _FRAME)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME))) ** 2
    return np.add.reduceat(power, _EDGES, axis=1)[:, :_BANDS]


def _edges():
    """First bins of the bands, and of what is above them."""
    lowest, highest = np.log1p(_LOWEST_HZ / 700), np.log1p(_RATE / 2 / 700)
    hertz = 700 * np.expm1(np.linspace(lowest, highest, _BANDS + 1))
    return np.round(hertz * _FRAME / _RATE).astype(int)


_EDGES = _edges()
