"""Measures of a recording that need no reference, in one pass and flat memory.

Each is one class under ``measure``, which hears the recording block by block.
"""

from abc import ABC, abstractmethod

import numpy as np
import pyloudnorm
from scipy.signal import butter, lfilter, sosfilt

from lafufu_sb.corpora.spectra import highest_band

MEASURES = {}  # name to subclass of Measure, in the order of the columns

_FRAME_SECONDS = 0.032  # of spectra
_LOWEST_HZ = 50.0  # rumble and offsets below are neither speech nor content
_QUANTISATION = 2.0**-30 / 12  # power of the error of 16-bit samples


def measure(name, decimals, needs_speech=False):
    """Class decorator that adds a measure.

    Arguments
    ---------
    name : str
        Column of the results.
    decimals : int
        With which its numbers are written.
    needs_speech : bool
        Whether it must know where speech is.
    """

    def register(cls):
        cls.decimals, cls.needs_speech = decimals, needs_speech
        MEASURES[name] = cls
        return cls

    return register


class Measure(ABC):
    """A measure of one recording.

    Arguments
    ---------
    sound : MemorySound or FileSound
        The recording: sample rate, channels and length.
    stretches : list of list of tuple of float
        Its speech, see ``find_speech``; None unless ``needs_speech``.
    """

    def __init__(self, sound, stretches):
        self.rate, self.channels = sound.rate, sound.channels
        self.seconds, self.stretches = sound.seconds, stretches

    @abstractmethod
    def hear(self, block):
        """Take the next samples, (channels, time), float64."""

    @abstractmethod
    def value(self):
        """The measure as a float; NaN where it is not defined."""


@measure("speech", decimals=3, needs_speech=True)
class SpeechShare(Measure):
    """Share of the time that is speech; the mean over channels."""

    def hear(self, block):
        """Nothing: the stretches say all."""

    def value(self):
        """See ``Measure``."""
        spoken = [end - start for found in self.stretches for start, end in found]
        return sum(spoken) / (self.seconds * self.channels)


class _Spectral(Measure):
    """Hears power spectra of frames of 32 ms, above 50 Hz."""

    def __init__(self, sound, stretches):
        super().__init__(sound, stretches)
        self.size = max(2, round(_FRAME_SECONDS * self.rate))
        window = np.kaiser(self.size, 14.0)  # side lobes below -100 dB
        self.window = window / np.sqrt(self.size * np.sum(window**2))
        self._rest = np.zeros((self.channels, 0))
        lowest = min(_LOWEST_HZ, 0.1 * self.rate)
        self._high_pass = butter(4, lowest, "highpass", fs=self.rate, output="sos")
        self._state = np.zeros((len(self._high_pass), self.channels, 2))

    def hear(self, block):
        """See ``Measure``."""
        block, self._state = sosfilt(self._high_pass, block, zi=self._state)
        samples = np.concatenate([self._rest, block], axis=1)
        count = samples.shape[1] // self.size
        self._rest = samples[:, count * self.size :].copy()
        if count:
            frames = samples[:, : count * self.size].reshape(-1, count, self.size)
            self.hear_power(2.0 * np.abs(np.fft.rfft(frames * self.window)) ** 2)

    @abstractmethod
    def hear_power(self, power):
        """Take power spectra, (channels, frames, size // 2 + 1)."""


@measure("snr", decimals=2, needs_speech=True)
class SignalToNoise(_Spectral):
    """Estimated signal-to-noise ratio in dB; the mean over channels with speech.

    The noise is the mean power in the pauses. The speech is the mean power where there
    is speech, less that of the noise. Both count above 50 Hz. Without 0.3 s of pauses,
    the quietest 5 % of the frames are the noise. From -20 to 100.
    """

    _PAUSES, _QUIETEST = 10, 0.05  # frames, share

    def __init__(self, sound, stretches):
        super().__init__(sound, stretches)
        self._powers = [np.zeros((self.channels, 0))]

    def hear_power(self, power):
        """See ``_Spectral``."""
        self._powers.append(power.sum(axis=2))

    def value(self):
        """See ``Measure``."""
        powers = np.concatenate(self._powers, axis=1)
        middles = (np.arange(powers.shape[1]) + 0.5) * self.size / self.rate
        ratios = []
        for power, found in zip(powers, self.stretches, strict=True):
            spoken = np.searchsorted(np.ravel(found), middles) % 2 == 1
            if spoken.any():
                ratios.append(self._ratio(power, spoken))
        return float(np.mean(ratios)) if ratios else np.nan

    def _ratio(self, power, spoken):
        noises = power[~spoken]
        if len(noises) < self._PAUSES:
            noises = np.sort(power)[: max(1, int(self._QUIETEST * len(power)))]
        noise = noises.mean()
        speech = max(power[spoken].mean() - noise, 0.0)
        ratio = (speech + 1e-20) / (noise + 1e-20)
        return float(np.clip(10.0 * np.log10(ratio), -20.0, 100.0))


@measure("bandwidth", decimals=0)
class Bandwidth(_Spectral):
    """Highest frequency with content in Hz, of the channel that has the highest.

    The upper edge of the highest 500-Hz band within 75 dB of the loudest one, and at
    least 6 dB above the quantisation noise of 16 bits, in the mean over the recording.
    Noise is content as well as speech.
    """

    def __init__(self, sound, stretches):
        super().__init__(sound, stretches)
        self._sum, self._frames = 0.0, 0

    def hear_power(self, power):
        """See ``_Spectral``."""
        self._sum = self._sum + power.sum(axis=1)
        self._frames += power.shape[1]

    def value(self):
        """See ``Measure``."""
        if not self._frames:
            return np.nan
        floor = 4.0 * _QUANTISATION * min(1.0, 500.0 / (self.rate / 2))
        means = self._sum / self._frames
        found = (highest_band(mean, self.size, self.rate, floor) for mean in means)
        return min(max(found), self.rate / 2)


@measure("clipping", decimals=6)
class Clipping(Measure):
    """Share of samples in runs of three or more at a channel's extreme.

    An extreme is the highest or the lowest value of a channel, if it is above -20 dBFS.
    Clipping that was resampled or coded with loss is no longer flat and not found.
    """

    _RUN, _LOWEST = 3, 0.1

    def __init__(self, sound, stretches):
        super().__init__(sound, stretches)
        self._samples = 0
        shape = self.channels, 2  # highest and lowest
        self._extreme = np.full(shape, self._LOWEST)
        self._found = np.zeros(shape, int)
        self._open = np.zeros(shape, int)  # samples of the run at the end, at most 3

    def hear(self, block):
        """See ``Measure``."""
        self._samples += block.size
        if not block.size:
            return
        for channel, wav in enumerate(block):
            for side, signed in enumerate((wav, -wav)):
                self._hear_side((channel, side), signed)

    def _hear_side(self, place, wav):
        extreme = wav.max()
        if extreme < self._extreme[place]:
            self._open[place] = 0
            return
        if extreme > self._extreme[place]:
            self._extreme[place] = extreme
            self._found[place] = self._open[place] = 0
        # The first run may have begun in earlier blocks.
        before = np.ones(self._open[place], bool)
        hits = np.concatenate([before, wav == extreme, [False]])
        edges = np.flatnonzero(np.diff(hits, prepend=False))
        runs = edges[1::2] - edges[::2]
        if len(before) == self._RUN:
            self._found[place] -= self._RUN  # counted before
        self._found[place] += runs[runs >= self._RUN].sum()
        self._open[place] = min(runs[-1], self._RUN) if hits[-2] else 0

    def value(self):
        """See ``Measure``."""
        return self._found.sum() / self._samples if self._samples else np.nan


@measure("loudness", decimals=2)
class Loudness(Measure):
    """Integrated loudness in LUFS by ITU-R BS.1770-4, of all channels together.

    With the filters of pyloudnorm, whose meter needs the whole recording at once.
    Not defined below 0.4 s or where nothing exceeds -70 LUFS.
    """

    _GAINS = (1.0, 1.0, 1.0, 1.41, 1.41)  # of the channels in order

    def __init__(self, sound, stretches):
        super().__init__(sound, stretches)
        filters = (
            pyloudnorm.IIRfilter(4.0, 0.5**0.5, 1500.0, self.rate, "high_shelf"),
            pyloudnorm.IIRfilter(0.0, 0.5, 38.0, self.rate, "high_pass"),
        )
        self._filters = [(f.b, f.a, np.zeros((self.channels, 2))) for f in filters]
        self._hop = max(1, round(0.1 * self.rate))
        self._rest, self._powers = np.zeros((self.channels, 0)), []

    def hear(self, block):
        """See ``Measure``."""
        for number, (b, a, state) in enumerate(self._filters):
            block, state = lfilter(b, a, block, zi=state)
            self._filters[number] = b, a, state
        samples = np.concatenate([self._rest, block], axis=1)
        count = samples.shape[1] // self._hop
        self._rest = samples[:, count * self._hop :].copy()
        hops = samples[:, : count * self._hop].reshape(self.channels, count, self._hop)
        gains = [*self._GAINS, *[1.0] * self.channels][: self.channels]
        self._powers.append(gains @ np.square(hops).mean(axis=2))

    def value(self):
        """See ``Measure``."""
        powers = np.concatenate([np.zeros(0), *self._powers])
        if len(powers) < 4:
            return np.nan
        powers = np.convolve(powers, np.full(4, 0.25), "valid")  # blocks of 0.4 s
        powers = powers[powers >= 10.0 ** ((-70.0 + 0.691) / 10.0)]
        if not len(powers):
            return np.nan
        powers = powers[powers >= powers.mean() / 10.0]
        return float(-0.691 + 10.0 * np.log10(powers.mean()))


def measure_all(sound, blocks, names, stretches=None):
    """Several measures of a recording in one pass.

    Arguments
    ---------
    sound : MemorySound or FileSound
        The recording.
    blocks : iterable of torch.Tensor
        (channels, time) each: all of the recording, at its own rate.
    names : sequence of str
        Of ``MEASURES``.
    stretches : list of list of tuple of float, optional
        See ``find_speech``.

    Returns
    -------
    dict of str to float

    Example
    -------
    >>> import torch
    >>> from lafufu_sb.cleaning.sound import MemorySound
    >>> tone = 0.1 * torch.sin(2 * torch.pi * 1100 / 48000 * torch.arange(48000))[None]
    >>> found = measure_all(MemorySound(tone, 48000), [tone], ["bandwidth", "loudness"])
    >>> {name: round(value, 1) for name, value in found.items()}
    {'bandwidth': 1500.0, 'loudness': -22.8}
    """
    measures = {name: MEASURES[name](sound, stretches) for name in names}
    for block in blocks:
        block = block.double().numpy()
        for one in measures.values():
            one.hear(block)
    return {name: float(one.value()) for name, one in measures.items()}
