"""The benchmark's random draws, in its order.

All draws come from one generator, which is seeded at the start and again for the test
set. They are made here for all files, one after the other; the few that depend on audio
call functions of the caller. The mixtures can then be made in any order.
"""

import csv
import os
from dataclasses import dataclass
from glob import glob

import numpy as np

from lafufu_sb.corpora.ears.benchmark import (
    MAX_RT60,
    SEED,
    SNR_BINS,
    SNR_DB,
    Stretch,
    checked_header,
    style_of,
)
from lafufu_sb.corpora.tasks import SUBSETS
from lafufu_sb.errors import UsageError

AUDIO = "WHAM48kHz/high_res_wham/audio"  # below the data folder
METADATA = "WHAM48kHz/high_res_wham/high_res_metadata.csv"
TRIES = 100_000  # draws of a room before giving up


@dataclass(frozen=True)
class Noise:
    """A noise recording: path below the data folder, length in samples, channels."""

    path: str
    frames: int
    channels: int


@dataclass(frozen=True)
class NoiseDraw:
    """An excerpt of a noise recording and its level.

    ``start`` is the first sample of the excerpt, ``snr_db`` the ratio that was drawn,
    before it is raised against clipping.
    """

    path: str
    channel: int
    start: int
    snr_db: float


@dataclass(frozen=True)
class RoomDraw:
    """A channel of a room response; a ``gain`` of None is measured while mixing."""

    path: str
    channel: int
    rt60: float
    gain: float | None = None


@dataclass(frozen=True)
class Job:
    """A stretch of speech, its noise or room, and the numbers of its pieces."""

    stretch: Stretch
    draw: NoiseDraw | RoomDraw
    numbers: tuple


def list_noises(data_folder, version):
    """List the noise recordings that each subset draws from.

    Arguments
    ---------
    data_folder : str or Path
        Holds ``WHAM48kHz``.
    version : {"v1", "v2"}
        v1: all recordings for all subsets, sorted by name (the original uses the
        order of the file system). v2: those of the subset in the corpus' own metadata,
        in their order.

    Returns
    -------
    dict
        Subset -> list of Noise.

    Raises
    ------
    UsageError
        If metadata or recordings are missing (the message lists them), or recordings
        are not at 48 kHz.
    """
    if version == "v1":
        names = sorted(glob("*.wav", root_dir=os.path.join(data_folder, AUDIO)))
        noises = [_noise(data_folder, name) for name in names]
        return {subset: noises for subset in SUBSETS}
    split = {subset: [] for subset in SUBSETS}
    path = os.path.join(data_folder, METADATA)
    try:
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                split.get(row["WHAM! Split"].lower(), []).append(row["Filename"])
    except (OSError, KeyError) as error:
        raise UsageError(
            f"{path} cannot be read ({error!r}): version 2 needs its columns "
            "'Filename' and 'WHAM! Split'"
        ) from error
    missing = [
        name
        for names in split.values()
        for name in names
        if not os.path.exists(os.path.join(data_folder, AUDIO, name))
    ]
    if missing:
        raise UsageError(
            f"{path} names {len(missing)} recordings that are not in "
            f"{AUDIO}: {', '.join(missing[:20])}{' ...' if len(missing) > 20 else ''}: "
            "download WHAM!48kHz again"
        )
    return {
        subset: [_noise(data_folder, name) for name in names]
        for subset, names in split.items()
    }


def _noise(data_folder, name):
    path = f"{AUDIO}/{name}"
    return Noise(path, *checked_header(os.path.join(data_folder, path)))


def _choose(noises, frames, rng):
    """Draw recordings until one is long enough."""
    while True:
        noise = noises[rng.choice(len(noises))]
        if noise.frames >= frames:
            return noise


def _check_lengths(stretches, noises):
    longest = max((noise.frames for noise in noises), default=0)
    for stretch in stretches:
        if stretch.frames > longest:
            raise UsageError(
                f"{stretch.speech.path} has {stretch.frames} samples, the longest "
                f"noise {longest}: add longer noises or remove the recording"
            )


def _excerpt(noise, channel, frames, bounds, rng):
    start = rng.randint(noise.frames - frames + 1)
    snr_db = np.round(rng.uniform(*bounds), decimals=1)
    return NoiseDraw(noise.path, channel, start, float(snr_db))


def draw_noises(stretches, noises, rng):
    """Draw a noise per recording for training or validation.

    Arguments
    ---------
    stretches : list of Stretch
        See ``benchmark.training_stretches``.
    noises : list of Noise
    rng : numpy.random.RandomState

    Returns
    -------
    list of NoiseDraw

    Raises
    ------
    UsageError
        If a recording is longer than all noises.
    """
    _check_lengths(stretches, noises)
    draws = []
    for stretch in stretches:
        noise = _choose(noises, stretch.frames, rng)
        channel = rng.randint(0, noise.channels)
        draws.append(_excerpt(noise, channel, stretch.frames, SNR_DB, rng))
    return draws


class StyleBins:
    """SNR bounds of test files: each style takes the parts of the range in turn.

    Example
    -------
    >>> bins = StyleBins()
    >>> [round(float(bound), 2) for bound in bins.next("rainbow_01_fast")]
    [-2.5, -0.83]
    """

    def __init__(self):
        self.edges = np.linspace(*SNR_DB, SNR_BINS + 1)
        self.count = {}

    def next(self, stem):
        """Lower and upper bound in dB for the next file of this stem's style."""
        style = style_of(stem)
        if style is None:
            return SNR_DB
        index = self.count.get(style, 0)
        self.count[style] = (index + 1) % SNR_BINS
        return self.edges[index], self.edges[index + 1]


def draw_test_noises(recordings, noises, rng):
    """Draw noises for the test segments: one per recording while it is long enough.

    Arguments
    ---------
    recordings : list of list of Stretch
        See ``benchmark.test_stretches``, shuffled.
    noises : list of Noise
    rng : numpy.random.RandomState

    Returns
    -------
    list of NoiseDraw
        For all segments in their order.

    Raises
    ------
    UsageError
        If a segment is longer than all noises.
    """
    _check_lengths([stretch for some in recordings for stretch in some], noises)
    draws, bins = [], StyleBins()
    for stretches in recordings:
        noise = noises[rng.choice(len(noises))]
        channel = rng.randint(0, noise.channels)
        for stretch in stretches:
            if noise.frames < stretch.frames:
                noise = _choose(noises, stretch.frames, rng)
                channel = rng.randint(0, noise.channels)
            bounds = bins.next(stretch.speech.stem)
            draws.append(_excerpt(noise, channel, stretch.frames, bounds, rng))
    return draws


def seeded_generators():
    """Map subsets to generators; validation continues where training ends."""
    first, again = (np.random.RandomState(SEED) for _ in range(2))
    return {"train": first, "valid": first, "test": again}


def draw_all_noises(speech, noises, generators):
    """Draw the noises of all subsets.

    Arguments
    ---------
    speech : dict
        Subset -> list of Stretch; for test a list of such lists.
    noises, generators : dict
        Subset -> list of Noise, and subset -> numpy.random.RandomState.

    Returns
    -------
    dict
        Subset -> list of NoiseDraw.
    """
    draws = {}
    for subset, stretches in speech.items():
        draw = draw_test_noises if subset == "test" else draw_noises
        draws[subset] = draw(stretches, noises[subset], generators[subset])
    return draws


def draw_rooms(stretches, names, rng, channels, measure, audible):
    """Draw a room per stretch; draw again if its RT60 exceeds 2 s or it is silent.

    Arguments
    ---------
    stretches : iterable of Stretch
    names : list of str
        Room responses.
    rng : numpy.random.RandomState
    channels : callable
        Name -> number of channels.
    measure : callable
        (name, channel) -> (RT60 in seconds, peak).
    audible : callable
        (stretch, name, channel, peak) -> whether the reverberant speech has a loudness.

    Yields
    ------
    RoomDraw

    Raises
    ------
    UsageError
        If no room can be used.
    """
    for stretch in stretches:
        for _ in range(TRIES):
            name = names[rng.choice(len(names))]
            channel = rng.randint(0, channels(name))
            seconds, peak = measure(name, channel)
            if seconds <= MAX_RT60 and audible(stretch, name, channel, peak):
                yield RoomDraw(name, channel, seconds)
                break
        else:
            raise UsageError(
                f"no room with an RT60 up to {MAX_RT60} s in {TRIES} draws for "
                f"{stretch.speech.path}: check the room responses"
            )


def number_jobs(stretches, draws):
    """Join stretches and draws, and number the pieces from 0 on.

    Returns
    -------
    list of Job
        Stretches without pieces are left out.
    """
    jobs, number = [], 0
    for stretch, draw in zip(stretches, draws, strict=True):
        count = len(stretch.pieces)
        if count:
            jobs.append(Job(stretch, draw, tuple(range(number, number + count))))
        number += count
    return jobs
