"""Read with libsndfile in one go, and notice what it would leave unread.

libsndfile reads as many frames as a header announces. Where that number is wrong (an
MP3 of variable bit rate without a Xing header, joined files) it stops early, without an
error. Where the number is unknown (FLAC and WAV written through a pipe) it reads on.
"""

import contextlib
import mmap
import os

import numpy
import soundfile

from lafufu_sb.audio.headers import UNKNOWN, Patched, correction, is_chunk
from lafufu_sb.errors import UsageError

_BLOCK = 2**16  # frames
_CUT = 0.1  # seconds by which a compressed file may end before its stated length
_TAIL = 2048  # bytes, more than a frame of MP3
_FLAC = b"fLaC\0\0\0\x22"  # what each file begins with
_COMPRESSED = ("FLAC", "MP3", "OGG")


class IncompleteError(UsageError):
    """libsndfile cannot read all of a file; another decoder may."""

    def __init__(self, message, seconds):
        super().__init__(message)
        self.seconds = seconds  # that it did read


class SoundFile(soundfile.SoundFile):
    """A file that is read from its start, or from one position, to its end.

    ``soundfile.SoundFile`` moves to where it is after each read, which fails in files
    without a length or with odd time stamps; this class does not. ``frames`` is what
    the header announces, ``UNKNOWN`` if that is nothing.

    Arguments
    ---------
    path : str or Path
        An existing file.

    Attributes
    ----------
    note : str
        After reading, what is wrong with a file that can be read all the same; else
        empty.

    Raises
    ------
    UsageError
        If it is not audio.
    """

    def __init__(self, path):
        self._path, self._position, self.note = path, 0, ""
        self._in_order = True
        self._raw = open(path, "rb", buffering=0)
        try:
            super().__init__(self._source(), closefd=False)
        except soundfile.LibsndfileError as error:
            refusal = self._refusal(error)
            self._raw.close()
            raise refusal from error
        except BaseException:
            self._raw.close()
            raise

    def _refusal(self, error):
        with _mapped(self._raw) as data:
            joined = data[:4] == b"RIFF" and _is_twice(data, b"WAVEfmt ")
        if joined:
            return UsageError(f"{self._path} is several WAV files in one: cut it")
        return IncompleteError(
            f"{self._path} is not audio that can be read ({error.error_string})", 0.0
        )

    def _source(self):
        """What libsndfile reads; ``self._raw.tell()`` is how far it has come."""
        patch, self.note = correction(self._raw)
        self._raw.seek(0)
        if patch:
            return Patched(self._raw, *patch)
        # On Windows, file descriptors of Python may mean nothing to libsndfile.
        return self._raw if os.name == "nt" else self._raw.fileno()

    def seekable(self):
        """False, so that ``soundfile`` does not seek after reading."""
        return False

    def seek(self, frame):
        """Go forward to a frame, at most to the end."""
        if self.frames == UNKNOWN:  # libsndfile fails beyond the end
            while self._position < frame and len(self.read(frame - self._position)):
                pass
        else:
            self._position = super().seek(min(frame, self.frames))
            self._in_order = self._position == 0
        return self._position

    def tell(self):
        """Number of the next frame."""
        return self._position

    def read(self, frames=-1, dtype="float32", always_2d=True):
        """Read (frames, channels), fewer only at the end; -1 reads to the end.

        Raises
        ------
        IncompleteError
            If the decoder fails, or if it has no more and the file has.
        """
        parts, missing = [], UNKNOWN if frames < 0 else frames
        while missing > 0:
            count = min(missing, _BLOCK, max(0, self.frames - self._position))
            try:
                part = super().read(count, dtype, always_2d)
            except soundfile.LibsndfileError as error:
                raise self._damage(error) from error
            self._position += len(part)
            missing -= len(part)
            parts.append(part)
            if len(part) < count or not count:
                self._check_end()
                break
        if len(parts) == 1:
            return parts[0]
        empty = numpy.empty((0, self.channels), dtype)
        return numpy.concatenate([empty, *parts])

    def _damage(self, error):
        """The error to raise after one of the decoder."""
        self._position = super().seek(0, os.SEEK_CUR)  # what it did decode
        message = (
            f"{self._path} is damaged after {self._seconds:.2f} seconds "
            f"({error.error_string})"
        )
        with _mapped(self._raw) as data:
            # libsndfile refuses odd time stamps in Ogg and FLAC files that are joined.
            whole = (self.format == "OGG" and not _OggPages(data).lost) or (
                self.format == "FLAC" and _is_twice(data, _FLAC)
            )
        return IncompleteError(message, self._seconds) if whole else UsageError(message)

    @property
    def _seconds(self):
        return self._position / self.samplerate

    def _check_end(self):
        """Refuse a file of which not all was read, if it was read from its start."""
        if not self._in_order:
            return
        if self.format in _COMPRESSED:
            stated = self._stated()
            if stated - self._position > _CUT * self.samplerate:
                raise UsageError(
                    f"{self._path} is cut off or damaged: it ends after "
                    f"{self._seconds:.2f} of {stated / self.samplerate:.2f} seconds"
                )
        if self._leaves_sound():
            message = (
                f"{self._path} goes on after the {self._seconds:.2f} seconds that its "
                "header states: cut or convert it"
            )
            if self.format in _COMPRESSED:
                raise IncompleteError(message, self._seconds)
            raise UsageError(message)  # the header is all that any reader has

    def _stated(self):
        """Frames according to the header; 0 if it does not say or need not be right."""
        if self.frames == UNKNOWN:
            return 0
        with _mapped(self._raw) as data:
            # Without a table, the length of an MP3 is a guess from its first frame.
            tables = [data.find(n, 0, 2**20) for n in (b"Xing", b"Info", b"VBRI")]
            return 0 if self.format == "MP3" and max(tables) < 0 else self.frames

    def _leaves_sound(self):
        position = self._raw.tell()
        with _mapped(self._raw) as data:
            if self.format == "OGG":
                pages = _OggPages(data)
                if pages.cut:
                    self.note = f"is cut off after {self._seconds:.2f} seconds"
                return pages.joined or (position < len(data) and not pages.cut)
            if self.format == "FLAC":
                return _is_twice(data, _FLAC) or position < _end_of_sound(data)
            if self.format == "MP3":
                return position + _TAIL < _end_of_sound(data)
            second = self.samplerate * self.channels  # bytes, at least
            rest = data[position : position + 2**16]
            return (
                len(data) - position > second
                and any(rest)
                and not (is_chunk(rest) or is_chunk(rest[1:]))  # after a pad byte
            )

    def close(self):
        """Close the file."""
        super().close()
        self._raw.close()


@contextlib.contextmanager
def _mapped(raw):
    with mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _end_of_sound(data):
    """Position of the tags (ID3v1, Lyrics3, APE) at the end of a file."""
    end = len(data)
    if data[max(0, end - 128) :][:3] == b"TAG":
        end -= 128
    if data[max(0, end - 9) : end] == b"LYRICS200":
        with contextlib.suppress(ValueError):
            end -= int(data[end - 15 : end - 9]) + 15
    footer = data[max(0, end - 32) : end]
    if footer[:8] == b"APETAGEX":
        has_header = footer[23] & 0x80
        end -= int.from_bytes(footer[12:16], "little") + (32 if has_header else 0)
    while end > 0 and not any(data[max(0, end - 4096) : end]):  # padding
        end -= 4096
    return max(0, end)


def _is_twice(data, start):
    """Whether a file has the first bytes of a header again."""
    return data.find(start) != data.rfind(start)


class _OggPages:
    """What the pages of an Ogg file tell.

    Attributes
    ----------
    joined : bool
        A stream begins after the samples of another.
    lost : bool
        Pages are missing, or something else lies between them.
    cut : bool
        The last page is longer than what is there of it.
    """

    def __init__(self, data):
        self.joined = self.lost = self.cut = samples = False
        numbers = {}  # of the last page of each stream
        end, start = 0, data.find(b"OggS\0")
        while start >= 0 and start + 27 <= len(data):
            begins, serial = data[start + 5] & 2, data[start + 14 : start + 18]
            number = int.from_bytes(data[start + 18 : start + 22], "little")
            self.joined |= bool(begins and samples)
            samples |= not begins
            self.lost |= start != end
            self.lost |= not begins and number != numbers.get(serial, number - 1) + 1
            numbers[serial] = number
            count = data[start + 26]
            end = start + 27 + count + sum(data[start + 27 : start + 27 + count])
            start = data.find(b"OggS\0", end)
        self.cut = start >= 0 or end > len(data)
