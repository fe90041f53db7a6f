"""Whole recordings: read, and write without clipping.

``recordings.Recording`` reads piece by piece; ``recording_writer`` writes so.
"""

import contextlib
import logging
import math
import os
import shutil
from pathlib import Path

import numpy
import soundfile
import torch

from lafufu_sb.audio.blocks import cut_blocks
from lafufu_sb.audio.recordings import BLOCK, Recording, sndfile_name
from lafufu_sb.audio.resampling import resample_blocks
from lafufu_sb.audio.suffixes import SOUNDFILE_SUFFIXES
from lafufu_sb.errors import UsageError
from lafufu_sb.files import temporary_file, written_whole

logger = logging.getLogger(__name__)

LARGEST_FILE = 2**32 - 2**20  # bytes, in formats with 32-bit sizes
_UNLIMITED = ("CAF", "FLAC", "MP3", "OGG", "RF64", "W64")


def read_recording(path):
    """Read and check a whole recording at its own sample rate.

    Arguments
    ---------
    path : str or Path
        Any format of libsndfile.

    Returns
    -------
    wavs : torch.Tensor
        (channels, time), float32.
    sample_rate : int
        Hz.

    Raises
    ------
    UsageError, OSError
        See ``Recording``.
    """
    recording = Recording(path)
    return torch.cat(list(recording.blocks()), dim=1), recording.sample_rate


@contextlib.contextmanager
def recording_writer(path, sample_rate, channels, samples):
    """Write a file block by block; it appears complete or not at all.

    Blocks go to a temporary file of 32-bit floats, which is converted to 24 bits at
    the end. If the peak exceeds full scale, the file stays 32-bit float where the
    format allows it; otherwise (FLAC) it is attenuated until it fits. WAV becomes RF64
    if it may exceed 4 GB.

    Arguments
    ---------
    path : str or Path
        The suffix selects the format.
    sample_rate : int
        Hz.
    channels : int
        Number of channels.
    samples : int
        Number of samples per channel that will be written.

    Yields
    ------
    callable
        ``write(block)`` appends (channels, time). After the context has ended,
        ``write.gain_db`` is the gain that was applied, 0 or below.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    UsageError
        If the suffix is of no known format, or the format cannot hold the audio.
    OSError
        If the folder is not writable or the disk is full.
    """
    path = Path(path)
    kind = _format(path, channels, samples)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {path.parent} does not exist")
    with _FloatFile(path, kind, sample_rate, channels) as writer:
        yield writer
        writer.finish()


def _format(path, channels, samples):
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file in it")
    kind = SOUNDFILE_SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise UsageError(
            f"{path}: cannot write {path.suffix or 'a file without suffix'}, use .wav "
            "or .flac"
        )
    size = 4 * channels * samples  # as 32-bit float
    if kind == "WAV" and size > LARGEST_FILE:
        return "RF64"
    if kind not in _UNLIMITED and size > LARGEST_FILE:
        raise UsageError(
            f"{path}: the result may take {size / 1e9:.1f} GB, more than {path.suffix} "
            "holds, use .wav or .flac"
        )
    return kind


class _FloatFile:
    """A temporary float file that becomes the final one in ``finish``."""

    def __init__(self, path, kind, sample_rate, channels):
        self.path, self.kind = path, kind
        self.sample_rate, self.channels = sample_rate, channels
        self.subtype = "PCM_24" if soundfile.check_format(kind, "PCM_24") else None
        self.holds_float = soundfile.check_format(kind, "FLOAT")
        self.peak, self.gain_db = 0.0, 0.0

    def __enter__(self):
        with contextlib.ExitStack() as stack, self._clear_errors():
            self.temporary = stack.enter_context(temporary_file(self.path))
            open(self.temporary, "wb").close()  # libsndfile does not report the cause
            kind = self.kind
            if not self.holds_float:  # refuse what the final format cannot hold
                self._create(self.temporary, kind, self.subtype).close()
                kind = "RF64"
            self.file = self._create(self.temporary, kind, "FLOAT")
            stack.callback(self._abandon)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def __call__(self, block):
        """Append (channels, time)."""
        samples = block.detach().cpu().float().numpy().T
        self.peak = max(self.peak, float(numpy.abs(samples).max(initial=0.0)))
        with self._clear_errors():
            self.file.write(samples)

    def finish(self):
        """Complete the file and give it its final name."""
        with self._clear_errors():
            self.file.close()
            if self.peak > 1.0 and self.holds_float:
                os.replace(self.temporary, self.path)
                return
            gain = 1.0 / max(1.0, self.peak)
            self._convert(gain)
            self.gain_db = 20.0 * math.log10(gain)

    def _convert(self, gain):
        with (
            written_whole(self.path) as converted,
            soundfile.SoundFile(sndfile_name(self.temporary)) as old,
            self._create(converted, self.kind, self.subtype) as new,
        ):
            for block in old.blocks(BLOCK, dtype="float32"):
                new.write(gain * block)

    def _create(self, name, kind, subtype):
        try:
            return soundfile.SoundFile(
                sndfile_name(name),
                "w",
                self.sample_rate,
                self.channels,
                subtype=subtype,
                format=kind,
            )
        except soundfile.LibsndfileError as error:
            raise UsageError(
                f"{self.path}: {kind} with {self.channels} channels at "
                f"{self.sample_rate} Hz cannot be written ({error.error_string})"
            ) from error

    def _abandon(self):
        with contextlib.suppress(soundfile.SoundFileError, OSError):
            self.file.close()

    @contextlib.contextmanager
    def _clear_errors(self):
        """Name the final file in errors, and the likely cause."""
        try:
            yield
        except OSError as error:
            if error.errno is None:
                raise
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        except (AssertionError, soundfile.LibsndfileError) as error:
            # soundfile asserts that all samples were written and reports no cause.
            free = shutil.disk_usage(self.path.parent).free
            raise OSError(
                f"{self.path} cannot be written to its end: is the disk full, or a "
                f"size limit reached? {free / 1e6:.0f} MB are free"
            ) from error


def write_recording(path, wavs, sample_rate):
    """Write channels to a file, which appears complete or not at all.

    Arguments
    ---------
    path : str or Path
        The suffix selects the format, see ``recording_writer``.
    wavs : torch.Tensor
        (channels, time) or (time,).
    sample_rate : int
        Hz.

    Raises
    ------
    UsageError, OSError
        See ``recording_writer``.
    """
    wavs = wavs if wavs.dim() == 2 else wavs[None]
    with recording_writer(path, sample_rate, *wavs.shape) as write:
        write(wavs)


def at_file_rate(recording, blocks):
    """Resample blocks to the sample rate and length of the file they came from.

    Arguments
    ---------
    recording : Recording
        The file.
    blocks : iterable of torch.Tensor
        (channels, samples) each, at ``recording.sample_rate``.

    Yields
    ------
    torch.Tensor
        (channels, samples).
    """
    blocks = resample_blocks(blocks, recording.sample_rate, recording.file_rate)
    return cut_blocks(blocks, recording.frames)


def write_blocks(recording, blocks, filename, keep_sample_rate=False):
    """Write the result of processing a recording; missing folders are created.

    Arguments
    ---------
    recording : Recording
        The input.
    blocks : iterable of torch.Tensor
        (channels, samples) each, at ``recording.sample_rate``.
    filename : Path
        See ``recording_writer``.
    keep_sample_rate : bool
        Write at the input file's rate instead.

    Raises
    ------
    UsageError, OSError
        See ``recording_writer``.
    """
    rate, length = recording.sample_rate, recording.samples
    if keep_sample_rate:
        rate, length = recording.file_rate, recording.frames
        blocks = at_file_rate(recording, blocks)
    filename.parent.mkdir(parents=True, exist_ok=True)
    with recording_writer(filename, rate, recording.channels, length) as write:
        for block in blocks:
            write(block)
    if write.gain_db:
        logger.warning(
            "%s cannot hold samples above full scale: turned down by %.1f dB, which "
            "a .wav file does not need",
            filename,
            -write.gain_db,
        )
