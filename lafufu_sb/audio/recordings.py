"""Recordings that are read where they are needed, at the rate that is wanted."""

import os
from pathlib import Path

import numpy
import soundfile
import torch

from lafufu_sb.audio.resampling import resample_blocks

BLOCK = 2**16  # frames that are read at once


class Recording:
    """A file of audio that is read piece by piece, at the rate that is wanted.

    Making one reads the file to its end, once: a fault anywhere in it shows before
    anything is done with it, and the level is known.

    Arguments
    ---------
    path : str or Path
        Any format of libsndfile.
    sample_rate : int, optional
        Hz, of what is read; by default that of the file.

    Attributes
    ----------
    channels : int
        Their number.
    file_rate, frames : int
        Rate (Hz) and length of the file.
    sample_rate, samples : int
        Rate (Hz) and length of what is read.
    peaks : list of float
        Largest magnitude of each channel, of what is read.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or none that may be read.
    ValueError
        If it is no audio, damaged, holds no samples, or samples that are not finite.
    """

    def __init__(self, path, sample_rate=None):
        self.path = Path(path)
        _check_readable(self.path)
        with _open_to_read(self.path) as file:
            self.file_rate, self.channels = file.samplerate, file.channels
        self.sample_rate = self.file_rate if sample_rate is None else sample_rate
        self.samples, self.frames, peaks = 0, 0, torch.zeros(self.channels)
        for block in self.blocks():
            self.samples += block.shape[1]
            if block.shape[1]:
                peaks = torch.maximum(peaks, block.abs().amax(dim=1))
        if self.samples == 0:
            raise ValueError(f"{self.path} holds no samples")
        self.peaks = peaks.tolist()
        self._source = None  # of the blocks that come next
        self._buffer = torch.empty(self.channels, 0)
        self._start = 0  # sample that the buffer begins with

    def blocks(self):
        """All of it, in blocks (channels, time) of lengths as they come."""
        return resample_blocks(self._file_blocks(), self.file_rate, self.sample_rate)

    def _file_blocks(self):
        frames = 0
        with _open_to_read(self.path) as file:
            while True:
                try:
                    block = file.read(BLOCK, dtype="float32", always_2d=True)
                except soundfile.LibsndfileError as error:
                    raise ValueError(
                        f"{self.path} is damaged after {frames / file.samplerate:.2f} "
                        f"seconds ({error.error_string})"
                    ) from error
                if len(block) == 0:
                    break
                if not numpy.isfinite(block).all():
                    raise ValueError(
                        f"{self.path} has NaN or infinite samples: repair it first"
                    )
                frames += len(block)
                yield torch.from_numpy(block.T.copy())
        self.frames = frames

    def read(self, start, stop):
        """Samples from ``start`` up to ``stop``, fewer where the recording ends.

        Arguments
        ---------
        start, stop : int
            Samples at ``sample_rate``. Best in rising order of ``start``: the file is
            read onwards, and from its beginning for what lies further back.

        Returns
        -------
        torch.Tensor
            (channels, samples), float32.

        Raises
        ------
        ValueError
            If the file has become shorter.
        """
        if self._source is None or start < self._start:
            self.close()
            self._source = self.blocks()
        end = self._start + self._buffer.shape[1]
        while end < min(stop, self.samples):
            block = next(self._source, None)
            if block is None:
                raise ValueError(f"{self.path} has changed while it was read")
            # What lies before `start` is not needed again.
            self._buffer = self._buffer[:, max(0, start - self._start) :]
            self._start = end - self._buffer.shape[1]
            self._buffer = torch.cat([self._buffer, block], dim=1)
            end += block.shape[1]
        return self._buffer[:, start - self._start : min(stop, end) - self._start]

    def close(self):
        """Close the file and forget what was read; reading starts anew."""
        if self._source is not None:
            self._source.close()
        self._source = None
        self._buffer, self._start = self._buffer[:, :0], 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def signals(self, seed=None, begin=0):
        """The channels for ``Restorer.stream``: a tuple, keys are their numbers.

        Arguments
        ---------
        seed : int, optional
            Of the sampler's noise, the same for all; by default that of the stream.
        begin : int
            First window that is wanted.
        """
        channels = range(self.channels)
        return tuple(_Channel(self, number, seed, begin) for number in channels)


class _Channel:
    """See ``TensorSignal``."""

    def __init__(self, recording, key, seed, begin):
        self.recording, self.key, self.seed = recording, key, seed
        self.begin = begin
        self.samples, self.peak = recording.samples, recording.peaks[key]

    def read(self, start, stop):
        return self.recording.read(start, stop)[self.key]


def _check_readable(path):
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a recording")
    if not path.exists():
        what = "is a link that leads nowhere" if path.is_symlink() else "does not exist"
        raise FileNotFoundError(f"{path} {what}")
    if not path.is_file():
        raise ValueError(f"{path} is not a file: a recording is read more than once")
    with open(path, "rb"):  # libsndfile does not say what is wrong
        pass
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes)")
    if path.suffix.lower() == ".raw":
        raise ValueError(
            f"{path} has no header, nobody knows its sample rate: convert it to .wav"
        )


def _open_to_read(path):
    try:
        return soundfile.SoundFile(sndfile_name(path))
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{path} is not audio that can be read ({error.error_string})"
        ) from error


def sndfile_name(path):
    """A path as libsndfile takes it."""
    # Names that are not UTF-8 reach libsndfile only as the bytes that they are.
    return str(path) if os.name == "nt" else os.fsencode(path)
