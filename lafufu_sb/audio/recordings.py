"""Read recordings: headers, segments, whole files, and streams of any length.

All readers open files with ``open_audio``, so a file that cannot be read gives the same
error everywhere.
"""

import functools
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch

from lafufu_sb.audio.headers import UNKNOWN
from lafufu_sb.audio.libsndfile import IncompleteError
from lafufu_sb.audio.opening import open_audio, open_otherwise
from lafufu_sb.audio.resampling import resample_blocks
from lafufu_sb.errors import MissingPackageError, UsageError

logger = logging.getLogger(__name__)

BLOCK = 2**16  # frames that are read at once


@dataclass(frozen=True)
class Header:
    """Sample rate (Hz), channels and frames of an audio file."""

    sample_rate: int
    channels: int
    frames: int

    @property
    def seconds(self):
        """Duration."""
        return self.frames / self.sample_rate


def read_header(path):
    """Read the header of an audio file.

    Arguments
    ---------
    path : str or Path
        See ``open_audio``.

    Returns
    -------
    Header

    Raises
    ------
    UsageError, OSError
        See ``open_audio``.
    """

    def header(file):
        if file.frames == UNKNOWN:
            while len(file.read(BLOCK)):
                pass
        frames = min(file.frames, file.tell() or file.frames)
        return Header(file.samplerate, file.channels, frames)

    return _read_whole(path, header)


def read(path, start=0, frames=-1, dtype="float32"):
    """Read all channels of an audio file, or of a segment of it.

    Arguments
    ---------
    path : str or Path
        See ``open_audio``.
    start : int
        First frame; beyond the end, no samples are returned.
    frames : int
        How many; -1 reads to the end. Fewer are returned where the file ends.
    dtype : str
        "float32" or "float64".

    Returns
    -------
    samples : torch.Tensor
        (channels, time), at the file's sample rate.
    sample_rate : int
        Hz.

    Raises
    ------
    UsageError
        If the file is not audio or is damaged.
    OSError
        See ``open_audio``.

    Example
    -------
    >>> import soundfile
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> soundfile.write(path, numpy.zeros((100, 2)), 16000)
    >>> samples, sample_rate = read(path, start=10, frames=20)
    >>> samples.shape, sample_rate
    (torch.Size([2, 20]), 16000)
    """
    return _read_whole(path, lambda file: _segment(file, start, frames, dtype))


def _read_whole(path, function):
    """Call a function with an open file, again with PyAV if libsndfile fails."""
    try:
        with open_audio(path) as file:
            return function(file)
    except IncompleteError as error:
        try:
            with open_otherwise(path, error) as file:
                return function(file)
        except MissingPackageError:
            raise
        except UsageError:
            raise error from None


def _segment(file, start, frames, dtype):
    file.seek(start)
    samples = file.read(frames, dtype, always_2d=True)
    return torch.from_numpy(samples.T), file.samplerate


def sndfile_name(path):
    """Encode a path for libsndfile, which takes names that are not UTF-8 as bytes."""
    return str(path) if os.name == "nt" else os.fsencode(path)


class Recording:
    """An audio file that is read piece by piece at a chosen sample rate.

    The constructor reads the file once to its end: damage anywhere in it is reported
    before any other work is done, and the length is known.

    Arguments
    ---------
    path : str or Path
        See ``open_audio``.
    sample_rate : int, optional
        Rate (Hz) to read at; by default the file's.

    Attributes
    ----------
    channels : int
        Number of channels.
    file_rate, frames : int
        Sample rate (Hz) and length of the file.
    sample_rate, samples : int
        Sample rate (Hz) and length of what is read.
    note : str
        What was wrong with the header of a file that can be read all the same, or
        empty.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If the file does not exist or may not be read.
    UsageError
        If it is not audio, is damaged, or has no samples or samples that are not
        finite.
    """

    def __init__(self, path, sample_rate=None):
        self.path = Path(path)
        self._given_rate, self._open = sample_rate, open_audio
        try:
            self._measure()
        except IncompleteError as error:
            self._measure_otherwise(error)
        if self.samples == 0:
            raise UsageError(f"{self.path} holds no samples")
        self._source = None  # iterator over the blocks after the buffer
        self._buffer = torch.empty(self.channels, 0)
        self._start = 0  # position of the buffer's first sample

    def _measure(self):
        with self._open(self.path) as file:
            self.file_rate, self.channels = file.samplerate, file.channels
        given = self._given_rate
        self.sample_rate = self.file_rate if given is None else given
        self.samples, self.frames = 0, 0
        for block in self.blocks():
            self.samples += block.shape[1]
        if self.note:
            _warn(f"{self.path} {self.note}")

    def _measure_otherwise(self, error):
        """Measure with PyAV what libsndfile does not read to its end."""
        seconds = error.seconds
        self._open = functools.partial(open_otherwise, error=error.with_traceback(None))
        try:
            self._measure()
        except MissingPackageError:
            raise
        except UsageError:
            raise error from None
        if self.frames < seconds * self.file_rate:
            raise error

    def segment(self, start, frames):
        """Read ``frames`` frames (channels, time) of the file, at its own rate."""
        with self._open(self.path) as file:
            return _segment(file, start, frames, "float32")[0]

    def blocks(self):
        """Iterate over the recording in blocks (channels, time) of varying length."""
        return resample_blocks(self._file_blocks(), self.file_rate, self.sample_rate)

    def _file_blocks(self):
        frames = 0
        with self._open(self.path) as file:
            while len(block := file.read(BLOCK, "float32", always_2d=True)):
                if not numpy.isfinite(block).all():
                    raise UsageError(
                        f"{self.path} has NaN or infinite samples: repair it first"
                    )
                frames += len(block)
                yield torch.from_numpy(block.T.copy())
            self.note = getattr(file, "note", "")
        self.frames = frames

    def read(self, start, stop):
        """Read samples ``start`` to ``stop``, fewer where the recording ends.

        Arguments
        ---------
        start, stop : int
            Samples at ``sample_rate``. Fast while ``start`` rises from call to call;
            a smaller ``start`` reads the file from its beginning again.

        Returns
        -------
        torch.Tensor
            (channels, samples), float32.

        Raises
        ------
        UsageError
            If the file has become shorter.
        """
        if self._source is None or start < self._start:
            self.close()
            self._source = self.blocks()
        end = self._start + self._buffer.shape[1]
        while end < min(stop, self.samples):
            block = next(self._source, None)
            if block is None:
                raise UsageError(f"{self.path} has changed while it was read")
            # Samples before `start` are not needed again.
            self._buffer = self._buffer[:, max(0, start - self._start) :]
            self._start = end - self._buffer.shape[1]
            self._buffer = torch.cat([self._buffer, block], dim=1)
            end += block.shape[1]
        return self._buffer[:, start - self._start : min(stop, end) - self._start]

    def close(self):
        """Close the file and drop the buffer; the next ``read`` starts again."""
        if self._source is not None:
            self._source.close()
        self._source = None
        self._buffer, self._start = self._buffer[:, :0], 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def signals(self, seed=None, begin=0):
        """Return the channels as a tuple of signals for ``Restorer.stream``.

        Arguments
        ---------
        seed : int, optional
            Seed of the sampler's noise for all channels; by default the stream's.
        begin : int
            First window to restore.

        Returns
        -------
        tuple
            Signals as ``TensorSignal``, with the channel's number as their key.
        """
        channels = range(self.channels)
        return tuple(_Channel(self, number, seed, begin) for number in channels)


class _Channel:
    """One channel of a recording, see ``TensorSignal``."""

    def __init__(self, recording, key, seed, begin):
        self.recording, self.key, self.seed = recording, key, seed
        self.begin = begin
        self.samples = recording.samples

    def read(self, start, stop):
        return self.recording.read(start, stop)[self.key]


@functools.cache
def _warn(text):
    """Log a warning, once although a file is read several times."""
    logger.warning("%s", text)
