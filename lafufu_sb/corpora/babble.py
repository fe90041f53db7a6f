"""Babble: several voices that talk at once, as noise."""

import numpy as np

from lafufu_sb.corpora.excerpts import read_channel, tile
from lafufu_sb.corpora.mixing import SilentExcerptError, loudness
from lafufu_sb.corpora.sources import TRIES
from lafufu_sb.errors import UsageError

VOICES = (3, 8)  # fewest and most talkers
LEVEL_DB = 6.0  # largest difference of a talker from the mean level


def babble(sources, samples, rng, sample_rate):
    """Mix excerpts of several talkers, each at its own level.

    Arguments
    ---------
    sources : list of Source
        Speech of the talkers; the folder is the talker. Each is drawn once.
    samples : int
        Length of the result.
    rng : numpy.random.Generator
        The only source of randomness.
    sample_rate : int
        Hz.

    Returns
    -------
    numpy.ndarray
        (samples,), float64.

    Raises
    ------
    UsageError
        If there are too few talkers, or all excerpts drawn are silent.
    """
    talkers = sorted({source.folder for source in sources})
    fewest, most = VOICES
    if len(talkers) < fewest:
        raise UsageError(
            f"babble needs speech of {fewest} other speakers, got {len(talkers)}"
        )
    count = min(int(rng.integers(fewest, most + 1)), len(talkers))
    total = np.zeros(samples)
    for talker in rng.permutation(talkers)[:count]:
        own = [source for source in sources if source.folder == talker]
        total += _talker(own, samples, rng, sample_rate)
    return total


def _talker(sources, samples, rng, sample_rate):
    """Sentences of one talker, looped to a length, at about -20 LUFS."""
    for _ in range(TRIES):
        source = sources[rng.integers(len(sources))]
        speech = read_channel(source.path, sample_rate, 0)
        try:
            speech = tile(speech, samples, rng, sample_rate)
            gain_db = -20.0 - loudness(speech, sample_rate)
        except SilentExcerptError:
            continue
        gain_db += rng.uniform(-LEVEL_DB, LEVEL_DB)
        return speech * 10.0 ** (gain_db / 20.0)
    raise UsageError(
        f"all {TRIES} excerpts drawn for babble are silent or shorter than 0.5 s, the "
        f"last one from {source.path}"
    )
