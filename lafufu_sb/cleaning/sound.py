"""Sounds as judges hear them, in memory or on disk, piece by piece."""

import math

from lafufu_sb.audio.resampling import resample

_SNR_SECONDS = 30.0


class MemorySound:
    """A recording in memory.

    Arguments
    ---------
    wavs : torch.Tensor
        (channels, time), float32.
    rate : int
        Hz.

    Attributes
    ----------
    channels, samples : int
        Of the recording.
    seconds : float
        Its length.

    Example
    -------
    >>> import torch
    >>> sound = MemorySound(torch.zeros(2, 16000), 16000)
    >>> sound.seconds, sound.read(0.5, 0.2).shape
    (1.0, torch.Size([2, 3200]))
    """

    def __init__(self, wavs, rate):
        self.wavs, self.rate = wavs, rate
        self.channels, self.samples = wavs.shape
        self.seconds = self.samples / rate

    def read(self, start, seconds):
        """Read a piece.

        Arguments
        ---------
        start, seconds : float
            Where it starts, and its length.

        Returns
        -------
        torch.Tensor
            (channels, time), shorter where the recording ends.
        """
        first = round(start * self.rate)
        return self.wavs[:, first : first + round(seconds * self.rate)]


class FileSound:
    """A recording on disk, of which only the pieces are read; see ``MemorySound``.

    Arguments
    ---------
    recording : Recording
        The file.
    """

    def __init__(self, recording):
        self.recording, self.rate = recording, recording.file_rate
        self.channels, self.samples = recording.channels, recording.frames
        self.seconds = self.samples / self.rate

    def read(self, start, seconds):
        """See ``MemorySound.read``."""
        first, count = round(start * self.rate), round(seconds * self.rate)
        return self.recording.segment(first, count)


def spread(seconds, length, most):
    """Starts of pieces that are spread evenly over a recording.

    Arguments
    ---------
    seconds : float
        Length of the recording.
    length : float
        Length of a piece in seconds.
    most : int
        Largest number of pieces; 0 for as many as cover the recording.

    Returns
    -------
    list of float
        Seconds; [0.0] if the recording is no longer than a piece.

    Example
    -------
    >>> spread(60, 10, 3), spread(25, 10, 0), spread(4, 10, 3)
    ([0.0, 25.0, 50.0], [0.0, 7.5, 15.0], [0.0])
    """
    count = max(1, math.ceil(seconds / length))
    count = min(count, most) if most else count
    last = max(0.0, seconds - length)
    return [last * i / max(1, count - 1) for i in range(count)]


def estimate_snr(before, after, most=3):
    """Estimated SNR of a recording: power of the restoration over that of the residual.

    It is as good as the restoration: removed speech counts as noise, remaining noise
    as speech.

    Arguments
    ---------
    before, after : MemorySound or FileSound
        The recording and its restoration; all channels count.
    most : int
        Largest number of pieces of 30 s, see ``spread``.

    Returns
    -------
    float
        dB, from -100 to 100; NaN for silence.

    Example
    -------
    >>> import torch
    >>> speech = torch.ones(1, 16000)
    >>> noise = 0.1 * torch.tensor([1.0, -1.0]).repeat(8000)
    >>> sounds = MemorySound(speech + noise, 16000), MemorySound(speech, 16000)
    >>> round(estimate_snr(*sounds), 2)
    20.0
    """
    speech = noise = 0.0
    for start in spread(before.seconds, _SNR_SECONDS, most):
        x, y = (sound.read(start, _SNR_SECONDS) for sound in (after, before))
        x = resample(x, after.rate, before.rate)[:, : y.shape[1]].double()
        speech += float(x.square().sum())
        noise += float((y[:, : x.shape[1]].double() - x).square().sum())
    if speech + noise == 0.0:
        return math.nan
    floor = 1e-10 * (speech + noise)
    return 10.0 * math.log10((speech + floor) / (noise + floor))
