"""Reverberation."""

import numpy as np
from scipy.signal import fftconvolve

from lafufu_sb.corpora.degradations.base import Degradation
from lafufu_sb.corpora.degradations.memory import SourceMemory
from lafufu_sb.corpora.mixing import SilentExcerptError, loudness
from lafufu_sb.corpora.reverberation import from_direct_path, rt60
from lafufu_sb.corpora.sources import scan
from lafufu_sb.errors import UsageError

SIMULATED = "simulated"  # name of the folder of rooms that were not measured


class Room(Degradation):
    """Puts speech into rooms; the result is aligned and as loud as the dry speech.

    Arguments
    ---------
    files : sequence of str or Path
        Room impulse responses.
    max_rt60 : float
        Seconds; rooms with a longer reverberation time are left out.
    measured_share : float
        Probability of a measured room, i.e. one whose folder is not named
        "simulated", if there are rooms of both kinds.
    cached_minutes : float
        See ``SourceMemory``.

    Raises
    ------
    UsageError
        If there are no files, or one is not audio.
    """

    lead_seconds = 1.0

    def __init__(self, files, *, max_rt60=2.0, measured_share=0.4, cached_minutes=90.0):
        self.sources = scan(files)
        self.max_rt60, self.measured_share = max_rt60, measured_share
        self._memory = SourceMemory(cached_minutes)
        self._usable = {}  # sample rate -> rooms and their probabilities

    def prepare(self, sample_rate):
        """Measure all rooms; UsageError if none has a usable reverberation time."""
        self.rooms(sample_rate)

    def rooms(self, sample_rate):
        """Return the usable rooms and their probabilities.

        Arguments
        ---------
        sample_rate : int
            Hz.

        Returns
        -------
        sources : list of Source
            Rooms with a reverberation time of at most ``max_rt60``.
        chances : numpy.ndarray
            (len(sources),)

        Raises
        ------
        UsageError
            If there is none.
        """
        if sample_rate not in self._usable:
            self._usable[sample_rate] = self._choose(sample_rate)
        return self._usable[sample_rate]

    def _choose(self, sample_rate):
        sources = [
            source
            for source in self.sources
            if rt60(self._memory.read(source.path, sample_rate)[0], sample_rate)
            <= self.max_rt60
        ]
        if not sources:
            raise UsageError(
                f"no room of {len(self.sources)} has an RT60 of at most "
                f"{self.max_rt60} s: add rooms or raise max_rt60"
            )
        measured = np.array([source.folder != SIMULATED for source in sources])
        chances = np.where(measured, self.measured_share, 1 - self.measured_share)
        if 0 < measured.sum() < measured.size:
            chances = chances / np.where(measured, measured.sum(), (~measured).sum())
        return sources, chances / chances.sum()

    def __call__(self, wav, sample_rate, rng):
        """See ``Degradation``; silence is returned unchanged."""
        if not np.abs(wav).max() > 0.0:
            return wav
        sources, chances = self.rooms(sample_rate)
        source = sources[rng.choice(len(sources), p=chances)]
        channels = self._memory.read(source.path, sample_rate)
        rir = from_direct_path(channels[rng.integers(len(channels))])
        reverberant = fftconvolve(wav, rir)[: wav.size]
        try:
            before, after = (loudness(x, sample_rate) for x in (wav, reverberant))
            gain_db = before - after
        except SilentExcerptError:
            gain_db = 0.0  # a pause: the tail in it keeps its level
        return reverberant * 10.0 ** (gain_db / 20.0)
