"""Recordings as judges hear them, in memory or on the disk, piece by piece."""

import math

import soundfile
import torch

from lafufu_sb.audio.recordings import sndfile_name
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

    Raises
    ------
    ValueError
        If it is no audio.
    """

    def __init__(self, path):
        self.path = sndfile_name(path)
        try:
            info = soundfile.info(self.path)
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"{path} is not audio that can be read ({error.error_string})"
            ) from error
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


def estimate_snr(before, after, most=3):
    """Estimated SNR of a recording: what restoring left over what it took away.

    As good as the restoration: what it takes of the speech counts as noise, what it
    leaves of the noise as speech.

    Arguments
    ---------
    before, after : MemorySound or FileSound
        The recording and its restoration; all channels count.
    most : int
        Pieces of 30 s to look at, see ``spread``.

    Returns
    -------
    float
        dB, from -100 to 100; NaN for silence.

    Example
    -------
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
