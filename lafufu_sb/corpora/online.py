"""Training pairs mixed anew each time they are drawn.

A corpus on disk holds each sentence with one noise or one room; a network that sees it
for many epochs learns those pairs by heart. A mixer keeps the clean recordings and
draws everything else again: by the rules of :mod:`lafufu_sb.corpora.mixing`, for a crop
instead of a whole recording.
"""

import functools
import math

import numpy as np
import soundfile
from scipy.signal import fftconvolve

from lafufu_sb.corpora import mixing, pieces
from lafufu_sb.corpora.simulate import TRIES, gather
from lafufu_sb.corpora.spectra import bandwidth, low_pass, recolour, turn_phase

MORE_NOISE = (0.7, 0.25, 0.05)  # chances of one, two and three noises at once
MORE_NOISE_DB = (-10.0, 5.0)  # level of each further noise beside the first
ROOM_LEAD_SECONDS = 1.0  # of speech before the crop, whose reverberation enters it


def online_mixer(task, sources, **options):
    """Build the mixer of a task, or None without sources.

    Arguments
    ---------
    task : str
        "EARS-WHAM" or "EARS-Reverb".
    sources : str, sequence of str, or None
        Folders, ``.txt`` lists and files of noise, or of room impulse responses.
    **options
        For ``NoiseMixer`` or ``RoomMixer``.

    Returns
    -------
    NoiseMixer, RoomMixer or None

    Raises
    ------
    ValueError
        For another task.
    """
    if sources is None:
        return None
    mixers = {"EARS-WHAM": NoiseMixer, "EARS-Reverb": RoomMixer}
    if task not in mixers:
        raise ValueError(f"task is {task!r}; expected one of {', '.join(mixers)}")
    entries = [sources] if isinstance(sources, str) else sources
    return mixers[task](gather(entries), **options)


class _Mixer:
    """What both share: the clean crop, the memory of decoded sources.

    Arguments
    ---------
    files : sequence of path-like
        Noise or room impulse responses.
    sample_rate : int
        Hz.
    speed_share, speed_percent : float, int
        Share of the crops whose speech is made faster or slower, by resampling, and
        by how many per cent at most. Ten and more make other voices of few speakers.
    turn_share : float
        Share of the crops whose speech has its phase turned by a random angle.
    cached_minutes : float
        So much of the sources is kept decoded in memory (a gigabyte is 93 minutes at
        48 kHz), in every worker.
    """

    lead_seconds = 0.0

    def __init__(
        self,
        files,
        *,
        sample_rate=48000,
        speed_share=0.3,
        speed_percent=5,
        turn_share=0.0,
        cached_minutes=90.0,
    ):
        self.sources = pieces.scan(files)
        self.sample_rate = sample_rate
        self.speed_share, self.speed_percent = speed_share, speed_percent
        self.turn_share = turn_share
        self._left = cached_minutes * 60.0
        self._cache = {}
        self._facts = functools.lru_cache(maxsize=None)(self._measure)

    def __getstate__(self):
        # Workers that are spawned begin with an empty memory.
        return self.__dict__ | {"_cache": {}, "_facts": None}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._facts = functools.lru_cache(maxsize=None)(self._measure)

    def _measure(self, path):
        """(loudness in LUFS, bandwidth in Hz) of a clean recording."""
        clean = pieces.read_channel(path, self.sample_rate, 0)
        loudness = mixing.loudness(clean, self.sample_rate)
        return loudness, bandwidth(clean, self.sample_rate)

    def _source(self, source):
        """All channels of a source, (channels, samples)."""
        if source.path in self._cache:
            return self._cache[source.path]
        channels = soundfile.info(source.path).channels
        decoded = np.stack(
            [
                pieces.read_channel(source.path, self.sample_rate, channel)
                for channel in range(channels)
            ]
        )
        seconds = decoded.size / self.sample_rate
        if seconds <= self._left:
            self._left -= seconds
            self._cache[source.path] = decoded
        return decoded

    def __call__(self, clean_path, samples, rng):
        """Draw a pair.

        Arguments
        ---------
        clean_path : str
            A clean recording.
        samples : int
            Length of the crop.
        rng : numpy.random.Generator
            Of everything that is drawn.

        Returns
        -------
        distorted, clean : numpy.ndarray
            (samples,) each, float32; a short recording is followed by silence.
        """
        speed = 1.0
        if rng.random() < self.speed_share:
            speed = pieces.random_speed(self.speed_percent, rng)
        lead = round(self.lead_seconds * self.sample_rate)
        seconds = pieces.seconds_of(clean_path) / speed
        start = rng.uniform(0.0, max(0.0, seconds - samples / self.sample_rate))
        before = min(round(start * self.sample_rate), lead)
        clean = pieces.read_channel(
            clean_path,
            self.sample_rate,
            0,
            max(0.0, start - before / self.sample_rate) * speed,
            ((before + samples) / self.sample_rate + 0.01) * speed,
            speed,
        )[: before + samples]
        clean = np.pad(clean, (0, before + samples - clean.size))
        if self.turn_share and rng.random() < self.turn_share:
            clean = turn_phase(clean, rng.uniform(0.0, 2.0 * math.pi))
        distorted = self.distort(clean, str(clean_path), rng, speed)
        return (
            distorted[before:].astype(np.float32),
            clean[before:].astype(np.float32),
        )


class NoiseMixer(_Mixer):
    """Adds one to three noises at an SNR in LUFS.

    The speech's loudness is that of its whole recording: a crop that falls into a
    pause stays quiet. Noise above the speech's bandwidth is removed: nobody knows what
    the target should hold there.

    Arguments
    ---------
    files : sequence of path-like
        Noise, drawn by its seconds.
    snr_range : tuple of float
        dB, uniform.
    noise_speed_percent : int
        Each excerpt of noise is made faster or slower by so many per cent at most.
    noise_colour_db : float
        Each excerpt's octaves are raised or lowered by so much at most: with the speed,
        this makes many noises of few recordings.
    **options
        See ``_Mixer``.
    """

    def __init__(
        self,
        files,
        *,
        snr_range=(-2.5, 17.5),
        noise_speed_percent=0,
        noise_colour_db=0.0,
        **options,
    ):
        super().__init__(files, **options)
        self.snr_range = tuple(snr_range)
        self.noise_speed_percent = noise_speed_percent
        self.noise_colour_db = noise_colour_db
        seconds = np.array([source.seconds for source in self.sources])
        self._chances = seconds / seconds.sum()

    def distort(self, clean, path, rng, speed=1.0):
        """Clean plus noise, (samples,); the speech has ``speed`` times its own."""
        loudness, band = self._facts(path)
        noise = self._noise(clean.size, rng)
        for _ in range(rng.choice(len(MORE_NOISE), p=MORE_NOISE)):
            level = 10.0 ** (rng.uniform(*MORE_NOISE_DB) / 20.0)
            noise = noise + level * self._noise(clean.size, rng)
        gain_db = loudness - rng.uniform(*self.snr_range)
        return clean + 10.0 ** (gain_db / 20.0) * low_pass(
            noise, band * speed, self.sample_rate
        )

    def _noise(self, samples, rng):
        """An excerpt at 0 LUFS."""
        for _ in range(TRIES):
            source = self.sources[rng.choice(len(self.sources), p=self._chances)]
            channels = self._source(source)
            noise = channels[rng.integers(len(channels))]
            speed = pieces.random_speed(self.noise_speed_percent, rng)
            cut = math.ceil(samples * speed)
            start = rng.integers(max(1, noise.size - cut + 1))
            noise = noise[start : start + cut]
            try:
                if noise.size < cut:
                    noise = pieces.tile(noise, cut, rng, self.sample_rate)
                noise = pieces.change_speed(noise, speed)[:samples]
                noise = recolour(noise, self.noise_colour_db, rng, self.sample_rate)
                loudness = mixing.loudness(noise, self.sample_rate)
            except mixing.SilentExcerptError:
                continue
            return noise * 10.0 ** (-loudness / 20.0)
        raise RuntimeError(f"no noise with energy in {TRIES} draws: check the files")


class RoomMixer(_Mixer):
    """Puts speech into rooms, aligned with and as loud as the dry speech.

    Arguments
    ---------
    files : sequence of path-like
        Room impulse responses.
    max_rt60 : float
        Seconds; rooms above are left out.
    measured_share : float
        Share of the draws from rooms whose folder is not "simulated", if there are
        both kinds.
    **options
        See ``_Mixer``.
    """

    lead_seconds = ROOM_LEAD_SECONDS

    def __init__(self, files, *, max_rt60=2.0, measured_share=0.4, **options):
        super().__init__(files, **options)
        self.sources = [s for s in self.sources if self._reverberation(s) <= max_rt60]
        if not self.sources:
            raise ValueError(f"no room has an RT60 of at most {max_rt60} s: add rooms")
        measured = np.array([s.folder != "simulated" for s in self.sources])
        shares = np.where(measured, measured_share, 1 - measured_share)
        if 0 < measured.sum() < measured.size:
            shares = shares / np.where(measured, measured.sum(), (~measured).sum())
        self._chances = shares / shares.sum()

    def _reverberation(self, source):
        return mixing.rt60(self._source(source)[0], self.sample_rate)

    def distort(self, clean, path, rng, speed=1.0):
        """Reverberant speech, (samples,)."""
        if not np.abs(clean).max() > 0.0:
            return clean
        source = self.sources[rng.choice(len(self.sources), p=self._chances)]
        channels = self._source(source)
        rir = mixing.from_direct_path(channels[rng.integers(len(channels))])
        reverberant = fftconvolve(clean, rir)[: clean.size]
        try:
            gain_db = mixing.loudness(clean, self.sample_rate) - mixing.loudness(
                reverberant, self.sample_rate
            )
        except mixing.SilentExcerptError:
            gain_db = 0.0  # a pause: whatever tail it holds is as loud as it is
        return reverberant * 10.0 ** (gain_db / 20.0)
