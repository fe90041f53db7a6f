"""Write containers with PyAV: restored sound, and the pictures of its source.

Pictures, subtitles, chapters, further sound tracks and texts are copied untouched,
packet by packet, as far as the container of the result holds them.
"""

import contextlib
import logging
from fractions import Fraction

import numpy

from lafufu_sb.audio.containers import (
    begin,
    import_av,
    is_cover,
    open_input,
    sound_track,
)
from lafufu_sb.audio.formats import CONTAINERS
from lafufu_sb.audio.sound_files import rounded
from lafufu_sb.audio.suffixes import CONTAINER_SUFFIXES
from lafufu_sb.errors import UsageError

logger = logging.getLogger(__name__)

_BITS_PER_SECOND = {"aac": 128_000, "libopus": 96_000}  # for each channel
_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
# Texts of a file, or of a stream, that describe its bytes and not its content
_TECHNICAL = ("brand", "minor_version", "encoder", "duration", "_statistics", "bps")
_TECHNICAL += ("number_of_", "vendor_id", "creation_time")


class ContainerFile:
    """A container that is being written, as a context manager.

    Arguments
    ---------
    path : str or Path
        A temporary name.
    target : Path
        The final name, whose suffix chooses the container.
    sample_rate, channels : int
        Of the sound.
    bits : int
        16 or 24, used by lossless codecs.
    lossless : bool
        Whether to prefer a lossless codec.
    source : Path, optional
        The recording that was restored.
    tags : dict of str to str
        Texts, used if the source is no container.

    Raises
    ------
    MissingPackageError
        Without PyAV.
    UsageError
        If the container cannot hold such sound, or the pictures of the source.
    """

    def __init__(
        self, path, target, sample_rate, channels, bits, lossless, source, tags
    ):
        self._av = import_av(target)
        self._target, self._rate, self._channels = target, sample_rate, channels
        self._kind, *codecs, self._holds_pictures = CONTAINERS[target.suffix.lower()]
        codec = codecs[lossless]
        self._bits = None if codec in _BITS_PER_SECOND else bits
        self._file = open(path, "w+b")
        self._input, self._position, self._copied = None, 0, {}
        self._packets, self._next = iter(()), None
        # No random numbers and times; times of MP4 as exact as the samples
        options = {"fflags": "+bitexact"}
        if codec in ("aac", "alac"):
            options["movie_timescale"] = str(sample_rate)
        try:
            self._output = self._av.open(
                self._file, "w", format=self._kind, container_options=options
            )
            self._add_streams(codec, source, tags)
            self._output.start_encoding()
        except (ValueError, self._av.FFmpegError) as error:
            self.close()
            if isinstance(error, UsageError):
                raise
            raise UsageError(
                f"{target}: {self._kind} cannot hold {codec} sound with {channels} "
                f"channels at {sample_rate} Hz ({error})"
            ) from error
        except BaseException:
            self.close()
            raise

    def _add_streams(self, codec, source, tags):
        """Streams in the order of the source, the restored track among them."""
        self._begin, layout = 0, None
        if source is not None and source.suffix.lower() in CONTAINER_SUFFIXES:
            self._input = open_input(source)
            track = sound_track(self._input, source)
            self._begin = begin(self._input, track)
            known = track.codec_context.layout
            if known.nb_channels == self._channels and "channel" not in known.name:
                layout = known.name
            tags = self._input.metadata
            for stream in self._input.streams:
                if stream is track:
                    self._add_sound(codec, layout)
                    self._describe(self._sound, stream)
                else:
                    self._add_copy(stream)
            self._output.set_chapters(self._input.chapters())
            if self._copied:
                self._packets = self._input.demux(*self._copied)
            self._next = next(self._packets, None)
        else:
            self._add_sound(codec, None)
        self._output.metadata.update(_content(tags))

    def _add_sound(self, codec, layout):
        if layout is None and self._channels > len(_LAYOUTS):
            raise UsageError(
                f"{self._target} cannot hold {self._channels} channels: use .wav"
            )
        self._sound = self._output.add_stream(
            codec,
            rate=self._rate,
            layout=layout or _LAYOUTS[self._channels - 1],
            time_base=Fraction(1, self._rate),
        )
        self._layout = self._sound.layout
        if codec in _BITS_PER_SECOND:
            self._sound.bit_rate = _BITS_PER_SECOND[codec] * self._channels
        else:
            small, large = ("s16p", "s32p") if codec == "alac" else ("s16", "s32")
            self._sound.format = small if self._bits == 16 else large

    def _add_copy(self, stream):
        if not self._holds_pictures or stream.type == "data":
            return
        # In Matroska, PyAV writes attachments, but a cover as a film of one picture.
        fits = not is_cover(stream) if self._kind == "matroska" else True
        fits &= stream.type != "attachment" or self._kind == "matroska"
        try:
            if not fits:
                raise ValueError("no place for it")
            copy = self._output.add_stream_from_template(stream, opaque=True)
        except ValueError as error:
            if stream.type == "video" and not is_cover(stream):
                name = stream.codec_context.codec.canonical_name
                raise UsageError(
                    f"{self._target} cannot hold {name} pictures: use the suffix of "
                    "the input, or .mkv"
                ) from error
            logger.warning(
                "%s: %s %d of the input is left out, %s files cannot hold it",
                self._target,
                "the cover" if is_cover(stream) else stream.type,
                stream.index,
                self._target.suffix,
            )
            return
        self._describe(copy, stream)
        if stream.type != "attachment":
            self._copied[stream] = copy

    def _describe(self, new, old):
        new.metadata.update(_content(old.metadata))
        new.disposition = int(old.disposition)

    def write(self, samples):
        """Append (samples, channels), float32 within full scale."""
        frame = self._frame(samples)
        frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
        frame.pts = round(self._begin * self._rate) + self._position
        self._position += len(samples)
        with self._refusals():
            self._copy(self._begin + self._position / self._rate)
            self._output.mux(self._sound.encode(frame))

    def _frame(self, samples):
        if self._bits is None:
            data, name = samples, "flt"
        else:
            data, name = rounded(samples, self._bits), "s32"
            if self._bits == 16:
                data, name = (data >> 16).astype("int16"), "s16"
        data = numpy.ascontiguousarray(data).reshape(1, -1)
        return self._av.AudioFrame.from_ndarray(data, name, self._layout)

    def _copy(self, seconds=float("inf")):
        """Copy packets up to a time."""
        while self._next is not None:
            packet = self._next
            if packet.dts is not None:
                if packet.dts * packet.time_base > seconds:
                    return
                packet.stream = self._copied[packet.stream]
                self._output.mux(packet)
            self._next = next(self._packets, None)

    def finish(self):
        """Write what is left; the file is complete."""
        with self._refusals():
            self._output.mux(self._sound.encode(None))
            self._copy()
            self._output.close()

    @contextlib.contextmanager
    def _refusals(self):
        try:
            yield
        except self._av.FFmpegError as error:
            raise UsageError(
                f"{self._target} cannot be written ({error.strerror}): choose another "
                "format, such as .mkv or .wav"
            ) from error

    def close(self):
        """Close all files."""
        if self._input is not None:
            self._input.close()
            self._input.file.file.close()
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.finish()
        finally:
            self.close()


def _content(texts):
    return {
        name: text
        for name, text in texts.items()
        if not any(word in name.lower() for word in _TECHNICAL)
    }
