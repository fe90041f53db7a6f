"""Levels that windows are divided by, and the removal of what lies below 20 Hz."""

import functools
import math

import numpy
import torch
from torch.nn import functional
from torchaudio.functional import fftconvolve

from lafufu_sb.errors import UsageError

CUTOFF = 20.0  # Hz, where the filter has 6 dB; 0.0 dB at 30 Hz, 60 dB at 10 Hz
REACH = 0.096  # seconds of the filter on either side
KAISER = 5.65  # shape of its window
RUMBLE = 10 ** (-45 / 20)  # share of the level up to which low frequencies stay
ROUNDING = 1e-6  # share of the peak that the filter may leave of a constant

FRAME = 0.1  # seconds; the peak in a frame is the unit of measurement
CONTEXT = 1.0  # seconds on either side of a window that count for its level
SPARED = 2  # frames that may be louder than the robust level
NORMAL = 9.0  # dB of the peak above the robust level up to which the peak stays
CREST = 2.0  # dB of the level above the robust level where it does not
SLOPE = 4.0  # dB per dB between the two
DEEPEST = 30.0  # dB of the peak above the lowest level
ATTACK = 0.005  # seconds before and after a transient in which it is limited

_FRAMES = 16  # that are measured at once


def levelled(signals, plan, rate):
    """Measure signals, channels of a tuple together.

    Arguments
    ---------
    signals : iterable of TensorSignal or alike, or of tuples of them
        Each is read once from beginning to end when it is its turn.
    plan : WindowPlan
        Windows.
    rate : int
        Hz.

    Yields
    ------
    LevelledSignal or tuple of LevelledSignal

    Raises
    ------
    UsageError
        If signals of a tuple differ in length, or samples are not finite.
    """
    for entry in signals:
        channels = entry if isinstance(entry, tuple) else (entry,)
        lengths = {channel.samples for channel in channels}
        if len(lengths) != 1:
            raise UsageError(f"channels must have one length, got {sorted(lengths)}")
        frame = max(1, round(FRAME * rate))
        peaks = [[] for _ in channels]
        for start in range(0, lengths.pop(), _FRAMES * frame):
            for channel, found in zip(channels, peaks, strict=True):
                found.append(_frame_peaks(channel, start, frame, rate))
        measured = tuple(
            LevelledSignal(channel, plan, rate, found)
            for channel, found in zip(channels, peaks, strict=True)
        )
        yield measured if isinstance(entry, tuple) else measured[0]


class LevelledSignal:
    """A signal with a level for each window, and without loud low frequencies.

    The level of a window is the peak P of the whole signal, which suits nearly all
    recordings, unless the window's robust level R is more than 9 dB lower. R is the
    third largest peak of the frames of 0.1 s in the window and 1 s around it, so a
    click does not count. From 9 dB on, the level falls by 4 dB for each dB, until it is
    2 dB above R, and down to 30 dB below P. What then exceeds one, see ``limited``.

    What lies below 20 Hz is subtracted from the whole signal, without delay, if its
    mean magnitude exceeds -45 dB of the level in any window. At the ends the filter
    weighs the samples that exist, so a constant disappears. A signal of less than a
    twentieth of a second is left as it is.

    Both depend on the signal alone and scale with it.

    Arguments
    ---------
    signal : TensorSignal or alike
        If it reads several rows, the first one is measured; the filter is for all.
    plan : WindowPlan
        Windows.
    rate : int
        Hz.
    peaks : list of torch.Tensor
        (3, frames) each: peaks of the frames of the signal, of its low frequencies, and
        of the rest.

    Attributes
    ----------
    levels : list of float
        One for each window, above 0.
    silent : bool
        Whether nothing is left to restore.
    key, samples, seed, begin
        See ``TensorSignal``.

    Raises
    ------
    UsageError
        If samples are not finite.
    """

    def __init__(self, signal, plan, rate, peaks):
        self._signal, self._rate = signal, rate
        whole, low, rest = torch.cat([torch.zeros(3, 1), *peaks], dim=1)[:, 1:]
        peak = _largest(whole)
        if not math.isfinite(peak):
            raise UsageError(
                f"the peak of signal {signal.key!r} is {peak}: its samples must be "
                "finite"
            )
        frame = max(1, round(FRAME * rate))
        starts = list(plan.starts(signal.samples))
        spans = [(s // frame, -(-(s + plan.window) // frame)) for s in starts]
        self._middles = [start + plan.window / 2 for start in starts]
        around = round(CONTEXT / FRAME)
        levels = _levels(rest, spans, around)
        self._filtered = any(
            float(low[begin:end].mean()) > RUMBLE * level
            for (begin, end), level in zip(spans, levels, strict=True)
        )
        self.levels = levels if self._filtered else _levels(whole, spans, around)
        self._highest = max(self.levels)
        self._shares = numpy.log(numpy.array(self.levels) / self._highest)
        self.silent = (_largest(rest) if self._filtered else peak) <= ROUNDING * peak

    def __getattr__(self, name):  # key, samples, seed and begin
        return getattr(self._signal, name)

    def level_curve(self, start, stop):
        """A level for each sample, (samples,), interpolated between windows."""
        if not self._shares.any():
            return torch.full((stop - start,), self._highest)
        shares = numpy.interp(numpy.arange(start, stop), self._middles, self._shares)
        return torch.from_numpy(self._highest * numpy.exp(shares)).float()

    def read(self, start, stop):
        """Samples from ``start`` up to ``stop``, fewer where the signal ends."""
        if not self._filtered:
            return self._signal.read(start, stop)
        piece, low = _split(self._signal, start, stop, self._rate)
        return piece - low


def limited(function, rate):
    """Let a function of levelled windows see no sample above one.

    Within 5 ms of a transient that exceeds one, windows are divided by a smooth gain,
    and results multiplied by it. Elsewhere the gain is exactly one.

    Arguments
    ---------
    function : callable
        See ``stream_windows``.
    rate : int
        Hz.

    Returns
    -------
    callable
        With the arguments of ``function``.
    """
    half = max(1, round(ATTACK * rate / 2))

    def function_of_limited(windows, places):
        rows = windows if windows.dim() == 2 else windows[:, 0]
        excess = rows.abs().clamp(min=1).log()
        if not excess.any():
            return function(windows, places)
        excess = functional.max_pool1d(excess, 4 * half + 1, 1, 2 * half)
        for _ in range(2):  # together as wide as the maximum: never below the excess
            excess = functional.avg_pool1d(
                excess, 2 * half + 1, 1, half, count_include_pad=False
            )
        gains = excess.exp()
        divisors = gains if windows.dim() == 2 else gains[:, None]
        return function(windows / divisors, places) * gains

    return function_of_limited


def _levels(peaks, spans, around):
    """Level of each window from the peaks of the signal's frames."""
    peak = _largest(peaks)
    levels = []
    for begin, end in spans:
        stretch = peaks[max(0, begin - around) : end + around]
        spared = min(SPARED, len(stretch) // 5)
        robust = _largest(stretch.sort(descending=True).values[spared:])
        level = peak * _share(robust, peak)
        levels.append(max(level, torch.finfo(torch.float32).tiny))
    return levels


def _share(robust, peak):
    """Level of a window as a share of the peak of the signal."""
    if robust == 0:  # silence, but for a transient
        return 1.0
    excess = 20 * math.log10(peak / robust)
    below = min(excess - CREST, SLOPE * (excess - NORMAL), DEEPEST)
    return 10 ** (-below / 20) if below > 0 else 1.0


def _largest(values):
    return float(values.max()) if values.numel() else 0.0


def _frame_peaks(signal, start, frame, rate):
    """(3, frames): peaks of the signal, of its low frequencies, and of the rest."""
    piece, low = _split(signal, start, start + _FRAMES * frame, rate)
    parts = torch.stack([piece, low, piece - low])
    if parts.dim() == 3:
        parts = parts[:, 0]
    parts = functional.pad(parts, (0, -parts.shape[-1] % frame))
    return parts.abs().reshape(3, -1, frame).amax(dim=2).cpu()


def _split(signal, start, stop, rate):
    """Samples from ``start`` up to ``stop``, and their low frequencies.

    The low frequencies are a weighted mean of the samples around each.
    """
    if signal.samples * CUTOFF < rate:
        piece = signal.read(start, stop)
        return piece, torch.zeros_like(piece)
    reach = round(REACH * rate)
    begin = max(0, start - reach)
    around = signal.read(begin, stop + reach).double()
    piece = around[..., start - begin : stop - begin]
    weights = _weights(reach, rate, around.device)
    # Of one shape everywhere: the result does not depend on where a signal ends.
    left = reach - (start - begin)
    right = stop - start + 2 * reach - left - around.shape[-1]
    padded = functional.pad(around, (left, right))
    low = fftconvolve(padded, weights.expand(*padded.shape[:-1], -1), mode="valid")
    place = torch.arange(start, start + piece.shape[-1], device=around.device)
    sums = functional.pad(weights.cumsum(0), (1, 0))
    first = (reach - place).clamp(min=0)
    last = (signal.samples - place + reach).clamp(max=2 * reach + 1)
    low = low[..., : piece.shape[-1]] / (sums[last] - sums[first])
    return piece.float(), low.float()


@functools.lru_cache(maxsize=8)
def _weights(reach, rate, device):
    """Taps of the low-pass filter, (2 * reach + 1,), of sum one."""
    shape = torch.kaiser_window(
        2 * reach + 1, periodic=False, beta=KAISER, dtype=torch.float64, device=device
    )
    place = torch.arange(-reach, reach + 1, device=device, dtype=torch.float64)
    weights = shape * torch.sinc(2 * CUTOFF / rate * place)
    return weights / weights.sum()
