"""Read the sound of containers (MP4, MOV, Matroska, WebM, ...) with PyAV.

The sound lies on the container's time line: it begins where the pictures begin, with
silence if its own first sample comes later, and gaps are silent. The delay of the
encoder is cut off. Other files must not be reached through one, so demuxers of
playlists are not used.
"""

import functools
import logging
from pathlib import Path

import numpy

from lafufu_sb.audio.headers import UNKNOWN
from lafufu_sb.errors import MissingPackageError, UsageError

logger = logging.getLogger(__name__)

# Demuxers of FFmpeg that read one file alone
_DEMUXERS = "aac,ac3,amr,ape,asf,avi,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,wav"
_DEMUXERS += ",webm,wv"
_STATES_LENGTH = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
_GAP = 0.1  # seconds; what differs less is jitter of the time stamps
_LONGEST_GAP = 3600.0  # seconds
_MISSING = 0.5  # seconds by which a file may end before its stated length
_TAGS = {"track": "tracknumber"}  # names that differ from those of libsndfile


def import_av(path):
    """The package ``av``; MissingPackageError names the extra."""
    try:
        import av
    except ImportError as error:
        raise MissingPackageError(
            f"{path}: {Path(path).suffix} files need PyAV: pip install "
            '"lafufu_sb[av]", or convert it to .wav'
        ) from error
    return av


def open_input(path):
    """Open a container for reading.

    Arguments
    ---------
    path : str or Path
        An existing file.

    Returns
    -------
    av.container.InputContainer

    Raises
    ------
    UsageError
        If it is no container.
    """
    av = import_av(path)
    try:
        file = open(path, "rb")  # any name, and never a URL
        options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
        return av.open(file, container_options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise UsageError(
            f"{path} is not audio that can be read ({error.strerror})"
        ) from error


def sound_track(container, path):
    """The default sound track, or the first; UsageError if there is none."""
    tracks = container.streams.audio
    if not tracks:
        raise UsageError(f"{path} has no sound track")
    return next((t for t in tracks if t.disposition & 1), tracks[0])


def begin(container, track):
    """Time in seconds at which pictures or sound begin, whichever is first."""
    pictures = [s for s in container.streams.video if not is_cover(s)]
    starts = [
        s.start_time * s.time_base
        for s in (track, *pictures)
        if s.start_time is not None
    ]
    return min(starts, default=0)


def is_cover(stream):
    """Whether a picture stream is the cover of an album."""
    return bool(stream.disposition & 0x400)


def open_container(path):
    """Open the sound track of a container, with the interface of ``SoundFile``."""
    return ContainerSound(path)


class ContainerSound:
    """The default sound track of a container.

    It is decoded in order; seeking backwards starts again. The result is a subset of
    ``soundfile.SoundFile``.

    Arguments
    ---------
    path : str or Path
        An existing file.

    Attributes
    ----------
    samplerate, channels : int
        Of the decoded sound.
    frames : int
        Length as the container states it, a few milliseconds around the decoded one;
        ``UNKNOWN`` if it states none.
    format, subtype : str
        Names of the container and of the codec; lossless codecs have the sample formats
        of libsndfile.
    layout : str
        FFmpeg's name of the channel layout.
    tags : dict of str to str
        Texts, with the names of ``soundfile.SoundFile``.

    Raises
    ------
    MissingPackageError
        Without PyAV.
    UsageError
        If it cannot be decoded or has no sound.
    """

    def __init__(self, path):
        self.path = path
        self._start()
        names = {k.lower(): v for k, v in self._container.metadata.items()}
        self.tags = {_TAGS.get(name, name): text for name, text in names.items()}

    def _start(self):
        """Decode the first frame, whose rate and channels may differ from the header's.

        (HE-AAC announces half the rate, and parametric stereo one channel.)
        """
        self._container = open_input(self.path)
        self._position, self._rest, self._end = 0, None, None
        try:
            self._track = sound_track(self._container, self.path)
            self._begin = begin(self._container, self._track)
            self._decoder = self._decoded()
            first = next(self._decoder, None)
        except BaseException:
            self.close()
            raise
        if first is None:
            self.close()
            raise UsageError(f"{self.path} holds no samples")
        self.samplerate, self.layout = first.sample_rate, first.layout.name
        self.channels = first.layout.nb_channels
        self.format, self.subtype = self._container.format.name, _subtype(first, self)
        self._blocks = self._on_time_line(first)

    @property
    def frames(self):
        """See the class."""
        seconds = self._stated()
        if seconds is None:
            return UNKNOWN
        return max(0, round((seconds - self._begin) * self.samplerate))

    def tell(self):
        """Number of the next frame."""
        return self._position

    def seek(self, frame):
        """Go to a frame, at most to the end."""
        if frame < self._position:
            self.close()
            self._start()
        while self._position < frame:
            if not len(self.read(min(frame - self._position, 2**16))):
                break
        return self._position

    def read(self, frames=-1, dtype="float32", always_2d=True):
        """Read (frames, channels), fewer only at the end; -1 reads to the end.

        Raises
        ------
        UsageError
            If the file is damaged or cut off.
        """
        tracks = self._container.streams.audio
        if len(tracks) > 1:
            number = tracks.index(self._track) + 1
            _say(f"{self.path} has {len(tracks)} sound tracks: number {number} is read")
        parts, missing = [], float("inf") if frames < 0 else frames
        while missing > 0:
            block, self._rest = self._rest, None
            block = next(self._blocks, None) if block is None else block
            if block is None:
                break
            if len(block) > missing:
                block, self._rest = block[: int(missing)], block[int(missing) :]
            parts.append(block)
            missing -= len(block)
        empty = numpy.empty((0, self.channels), "float32")
        samples = numpy.concatenate([empty, *parts])
        self._position += len(samples)
        return samples.astype(dtype, copy=False)

    def close(self):
        """Close the file."""
        file = self._container.file.file
        self._container.close()
        file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _stated(self):
        """End of the sound in seconds according to the header; None if unknown."""
        track, container = self._track, self._container
        if container.format.name not in _STATES_LENGTH:
            return None
        if track.duration:
            return (track.duration + (track.start_time or 0)) * track.time_base
        if text := track.metadata.get("DURATION"):  # of Matroska
            hours, minutes, seconds = text.split(":")
            return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
        if container.duration and len(container.streams) == 1:
            return (container.duration + container.start_time) / 1e6
        return None

    def _decoded(self):
        """Frames; ``self._end`` is the end of their packet in seconds, if known."""
        av, seconds = import_av(self.path), 0.0
        try:
            for packet in self._container.demux(self._track):
                if packet.pts is not None and packet.duration:
                    self._end = packet.pts + packet.duration
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise self._damaged(seconds, "corrupt frame")
                    seconds += frame.samples / frame.sample_rate
                    yield frame
        except av.FFmpegError as error:
            raise self._damaged(seconds, error.strerror) from error

    def _damaged(self, seconds, reason):
        return UsageError(
            f"{self.path} is damaged after {seconds:.2f} seconds ({reason})"
        )

    def _on_time_line(self, frame):
        """Blocks (samples, channels): silence up to each frame, if needed, and it."""
        rate, begin, done, tolerance = self.samplerate, self._begin, 0, 0.0
        while frame is not None:
            if frame.pts is not None:
                ahead = float(frame.pts * frame.time_base - begin) - done / rate
                if ahead > _LONGEST_GAP:
                    raise self._damaged(done / rate, f"a gap of {ahead:.0f} seconds")
                if ahead > tolerance and (gap := round(ahead * rate)):
                    yield from self._silence(gap)
                    done += gap
                elif ahead < -_GAP:  # time starts again, as in joined files
                    begin += ahead
            tolerance = _GAP
            following = next(self._decoder, None)
            block = self._samples(frame)
            if following is None:
                block = block[: self._valid(frame)]
            yield block
            done += len(block)
            frame = following
        self._refuse_early_end(float(begin) + done / rate)

    def _silence(self, frames):
        while frames > 0:
            yield numpy.zeros((min(frames, 2**16), self.channels), "float32")
            frames -= 2**16

    def _samples(self, frame):
        if (frame.sample_rate, frame.layout.nb_channels) != (
            self.samplerate,
            self.channels,
        ):
            raise UsageError(
                f"{self.path} changes its sample rate or channels on the way: cut it "
                "there, or convert it to .wav"
            )
        samples = frame.to_ndarray()
        if frame.format.is_planar:
            samples = samples.T
        else:
            samples = samples.reshape(-1, self.channels)
        if samples.dtype == numpy.uint8:
            samples = samples.astype("int16") - 128
            return samples.astype("float32") / 128.0
        if samples.dtype.kind == "i":
            full = -float(numpy.iinfo(samples.dtype).min)
            return samples.astype("float32") / numpy.float32(full)
        return samples.astype("float32", copy=False)

    def _valid(self, frame):
        """Samples of the last frame before the end that MP4 states."""
        track = self._track
        unit = 1 / self.samplerate
        known = frame.pts is not None and self._end is not None
        if not known or abs(float(track.time_base) - unit) > 1e-9:
            return frame.samples
        end, stated = self._end, (track.start_time or 0) + (track.duration or 0)
        # Many files round the stated length to milliseconds, but not that of packets.
        if track.duration and 0.002 / unit < end - stated < frame.samples:
            end = stated
        return min(frame.samples, max(0, end - frame.pts))

    def _refuse_early_end(self, end):
        stated = self._stated()
        if stated is not None and end < float(stated) - _MISSING:
            raise UsageError(
                f"{self.path} is cut off: it ends after {end:.2f} of "
                f"{float(stated):.2f} seconds"
            )


def _subtype(frame, sound):
    codec = sound._track.codec_context.codec
    if not codec.lossless or codec.lossy:
        return codec.canonical_name.upper()
    size = {"u8": "U8", "s16": "16", "s32": "24"}.get(frame.format.packed.name)
    return f"PCM_{size}" if size else "FLOAT"


@functools.cache
def _say(text):
    """Log a warning, once although a file is opened several times."""
    logger.warning("%s", text)
