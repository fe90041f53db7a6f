"""Headers of audio files: refuse what no recording has, correct what was lost."""

import os
import string

from lafufu_sb.errors import UsageError

UNKNOWN = 2**63 - 1  # frames, where libsndfile knows no number
RATES = 2000, 768_000  # Hz
MOST_CHANNELS = 64
_MOST_FRAMES = 2**13  # for each byte of a file; digital silence takes a few bytes
_CHUNK_ID = frozenset(string.ascii_letters.encode() + string.digits.encode() + b" _-.")
_LARGEST_HEAD = 2**24  # bytes before the samples
_TO_THE_END = 2**32 - 1  # a data size that libsndfile does not trust


def check_header(path, sample_rate, channels, frames):
    """Refuse what no recording has.

    Raises
    ------
    UsageError
        If a header states a sample rate, number of channels or length out of bounds.
    """
    least, most = RATES
    if not least <= sample_rate <= most:
        raise UsageError(
            f"{path} has a sample rate of {sample_rate} Hz by its header, not {least} "
            f"to {most} Hz: correct the header, or convert the file"
        )
    if not 1 <= channels <= MOST_CHANNELS:
        raise UsageError(
            f"{path} has {channels} channels by its header, more than {MOST_CHANNELS}: "
            "correct the header, or split the file"
        )
    size = os.stat(path).st_size
    if frames != UNKNOWN and frames > _MOST_FRAMES * size:
        raise UsageError(
            f"{path} has {frames / sample_rate:.0f} seconds in {size} bytes by its "
            "header: correct the header, or convert the file"
        )


class Patched:
    """A file with another beginning.

    Arguments
    ---------
    raw : io.RawIOBase
        The file.
    head : bytes
        Read instead of the first ``instead_of`` bytes.
    instead_of : int
    """

    def __init__(self, raw, head, instead_of):
        self._raw, self._head, self._start, self._position = raw, head, instead_of, 0

    def seek(self, offset, whence=os.SEEK_SET):
        longer = len(self._head) - self._start
        end = os.fstat(self._raw.fileno()).st_size + longer
        offset += (0, self._position, end)[whence]
        self._position = offset
        self._raw.seek(max(0, offset - longer))
        return offset

    def tell(self):
        return self._position

    def readinto(self, buffer):
        head = self._head[self._position : self._position + len(buffer)]
        if head:
            buffer[: len(head)] = head
            count = len(head)
        else:
            count = self._raw.readinto(buffer)
        self.seek(count, os.SEEK_CUR)
        return count


def correction(raw):
    """What to replace in a header that states a wrong size of the samples.

    WAV, RF64 and CAF have chunks of a name and a size, AU has one size.

    Arguments
    ---------
    raw : io.RawIOBase
        The file, of any format.

    Returns
    -------
    patch : tuple of (bytes, int) or None
        See ``Patched``; None if libsndfile reads the file as it is.
    note : str
        What is wrong; empty for a size that was not known when the header was written.
    """
    raw.seek(0)
    size, head = os.fstat(raw.fileno()).st_size, raw.read(12)
    if head[:4] not in (b"RIFF", b"RIFX", b"RF64", b".snd", b"caff"):
        return None, ""
    if head[:4] == b".snd":
        begin, stated = (int.from_bytes(head[i : i + 4], "big") for i in (4, 8))
        return _correct_size(raw, begin, size - begin, stated, 8, 4, "big")
    caf = head[:4] == b"caff"
    order = "big" if caf or head[:4] == b"RIFX" else "little"
    position, width = (8, 8) if caf else (12, 4)
    long_size = None  # position of the 64-bit size in RF64
    while position + 4 + width <= size:
        raw.seek(position)
        name, stated = raw.read(4), int.from_bytes(raw.read(width), order)
        place, begin = position + 4, position + 4 + width
        if name == b"ds64":
            long_size = begin + 8
        if name == b"data":
            if long_size and stated == _TO_THE_END:
                place, width = long_size, 8
                raw.seek(place)
                stated = int.from_bytes(raw.read(width), order)
            return _correct_size(raw, begin, size - begin, stated, place, width, order)
        position = begin + stated + (0 if caf else stated % 2)
    return None, ""


def _correct_size(raw, begin, there, stated, place, width, order):
    """See ``correction``; ``there`` is the number of bytes up to the file's end."""
    if begin > _LARGEST_HEAD:
        return None, ""
    raw.seek(begin)
    rest = raw.read(2**16)
    beyond = stated > there
    empty = stated == 0 and any(rest) and not is_chunk(rest)
    too_large = width == 4 and there > _TO_THE_END
    wrapped = too_large and there - stated >= 2**32
    if not (beyond or empty or wrapped or (too_large and stated == _TO_THE_END)):
        return None, ""
    raw.seek(0)
    head = raw.read(begin)
    if too_large and order == "little":
        sizes = there.to_bytes(8, order)
        ds64 = b"ds64\x1c\0\0\0" + bytes(8) + sizes + bytes(12)
        patch = (
            b"RF64" + b"\xff" * 4 + b"WAVE" + ds64 + head[12:-4] + b"\xff" * 4,
            begin,
        )
    else:
        size = there if width == 8 else _TO_THE_END
        patch = head[:place] + size.to_bytes(width, order), place + width
    # Programs that write to a pipe state the largest size, or one a little smaller.
    if any(0 <= most - stated <= 2**16 for most in (2**31, 2**32, 2**64)):
        return patch, ""
    if beyond:
        note = f"is cut off: {there} of {stated} bytes of samples are there"
        return patch, note
    note = f"was never completed: its header states {stated} bytes of samples"
    return patch, f"{note}, but it is read to its end"


def is_chunk(data):
    """Whether a chunk begins, with four letters."""
    return len(data) >= 4 and all(byte in _CHUNK_ID for byte in data[:4])
