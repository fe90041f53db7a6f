"""Training pairs that are mixed anew each time they are drawn.

A corpus on disk holds each sentence with one noise or one room, and a network that sees
it for many epochs memorises those pairs. A mixer keeps only the clean recordings and
draws a new crop and a new degradation each time.
"""

import inspect
import math

import numpy as np

from lafufu_sb.audio.recordings import read_header
from lafufu_sb.corpora.degradations import Noise, Room, SpeechFacts
from lafufu_sb.corpora.excerpts import random_speed, read_channel
from lafufu_sb.corpora.mixing import SilentExcerptError
from lafufu_sb.corpora.sources import gather
from lafufu_sb.corpora.spectra import turn_phase
from lafufu_sb.corpora.tasks import find_task
from lafufu_sb.errors import UsageError

DEGRADATIONS = {"noise": Noise, "rooms": Room}  # by what a task adds


def online_mixer(task, sources=None, *, degradation=None, **options):
    """Build the mixer of a task, or None if there is nothing to mix with.

    Arguments
    ---------
    task : str
        "EARS-WHAM" or "EARS-Reverb".
    sources : str or sequence of str, optional
        Folders, ``.txt`` lists and files of noise, or of room impulse responses.
    degradation : Degradation, optional
        Used instead of the task's own, which needs ``sources``.
    **options
        For ``OnlineMixer``, and for ``Noise`` or ``Room``.

    Returns
    -------
    OnlineMixer or None

    Raises
    ------
    UsageError
        For another task, unknown options, or files that cannot be used.
    """
    kind = DEGRADATIONS[find_task(task).adds]
    own = {name: options.pop(name) for name in _options(OnlineMixer) & options.keys()}
    known = set() if degradation else _options(kind)
    unknown = sorted(options.keys() - known)
    if unknown:
        raise UsageError(
            f"mixer has no option {', '.join(unknown)}; it takes "
            f"{', '.join(sorted(known | _options(OnlineMixer)))}"
        )
    if degradation is not None:
        if sources is not None:
            raise UsageError(
                f"mixer has a degradation ({type(degradation).__name__}) and sources "
                f"({sources}): remove one of them"
            )
        return OnlineMixer(degradation, **own)
    if sources is None:
        return None
    entries = [sources] if isinstance(sources, str) else sources
    return OnlineMixer(kind(gather(entries), **options), **own)


def _options(kind):
    parameters = inspect.signature(kind).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


class OnlineMixer:
    """Draws pairs of a degraded and a clean crop from clean recordings.

    Arguments
    ---------
    degradation : Degradation
        Applied to each crop.
    sample_rate : int
        Hz.
    speed_share : float
        Share of crops whose speech is sped up or slowed down by resampling.
    speed_percent : int
        Largest change of speed. From 10 on, few speakers sound like many.
    turn_share : float
        Share of crops whose phase is turned by a random angle.

    Raises
    ------
    UsageError
        If the degradation cannot be used, see ``Degradation.prepare``.
    """

    def __init__(
        self,
        degradation,
        *,
        sample_rate=48000,
        speed_share=0.3,
        speed_percent=5,
        turn_share=0.0,
    ):
        self.degradation = degradation
        self.sample_rate = sample_rate
        self.speed_share, self.speed_percent = speed_share, speed_percent
        self.turn_share = turn_share
        self._facts = {}
        degradation.prepare(sample_rate)

    def __getstate__(self):
        return self.__dict__ | {"_facts": {}}

    def __call__(self, clean_path, samples, rng):
        """Draw a pair.

        Arguments
        ---------
        clean_path : str or Path
            A clean recording.
        samples : int
            Length of the crop.
        rng : numpy.random.Generator
            The only source of randomness.

        Returns
        -------
        degraded, clean : numpy.ndarray
            (samples,) each, float32; zeros follow a short recording.
        """
        speed = 1.0
        if rng.random() < self.speed_share:
            speed = random_speed(self.speed_percent, rng)
        clean, lead = self._crop(clean_path, samples, speed, rng)
        if self.turn_share and rng.random() < self.turn_share:
            clean = turn_phase(clean, rng.uniform(0.0, 2.0 * math.pi))
        degraded = self.degradation.degrade_crop(
            clean, self.sample_rate, rng, lambda: self._measure(clean_path, speed)
        )
        pair = degraded[lead:], clean[lead:]
        return tuple(signal.astype(np.float32) for signal in pair)

    def _crop(self, path, samples, speed, rng):
        """A crop, and how many of its first samples are lead for the degradation."""
        rate = self.sample_rate
        seconds = read_header(path).seconds / speed
        start = rng.uniform(0.0, max(0.0, seconds - samples / rate))
        lead = round(self.degradation.lead_seconds * rate)
        lead = min(round(start * rate), lead)
        wanted = lead + samples
        clean = read_channel(
            path,
            rate,
            0,
            max(0.0, start - lead / rate) * speed,
            (wanted / rate + 0.01) * speed,
            speed,
        )[:wanted]
        return np.pad(clean, (0, wanted - clean.size)), lead

    def _measure(self, path, speed):
        """Facts of a whole recording when played at a speed."""
        key = str(path)
        if key not in self._facts:
            clean = read_channel(path, self.sample_rate, 0)
            try:
                self._facts[key] = SpeechFacts.measure(clean, self.sample_rate)
            except SilentExcerptError as error:
                raise UsageError(
                    f"{path} is silent: remove it from the clean recordings"
                ) from error
        facts = self._facts[key]
        return SpeechFacts(facts.loudness, facts.bandwidth * speed)
