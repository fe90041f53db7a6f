"""Write recordings block by block, without clipping, in the format of their suffix."""

import contextlib
import math
import os
import shutil
from pathlib import Path

import numpy
import soundfile

from lafufu_sb.audio import muxing
from lafufu_sb.audio.formats import CONTAINERS, SUBTYPES, WRITTEN_SUFFIXES
from lafufu_sb.audio.recordings import BLOCK, sndfile_name
from lafufu_sb.audio.sound_files import (
    create,
    read_metadata,
    rounded,
    write_metadata,
)
from lafufu_sb.audio.suffixes import CONTAINER_SUFFIXES, SOUNDFILE_SUFFIXES
from lafufu_sb.errors import UsageError
from lafufu_sb.files import temporary_file, written_whole

LARGEST_FILE = 2**32 - 2**20  # bytes, in formats with 32-bit sizes
_UNLIMITED = ("CAF", "FLAC", "MP3", "OGG", "RF64", "W64")

# What replaces a sample format where the file's format does not have it
_NEXT_BEST = {
    "PCM_16": (),
    "PCM_24": ("PCM_16",),
    "PCM_32": ("PCM_24", "PCM_16"),
    "FLOAT": ("PCM_24", "PCM_16"),
}
_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}


@contextlib.contextmanager
def recording_writer(path, sample_rate, channels, samples, subtype=None, source=None):
    """Write a file block by block; it appears complete or not at all.

    Blocks go to a temporary file of 32-bit floats, which is converted at the end.
    Integers are rounded without dither. If the peak exceeds full scale, the file
    becomes 32-bit float where its format allows it and no ``subtype`` was chosen;
    otherwise (FLAC) it is attenuated until it fits. WAV becomes RF64 if it may exceed
    4 GB.

    Arguments
    ---------
    path : str or Path
        The suffix selects the format, one of ``WRITTEN_SUFFIXES``.
    sample_rate : int
        Hz.
    channels : int
        Number of channels.
    samples : int
        Number of samples per channel that will be written.
    subtype : str, optional
        One of ``SUBTYPES``. By default that of the source, 16 bits if the source has
        fewer bits or is compressed with loss, and 24 bits without source; or the next
        best that the format has.
    source : str or Path, optional
        Recording whose texts, channel mask and bext chunk are kept as far as the format
        holds them; of a film also the pictures, see ``muxing``.

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
    with _FloatFile(path, kind, sample_rate, channels, subtype, source) as writer:
        yield writer
        writer.finish()


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


def check_subtype(path, subtype):
    """Refuse a chosen sample format that the format of the suffix does not have.

    Raises
    ------
    UsageError
        With a suffix that has it; also for an unknown sample format.
    """
    if subtype not in SUBTYPES:
        raise UsageError(f"subtype {subtype!r} is none of {', '.join(SUBTYPES)}")
    suffix = Path(path).suffix.lower()
    if suffix in CONTAINERS:
        fits = suffix != ".webm" and subtype in ("PCM_16", "PCM_24")
    else:
        fits = soundfile.check_format(SOUNDFILE_SUFFIXES[suffix], subtype)
    if not fits:
        raise UsageError(
            f"{path}: {suffix} files cannot hold {subtype.lower()} samples, use .wav"
        )


def _format(path, channels, samples):
    """Format of libsndfile, or None for a container of ``muxing``."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file in it")
    suffix = path.suffix.lower()
    if suffix not in WRITTEN_SUFFIXES:
        raise UsageError(
            f"{path}: cannot write {path.suffix or 'a file without suffix'}, use .wav "
            "or .flac"
        )
    kind = SOUNDFILE_SUFFIXES.get(suffix)
    size = 4 * channels * samples  # as 32-bit float
    if kind == "WAV" and size > LARGEST_FILE:
        return "RF64"
    if kind and kind not in _UNLIMITED and size > LARGEST_FILE:
        raise UsageError(
            f"{path}: the result may take {size / 1e9:.1f} GB, more than {path.suffix} "
            "holds, use .wav or .flac"
        )
    return kind


def _usual_subtype(metadata):
    """Sample format of a result, by that of its source."""
    if metadata is None:
        return "PCM_24"
    same = {"DOUBLE": "FLOAT", "ALAC_20": "PCM_24", "ALAC_24": "PCM_24"}
    same |= {"ALAC_32": "PCM_32"} | {name: name for name in SUBTYPES}
    return same.get(metadata.subtype, "PCM_16")


class _FloatFile:
    """A temporary float file that becomes the final one in ``finish``."""

    def __init__(self, path, kind, sample_rate, channels, subtype, source):
        self.path, self.kind = path, kind
        self.sample_rate, self.channels = sample_rate, channels
        self.source = None if source is None else Path(source)
        self.metadata = None if source is None else read_metadata(source)
        self.chosen = subtype is not None
        if self.chosen:
            check_subtype(path, subtype)
        subtype = subtype or _usual_subtype(self.metadata)
        formats = (subtype, *_NEXT_BEST[subtype])
        known = [s for s in formats if soundfile.check_format(kind or "FLAC", s)]
        self.subtype = known[0] if known else None  # None is that of the format
        if path.suffix.lower() == ".opus":
            self.subtype = "OPUS"
        if kind == "WAV" and self.metadata is not None and self.metadata.channel_map:
            self.kind = "WAVEX"
        self.holds_float = kind is not None and soundfile.check_format(kind, "FLOAT")
        self.peak, self.gain_db = 0.0, 0.0

    def __enter__(self):
        with contextlib.ExitStack() as stack, self._clear_errors():
            self.temporary = stack.enter_context(temporary_file(self.path))
            open(self.temporary, "wb").close()  # libsndfile does not report the cause
            if not self.holds_float:  # refuse what the final format cannot hold
                self._create(self.temporary, self.subtype).close()
            kind = self.kind if self.holds_float else "RF64"
            self.file = self._create_sound(self.temporary, kind, "FLOAT")
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
            loud = self.peak > 1.0 and not self.chosen
            if self.holds_float and (loud or self.subtype == "FLOAT"):
                os.replace(self.temporary, self.path)
                return
            gain = 1.0 / max(1.0, self.peak)
            self._convert(gain)
            self.gain_db = 20.0 * math.log10(gain)

    def _convert(self, gain):
        bits = _BITS.get(self.subtype) if self.kind else None
        with (
            written_whole(self.path) as converted,
            soundfile.SoundFile(sndfile_name(self.temporary)) as old,
            self._create(converted, self.subtype) as new,
        ):
            for block in old.blocks(BLOCK, dtype="float32", always_2d=True):
                block = numpy.float32(gain) * block
                new.write(rounded(block, bits) if bits else block)

    def _create(self, name, subtype):
        """The final file under a temporary name, for writing."""
        if self.kind is not None:
            return self._create_sound(name, self.kind, subtype)
        kept = self.source is not None and self.source.suffix.lower() in (
            CONTAINER_SUFFIXES
        )
        lossless = self.chosen or kept and self.metadata.subtype in SUBTYPES
        return muxing.ContainerFile(
            name,
            self.path,
            self.sample_rate,
            self.channels,
            _BITS[subtype],
            lossless,
            self.source if kept else None,
            {} if self.metadata is None else self.metadata.tags,
        )

    def _create_sound(self, name, kind, subtype):
        try:
            file = create(name, self.sample_rate, self.channels, kind, subtype)
        except soundfile.LibsndfileError as error:
            raise UsageError(
                f"{self.path}: {kind} with {self.channels} channels at "
                f"{self.sample_rate} Hz cannot be written ({error.error_string})"
            ) from error
        if self.metadata is not None:
            write_metadata(file, self.metadata)
        return file

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
