"""Replay the benchmark's random draws along their outcomes in a csv.

Version 1 uses the noises in the order of the author's file system, so its draws cannot
simply be repeated. The csv lists the start and the SNR of each excerpt, but not the
channel. The seeded generator is run again; for each excerpt, every number of noises
that may have been rejected as too short is tried. Where start and SNR match the csv,
the channel drawn in between is the one used. Sometimes several numbers match; the order
of the noises, which later rows reveal, leaves one.
"""

from dataclasses import dataclass, replace

import numpy as np

from lafufu_sb.corpora.ears import plan

REFUSED = 300  # rejected noises in a row
MORE = 12  # further rejections that are tried after the first match
MOST = 256  # candidates that are followed at once


@dataclass(frozen=True)
class Way:
    """A candidate for the draws so far.

    ``state`` is the state of the generator; ``order`` the known part of the order of
    the noises (index -> name); ``last`` the last noise (index, channels, channel);
    ``drawn`` the draws as nested pairs (earlier draws, last draw); ``refused`` the
    number of rejected noises. Candidates with fewer rejections are preferred.
    """

    state: dict
    order: dict
    last: tuple = ()
    drawn: tuple = ()
    refused: int = 0


class Replay:
    """Follow the draws of EARS-WHAM v1.

    Arguments
    ---------
    noises : dict
        Name without suffix -> plan.Noise, all recordings.
    rng : numpy.random.RandomState
        In its state before the first draw.
    order : dict, optional
        Index -> name, as far as known from another subset.
    """

    def __init__(self, noises, rng, order=None):
        self.noises = noises
        self.shortest = min(noise.frames for noise in noises.values())
        self.channel_counts = sorted({noise.channels for noise in noises.values()})
        self.rng = rng
        self.ways = [Way(rng.get_state(legacy=False), order or {})]

    def _choose(self, state):
        self.rng.set_state(state)
        index = int(self.rng.choice(len(self.noises)))
        return index, self.rng.get_state(legacy=False)

    def _channel(self, state, channels):
        self.rng.set_state(state)
        channel = int(self.rng.randint(0, channels))
        return channel, self.rng.get_state(legacy=False)

    def begin_recording(self):
        """Draw the first noise of a test recording."""
        ways = []
        for way in self.ways:
            index, chosen = self._choose(way.state)
            known = self.noises.get(way.order.get(index))
            for channels in [known.channels] if known else self.channel_counts:
                channel, state = self._channel(chosen, channels)
                ways.append(replace(way, state=state, last=(index, channels, channel)))
        self.ways = ways[:MOST]

    def _long_enough(self, way, index, frames):
        """Tell whether a noise is certainly long enough."""
        known = self.noises.get(way.order.get(index))
        return (known.frames if known else self.shortest) >= frames

    def _reach(self, way, noise, frames, first, current):
        """Iterate over ways to draw a noise: (index, channel, state, rejected)."""
        if first or current is not None:
            index, channels, channel = way.last
            if current in (None, noise) and channels == noise.channels:
                yield index, channel, way.state, way.refused
            if self._long_enough(way, index, frames):
                return
            if current is not None and current.frames >= frames:
                return
        state, refused = way.state, way.refused + bool(first and current is None)
        for count in range(REFUSED):
            index, state = self._choose(state)
            yield index, *self._channel(state, noise.channels), refused + count
            if self._long_enough(way, index, frames):
                return  # would have been used

    def _fits(self, state, row, start, room, bounds):
        """Return the SNR drawn and the state after it, or None if they do not match."""
        self.rng.set_state(state)
        if self.rng.randint(room) != start:
            return None
        snr_db = float(np.round(self.rng.uniform(*bounds), decimals=1))
        raised = float(row["snr_dB"]) - snr_db
        if raised < -0.05 or abs(raised - round(raised)) > 0.01:
            return None
        return snr_db, self.rng.get_state(legacy=False)

    def follow(self, row, frames, bounds, first=False, current=None):
        """Follow the draws of a csv row.

        Arguments
        ---------
        row : dict
            Columns of the csv.
        frames : int
            Samples of speech.
        bounds : tuple of float
            Range of the SNR, dB.
        first : bool
            Whether it is the first segment of a test recording.
        current : plan.Noise, optional
            Noise of the previous segment of the same test recording.

        Returns
        -------
        bool
            Whether draws match; if not, nothing has changed.
        """
        name = row["noise_file"]
        noise = self.noises[name]
        start = int(row["noise_start"]) - int(row["speech_start"])
        room = noise.frames - frames + 1
        if not 0 <= start < room:
            return False
        found = []
        for way in self.ways:
            left = None
            reached = self._reach(way, noise, frames, first, current)
            for index, channel, state, refused in reached:
                order = _placed(way.order, index, name)
                fit = order is not None and self._fits(state, row, start, room, bounds)
                if fit:
                    draw = plan.NoiseDraw(noise.path, channel, start, fit[0])
                    last = (index, noise.channels, channel)
                    found.append(Way(fit[1], order, last, (way.drawn, draw), refused))
                    left = MORE if left is None else left
                if left is not None:
                    left -= 1
                    if left < 0:
                        break
        found.sort(key=lambda way: way.refused)
        self.ways = found[:MOST] or self.ways
        return bool(found)

    def draws(self):
        """Return the draws of all rows that were followed, in their order."""
        return _unrolled(self.ways[0])

    def uncertain(self):
        """Number of rows whose draws differ between the remaining candidates."""
        rows = zip(*map(_unrolled, self.ways), strict=True)
        return sum(len(set(draws)) > 1 for draws in rows)


def _unrolled(way):
    found, chain = [], way.drawn
    while chain:
        chain, draw = chain
        found.append(draw)
    return found[::-1]


def _placed(order, index, name):
    """Return the order with a noise added, or None if it contradicts the order."""
    if index in order:
        return order if order[index] == name else None
    if name in order.values():
        return None
    return order | {index: name}
