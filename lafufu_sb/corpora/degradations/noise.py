"""Additive noise."""

import math

import numpy as np

from lafufu_sb.corpora.degradations.base import Degradation, SpeechFacts
from lafufu_sb.corpora.degradations.memory import SourceMemory
from lafufu_sb.corpora.excerpts import change_speed, random_speed, tile
from lafufu_sb.corpora.mixing import SilentExcerptError, loudness
from lafufu_sb.corpora.sources import TRIES, scan
from lafufu_sb.corpora.spectra import low_pass, recolour
from lafufu_sb.errors import UsageError

MORE_NOISE = (0.7, 0.25, 0.05)  # probabilities of one, two and three noises at once
MORE_NOISE_DB = (-10.0, 5.0)  # level of each further noise relative to the first


class Noise(Degradation):
    """Adds one to three noises at a loudness ratio (SNR in LUFS).

    The ratio refers to the whole recording: a crop that falls into a pause stays quiet.
    Noise above the bandwidth of the speech is removed, because the content of the
    target is unknown there.

    Arguments
    ---------
    files : sequence of str or Path
        Recordings of noise, drawn in proportion to their lengths.
    snr_range : tuple of float
        dB, drawn uniformly.
    noise_speed_percent : int
        Largest speed change of an excerpt of noise.
    noise_colour_db : float
        Largest random gain of an octave of the noise. With the speed, it makes many
        noises of few recordings.
    cached_minutes : float
        See ``SourceMemory``.

    Raises
    ------
    UsageError
        If there are no files, or one is not audio.
    """

    def __init__(
        self,
        files,
        *,
        snr_range=(-2.5, 17.5),
        noise_speed_percent=0,
        noise_colour_db=0.0,
        cached_minutes=90.0,
    ):
        self.sources = scan(files)
        self.snr_range = tuple(snr_range)
        self.noise_speed_percent = noise_speed_percent
        self.noise_colour_db = noise_colour_db
        seconds = np.array([source.seconds for source in self.sources])
        self._chances = seconds / seconds.sum()
        self._memory = SourceMemory(cached_minutes)

    def __call__(self, wav, sample_rate, rng):
        """See ``Degradation``; silence is returned unchanged."""
        try:
            facts = SpeechFacts.measure(wav, sample_rate)
        except SilentExcerptError:
            return wav
        return self.degrade_crop(wav, sample_rate, rng, lambda: facts)

    def degrade_crop(self, wav, sample_rate, rng, facts):
        """See ``Degradation``."""
        facts = facts()
        noise = self.draw(wav.size, sample_rate, rng)
        for _ in range(rng.choice(len(MORE_NOISE), p=MORE_NOISE)):
            level = 10.0 ** (rng.uniform(*MORE_NOISE_DB) / 20.0)
            noise = noise + level * self.draw(wav.size, sample_rate, rng)
        gain_db = facts.loudness - rng.uniform(*self.snr_range)
        noise = low_pass(noise, facts.bandwidth, sample_rate)
        return wav + 10.0 ** (gain_db / 20.0) * noise

    def draw(self, samples, sample_rate, rng):
        """Draw an excerpt of noise at 0 LUFS.

        Arguments
        ---------
        samples : int
            Length.
        sample_rate : int
            Hz.
        rng : numpy.random.Generator
            Draws file, channel, speed, place and colour.

        Returns
        -------
        numpy.ndarray
            (samples,)

        Raises
        ------
        UsageError
            If all excerpts drawn are silent.
        """
        for _ in range(TRIES):
            source = self.sources[rng.choice(len(self.sources), p=self._chances)]
            channels = self._memory.read(source.path, sample_rate)
            noise = channels[rng.integers(len(channels))]
            speed = random_speed(self.noise_speed_percent, rng)
            cut = math.ceil(samples * speed)
            start = rng.integers(max(1, noise.size - cut + 1))
            noise = noise[start : start + cut]
            try:
                if noise.size < cut:
                    noise = tile(noise, cut, rng, sample_rate)
                noise = change_speed(noise, speed)[:samples]
                noise = recolour(noise, self.noise_colour_db, rng, sample_rate)
                level = loudness(noise, sample_rate)
            except SilentExcerptError:
                continue
            return noise * 10.0 ** (-level / 20.0)
        raise UsageError(
            f"all {TRIES} excerpts drawn from {len(self.sources)} noise files are "
            f"silent, the last one from {source.path}: remove silent files"
        )
