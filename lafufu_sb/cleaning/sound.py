"""Recordings as judges hear them, in memory or on the disk, piece by piece."""

import math

import numpy
import soundfile
import torch

_FRAME = 0.02  # s
_FLOOR = 1e-12  # of the mean square, -120 dB: digital silence


class MemorySound:
    """A recording in memory.

    Arguments
    ---------
    wavs : torch.Tensor
        (channels, time), float32.
    rate : int
        Hz.

    Example
    -------
    >>> sound = MemorySound(torch.zeros(2, 16000), 16000)
    >>> sound.seconds, sound.read(0.5, 0.2).shape
    (1.0, torch.Size([2, 3200]))
    """

    def __init__(self, wavs, rate):
        self.wavs, self.rate = wavs, rate
        self.channels, self.samples = wavs.shape

    @property
    def seconds(self):
        """Length."""
        return self.samples / self.rate

    def read(self, start, seconds):
        """(channels, time) from ``start`` (s) on, less where the recording ends."""
        first = round(start * self.rate)
        return self.wavs[:, first : first + round(seconds * self.rate)]


class FileSound:
    """A recording on the disk, for what is too long to be in memory.

    Arguments
    ---------
    path : str or Path
        Any format of libsndfile.
    """

    def __init__(self, path):
        self.path = str(path)
        info = soundfile.info(self.path)
        self.rate, self.channels, self.samples = (
            info.samplerate,
            info.channels,
            info.frames,
        )

    seconds = MemorySound.seconds

    def read(self, start, seconds):
        """See ``MemorySound.read``."""
        wavs, _ = soundfile.read(
            self.path,
            frames=round(seconds * self.rate),
            start=min(round(start * self.rate), self.samples),
            dtype="float32",
            always_2d=True,
        )
        return torch.from_numpy(wavs.T.copy())


def spread(seconds, length, most):
    """Starts of pieces spread evenly over a recording.

    Arguments
    ---------
    seconds : float
        Of the recording.
    length : float
        Seconds of a piece.
    most : int
        Pieces at most; 0 for as many as it takes to hear all.

    Returns
    -------
    list of float
        Seconds; [0.0] for what is no longer than a piece.

    Example
    -------
    >>> spread(60, 10, 3), spread(25, 10, 0), spread(4, 10, 3)
    ([0.0, 25.0, 50.0], [0.0, 7.5, 15.0], [0.0])
    """
    count = max(1, math.ceil(seconds / length))
    count = min(count, most) if most else count
    room = max(0.0, seconds - length)
    return [room * i / max(1, count - 1) for i in range(count)]


def estimate_snr(sound, most=3):
    """Estimated ratio of speech to noise, from how loud frames are over quiet ones.

    Noise power is the 10th percentile of the mean squares of 20-ms frames, speech and
    noise their mean above it: right for steady noise and speech with pauses; music or
    babble pass for speech, and in reverberation tails pass for noise.

    Arguments
    ---------
    sound : MemorySound or FileSound
        All channels count.
    most : int
        Pieces of 30 s to look at, see ``spread``.

    Returns
    -------
    float
        dB, between -20 and 100; NaN for silence and what has fewer than 10 frames.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> pauses = (torch.arange(16000) % 4000 < 2000) * torch.randn(1, 16000)
    >>> noise = 0.1 * torch.randn(1, 16000, generator=generator)
    >>> 16 < estimate_snr(MemorySound(pauses + noise, 16000)) < 22
    True
    """
    frame = max(1, round(_FRAME * sound.rate))
    powers = []
    for start in spread(sound.seconds, 30.0, most):
        wavs = sound.read(start, 30.0).double()
        frames = wavs[:, : wavs.shape[1] // frame * frame].reshape(len(wavs), -1, frame)
        powers.append(frames.square().mean(dim=2).flatten())
    powers = torch.cat(powers).numpy()
    if len(powers) < 10 or powers.max() <= _FLOOR:
        return math.nan
    noise = max(numpy.percentile(powers, 10), _FLOOR)
    speech = max(powers.mean() - noise, 0.01 * noise)
    return float(min(10 * math.log10(speech / noise), 100.0))
