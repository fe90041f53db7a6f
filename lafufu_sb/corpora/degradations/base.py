"""The contract of a degradation."""

import abc
from dataclasses import dataclass

from lafufu_sb.corpora.mixing import loudness
from lafufu_sb.corpora.spectra import bandwidth


@dataclass(frozen=True)
class SpeechFacts:
    """Loudness (LUFS) and bandwidth (Hz) of clean speech."""

    loudness: float
    bandwidth: float

    @classmethod
    def measure(cls, wav, sample_rate):
        """Measure (samples,); SilentExcerptError if it is silent."""
        return cls(loudness(wav, sample_rate), bandwidth(wav, sample_rate))


class Degradation(abc.ABC):
    """Turns clean speech into the distorted input of a training pair.

    Subclasses implement ``__call__``. A recipe names a class in ``my_module.py`` beside
    train.py so:

    .. code-block:: yaml

        mixer:
            degradation: !new:my_module.Clipping

    Instances are pickled into the workers of a data loader. All randomness comes from
    the generator that is passed in, so that a resumed run draws the same pairs.

    Example
    -------
    >>> import numpy
    >>> class Clipping(Degradation):
    ...     def __call__(self, wav, sample_rate, rng):
    ...         limit = rng.uniform(0.1, 0.9) * abs(wav).max()
    ...         return wav.clip(-limit, limit)
    >>> wav = numpy.sin(numpy.arange(100))
    >>> clipped = Clipping()(wav, 48000, numpy.random.default_rng(0))
    >>> clipped.shape, bool(abs(clipped).max() < 0.9)
    ((100,), True)
    """

    #: Seconds of speech before a crop that change it, e.g. through reverberation.
    #: ``OnlineMixer`` passes up to this much more speech and drops it from the result.
    lead_seconds = 0.0

    @abc.abstractmethod
    def __call__(self, wav, sample_rate, rng):
        """Degrade speech.

        Arguments
        ---------
        wav : numpy.ndarray
            (samples,), clean speech of floats with full scale 1; must not be changed.
        sample_rate : int
            Hz.
        rng : numpy.random.Generator
            The only source of randomness.

        Returns
        -------
        numpy.ndarray
            (samples,), of the same length and aligned to the sample: the clean speech
            is the target of the result.
        """

    def prepare(self, sample_rate):  # noqa: B027
        """Check the settings and files for a sample rate, before training starts.

        Arguments
        ---------
        sample_rate : int
            Hz.

        Raises
        ------
        UsageError
            If they cannot be used. By default nothing is checked.
        """

    def degrade_crop(self, wav, sample_rate, rng, facts):
        """Degrade a crop, knowing the whole recording that it was cut from.

        Override this where the result depends on more than the crop: a noise level
        that is relative to the whole recording leaves pauses quiet.

        Arguments
        ---------
        wav, sample_rate, rng
            See ``__call__``.
        facts : callable
            Without arguments, returns the ``SpeechFacts`` of the whole recording. It
            reads the recording at the first call.

        Returns
        -------
        numpy.ndarray
            (samples,); by default the result of ``__call__``.
        """
        return self(wav, sample_rate, rng)
