"""Recordings of users: read whatever is sound, write without clipping or loss.

``recordings.Recording`` reads piece by piece, ``recording_writer`` writes so.
"""

import contextlib
import logging
import math
import shutil
from pathlib import Path

import numpy
import soundfile
import torch

from lafufu_sb.audio.blocks import cut_blocks
from lafufu_sb.audio.recordings import BLOCK, Recording, sndfile_name
from lafufu_sb.audio.resampling import resample_blocks
from lafufu_sb.files import written_whole

logger = logging.getLogger(__name__)

# RAW has no header: nobody knows its rate, and cameras use the suffix for photos.
FORMATS = tuple(name for name in soundfile.available_formats() if name != "RAW")
AUDIO_SUFFIXES = tuple(f".{name.lower()}" for name in FORMATS)
LARGEST_FILE = 2**32 - 2**20  # bytes, where sizes are noted in 32 bits
_UNLIMITED = ("CAF", "FLAC", "MP3", "OGG", "RF64", "W64")


def read_recording(path):
    """Read all channels of a recording at its own rate.

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
    FileNotFoundError, IsADirectoryError, PermissionError, ValueError
        See ``Recording``.
    """
    recording = Recording(path)
    return torch.cat(list(recording.blocks()), dim=1), recording.sample_rate


@contextlib.contextmanager
def recording_writer(path, sample_rate, channels, samples):
    """Write a file block by block, which appears whole or not at all.

    24 bits, and nothing clips: once the peak is above full scale, a format that can
    hold 32-bit float changes to it, and in another (FLAC) the whole is turned down
    until it fits. WAV becomes RF64 where it may pass 4 GB.

    Arguments
    ---------
    path : str or Path
        The suffix chooses the format.
    sample_rate : int
        Hz.
    channels : int
        Their number.
    samples : int
        How many there will be, of each channel.

    Yields
    ------
    callable
        ``write(block)`` appends (channels, time). Its ``gain_db``, 0 or below, is
        known after the last one: what the result was turned down by.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ValueError
        If the suffix is of no format, or the format cannot hold as much.
    OSError
        If the folder may not be written to, or the disk is full.
    """
    path = Path(path)
    kind = _format(path, channels, samples)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {path.parent} does not exist")
    with written_whole(path) as temporary:
        writer = _Writer(path, temporary, kind, sample_rate, channels)
        try:
            yield writer
            writer.close()
        finally:
            writer.abandon()


def _format(path, channels, samples):
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file in it")
    kind = path.suffix[1:].upper()
    if kind not in FORMATS:
        raise ValueError(
            f"{path}: cannot write {path.suffix or 'a file without suffix'}, use .wav "
            "or .flac"
        )
    size = 4 * channels * samples  # as float
    if kind == "WAV" and size > LARGEST_FILE:
        return "RF64"
    if kind not in _UNLIMITED and size > LARGEST_FILE:
        raise ValueError(
            f"{path}: the result may take {size / 1e9:.1f} GB, more than {path.suffix} "
            "holds, use .wav or .flac"
        )
    return kind


class _Writer:
    """Writes to a temporary name, speaks of the final one."""

    def __init__(self, path, temporary, kind, sample_rate, channels):
        self.path, self.temporary, self.kind = path, temporary, kind
        self.sample_rate, self.channels = sample_rate, channels
        self.subtype = "PCM_24" if soundfile.check_format(kind, "PCM_24") else None
        self.started = False
        self.peak = 0.0
        self.narrow = None  # (kind, subtype) to end with, which has no float
        with self._clear_errors():
            open(temporary, "wb").close()  # says what is wrong, unlike libsndfile
            self.file = self._create(temporary)

    def __call__(self, block):
        """Append (channels, time)."""
        samples = block.detach().cpu().float().numpy().T
        with self._clear_errors():
            self.peak = max(self.peak, float(numpy.abs(samples).max(initial=0.0)))
            if self.peak > 1.0 and self.subtype != "FLOAT":
                self._change_to_float()
            self.file.write(samples)
        self.started = True

    @property
    def gain_db(self):
        """What the whole is turned down by, 0 or below."""
        return 0.0 if self.narrow is None else -20.0 * math.log10(self.peak)

    def close(self):
        """Complete the file."""
        with self._clear_errors():
            self.file.close()
            if self.narrow is not None:
                self.kind, self.subtype = self.narrow
                self._rewrite(1 / self.peak)

    def abandon(self):
        """Close, whatever state the file is in."""
        with contextlib.suppress(soundfile.SoundFileError, OSError, AttributeError):
            self.file.close()

    def _create(self, name):
        try:
            return soundfile.SoundFile(
                sndfile_name(name),
                "w",
                self.sample_rate,
                self.channels,
                subtype=self.subtype,
                format=self.kind,
            )
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"{self.path}: {self.kind} with {self.channels} channels at "
                f"{self.sample_rate} Hz cannot be written ({error.error_string})"
            ) from error

    def _change_to_float(self):
        if not soundfile.check_format(self.kind, "FLOAT"):
            self.narrow, self.kind = (self.kind, self.subtype), "RF64"
        self.subtype = "FLOAT"
        self.file.close()
        if not self.started:
            self.file = self._create(self.temporary)
            return
        self._rewrite()
        self.file = soundfile.SoundFile(sndfile_name(self.temporary), "r+")
        self.file.seek(0, soundfile.SEEK_END)

    def _rewrite(self, gain=1.0):
        """Change what is written so far to the present kind and subtype."""
        with (
            written_whole(self.temporary) as changed,
            soundfile.SoundFile(sndfile_name(self.temporary)) as old,
            self._create(changed) as new,
        ):
            for block in old.blocks(BLOCK, dtype="float32"):
                new.write(gain * block)

    @contextlib.contextmanager
    def _clear_errors(self):
        try:
            yield
        except OSError as error:
            if error.errno is None:
                raise
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        except (AssertionError, soundfile.LibsndfileError) as error:
            # Fewer samples were taken than given, and nobody says why.
            free = shutil.disk_usage(self.path.parent).free
            raise OSError(
                f"{self.path} cannot be written to its end: is the disk full, or a "
                f"limit reached? {free / 1e6:.0f} MB are free"
            ) from error


def write_recording(path, wavs, sample_rate):
    """Write channels to a file, which appears whole or not at all.

    Arguments
    ---------
    path : str or Path
        The suffix chooses the format, see ``recording_writer``.
    wavs : torch.Tensor
        (channels, time) or (time,).
    sample_rate : int
        Hz.

    Raises
    ------
    FileNotFoundError, ValueError, OSError
        See ``recording_writer``.
    """
    wavs = wavs if wavs.dim() == 2 else wavs[None]
    with recording_writer(path, sample_rate, *wavs.shape) as write:
        write(wavs)


def find_recordings(folder):
    """Audio files below a folder, sorted.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = sorted(
        path
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    )
    if not found:
        raise ValueError(f"{folder} holds no audio files")
    return found


def at_file_rate(recording, blocks):
    """Blocks at the rate and of the length of the file that they were read from.

    Arguments
    ---------
    recording : Recording
        That file.
    blocks : iterable of torch.Tensor
        (channels, samples) each, at the rate at which it is read.

    Yields
    ------
    torch.Tensor
        (channels, samples).
    """
    blocks = resample_blocks(blocks, recording.sample_rate, recording.file_rate)
    return cut_blocks(blocks, recording.frames)


def write_blocks(recording, blocks, filename, keep_sample_rate=False):
    """Write what was made of a recording, in missing folders too.

    Arguments
    ---------
    recording : Recording
        What it was made of.
    blocks : iterable of torch.Tensor
        (channels, samples) each, at the rate at which it is read.
    filename : Path
        See ``recording_writer``.
    keep_sample_rate : bool
        Write at the file's rate instead.

    Raises
    ------
    ValueError, OSError
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
            "%s holds nothing above full scale: turned down by %.1f dB, which .wav "
            "would not need",
            filename,
            -write.gain_db,
        )
