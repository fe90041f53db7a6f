"""New files of libsndfile: the same bytes in every run, with the source's metadata."""

import contextlib
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import soundfile

from lafufu_sb.audio.opening import check_readable, open_audio
from lafufu_sb.audio.recordings import sndfile_name

TAGS = ("title", "artist", "album", "tracknumber", "genre", "date", "comment")
TAGS += ("copyright", "license", "software")

# Commands of libsndfile (sndfile.h) that soundfile has no names for
_SET_ADD_PEAK_CHUNK = 0x1050
_GET_CHANNEL_MAP, _SET_CHANNEL_MAP = 0x1100, 0x1101
_GET_BROADCAST, _SET_BROADCAST = 0x10F0, 0x10F1

_PEAK_BY_DEFAULT = ("AIFF", "CAF", "WAV", "WAVEX")
# Places in SF_BROADCAST_INFO of libsndfile (EBU Tech 3285): the start of the recording
# in samples, low and high half, and five measures of loudness.
_BROADCAST_SIZE = 608 + 16000  # bytes, with almost the longest coding history
_TIME_REFERENCE = struct.Struct("=2I"), 340
_LOUDNESS = struct.Struct("=5h"), 414
_UNMEASURED = 0x7FFF


def create(path, sample_rate, channels, kind, subtype=None):
    """Open a new file for writing.

    It has no PEAK chunk, whose time stamp would make its bytes differ between runs.

    Arguments
    ---------
    path : str or Path
        Its name; the suffix does not matter.
    sample_rate, channels : int
        Of the file.
    kind, subtype : str
        Format and sample format of libsndfile.

    Returns
    -------
    soundfile.SoundFile

    Raises
    ------
    soundfile.LibsndfileError
        If the format cannot hold such audio.
    """
    name = sndfile_name(path)
    file = soundfile.SoundFile(name, "w", sample_rate, channels, subtype, format=kind)
    if kind in _PEAK_BY_DEFAULT:  # elsewhere the command would add the chunk
        _command(file, _SET_ADD_PEAK_CHUNK, soundfile._ffi.NULL, 0)
    return file


def rounded(samples, bits):
    """Samples within full scale as left-aligned 32-bit integers of some bits.

    They are rounded without dither, so that results are the same in every run, and 16
    or 24 bits that were read come back unchanged.

    Example
    -------
    >>> rounded(numpy.array([0.5, -1.0, 1.0]), 16) >> 16
    array([ 16384, -32768,  32767], dtype=int32)
    """
    full = 2.0 ** (bits - 1)
    whole = numpy.rint(samples.astype("float64") * full).clip(-full, full - 1)
    return (whole.astype("int64") << (32 - bits)).astype("int32")


@dataclass(frozen=True)
class Metadata:
    """What a file says about its audio.

    Arguments
    ---------
    sample_rate : int
        Hz; the unit of the time reference in ``broadcast``.
    subtype : str
        Sample format as libsndfile names it; of other codecs, the codec's name.
    tags : dict of str to str
        Of the names ``TAGS``.
    channel_map : bytes
        Loudspeaker of each channel, empty if unknown or the usual one.
    broadcast : bytes
        The bext chunk as SF_BROADCAST_INFO, empty if there is none.
    """

    sample_rate: int
    subtype: str
    tags: dict[str, str] = field(default_factory=dict)
    channel_map: bytes = b""
    broadcast: bytes = b""


def read_metadata(path):
    """Read the metadata of a recording.

    Arguments
    ---------
    path : str or Path
        See ``open_audio``.

    Returns
    -------
    Metadata

    Raises
    ------
    UsageError, OSError
        See ``open_audio``.
    """
    check_readable(Path(path))
    try:
        file = soundfile.SoundFile(sndfile_name(path))
    except soundfile.LibsndfileError:
        with open_audio(path) as file:
            tags = {name: file.tags[name] for name in TAGS if name in file.tags}
            return Metadata(file.samplerate, file.subtype, tags)
    with file:
        numbers = soundfile._ffi.new(f"int[{file.channels}]")
        size = soundfile._ffi.sizeof(numbers)
        mask = bext = b""
        # Extensible files of one or two channels have a mask that says nothing.
        if file.channels > 2 and _command(file, _GET_CHANNEL_MAP, numbers, size):
            mask = bytes(soundfile._ffi.buffer(numbers))
        block = soundfile._ffi.new(f"char[{_BROADCAST_SIZE}]")
        if _command(file, _GET_BROADCAST, block, _BROADCAST_SIZE):
            bext = bytes(soundfile._ffi.buffer(block))
        return Metadata(file.samplerate, file.subtype, _tags(file), mask, bext)


def write_metadata(file, metadata):
    """Give a new file the metadata of another one, as far as its format holds them.

    Arguments
    ---------
    file : soundfile.SoundFile
        Of ``create``; nothing has been written to it.
    metadata : Metadata
        Of the other file.
    """
    for name, text in metadata.tags.items():
        with contextlib.suppress(soundfile.LibsndfileError):  # holds no such text
            setattr(file, name, text)
    if metadata.channel_map:
        numbers = soundfile._ffi.from_buffer(bytearray(metadata.channel_map))
        _command(file, _SET_CHANNEL_MAP, numbers, len(metadata.channel_map))
    if metadata.broadcast:
        block = _broadcast(metadata, file.samplerate)
        data = soundfile._ffi.from_buffer(block)
        _command(file, _SET_BROADCAST, data, _BROADCAST_SIZE)


def _broadcast(metadata, sample_rate):
    """The bext chunk of a result: same time, loudness unknown."""
    block = bytearray(metadata.broadcast)
    form, place = _TIME_REFERENCE
    low, high = form.unpack_from(block, place)
    start = (high << 32 | low) * sample_rate // metadata.sample_rate
    form.pack_into(block, place, start & 0xFFFFFFFF, start >> 32)
    form, place = _LOUDNESS
    form.pack_into(block, place, *[_UNMEASURED] * 5)
    return block


def _tags(file):
    texts = {name: getattr(file, name) for name in TAGS}
    return {name: text for name, text in texts.items() if text}


def _command(file, command, data, size):
    return soundfile._snd.sf_command(file._file, command, data, size)
