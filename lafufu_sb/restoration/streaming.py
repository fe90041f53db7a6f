"""Overlap-add over signals of any number and length, in flat memory.

Windows are read from a tensor or a file when they are needed, computed in batches that
may span several signals, and cross-faded with the tail of the signal's last window.
"""

from typing import NamedTuple

import torch
from torch import nn

from lafufu_sb.audio.waveforms import check_batch
from lafufu_sb.errors import UsageError
from lafufu_sb.restoration.devices import to_device

_AHEAD = 8  # silent windows cost nothing: collect at most so many batches of them


class TensorSignal:
    """A signal in memory, and the interface that ``Restorer.stream`` expects.

    Any object with these attributes and ``read`` works, such as a channel of a file.

    Arguments
    ---------
    wav : torch.Tensor
        (samples,), float32, finite.
    key : object, optional
        Identifies the result.
    seed : int, optional
        Seed of the sampler's noise; by default that of the settings.

    Attributes
    ----------
    key : object
        As above.
    samples : int
        Length.
    seed : int or None
        May be missing.
    begin : int
        First window whose block is wanted, 0 by default. May be missing.

    Example
    -------
    >>> signal = TensorSignal(torch.tensor([0.1, -0.5, 0.2]), key="a")
    >>> signal.samples, signal.read(1, 9)
    (3, tensor([-0.5000,  0.2000]))
    """

    def __init__(self, wav, key=None, seed=None):
        self.wav = wav
        self.key = key
        self.samples = wav.shape[-1]
        self.seed = seed

    def read(self, start, stop):
        """Samples from ``start`` up to ``stop``, fewer where the signal ends."""
        return self.wav[..., start:stop]


class Window(NamedTuple):
    """One window of an open signal."""

    open: "_Open"
    start: int  # sample of the signal
    level: float
    last: bool
    wanted: bool  # False: computed only for its overlap with the next one


class _Open:
    """A signal with windows still to compute."""

    def __init__(self, signal):
        self.signal = signal
        self.tail = None  # of the last window, (overlap,), to add to the next one
        self.level = 1.0  # of the tail

    def seed(self, default):
        seed = getattr(self.signal, "seed", None)
        return default if seed is None else seed


def stream_windows(function, plan, signals, *, size, fill=False, device, out="cpu"):
    """Cut signals into windows, map them, and overlap-add the results.

    Arguments
    ---------
    function : callable
        ``function(windows, places)``: levelled (n, ..., plan.window) on ``device`` and
        n ``Window`` to results, (n, plan.window).
    plan : WindowPlan
        Windows and their cross-fades.
    signals : iterable of LevelledSignal or alike
        Read on demand. A silent one is not read and comes back as zeros. Signals of one
        length in a tuple, such as channels, advance window by window together.
    size : int
        Windows that are computed together.
    fill : bool
        Whether a smaller batch is filled up with repetitions.
    device, out : str or torch.device
        Where windows are computed, and where blocks are wanted.

    Yields
    ------
    signal : object
        One of ``signals``.
    block : torch.Tensor
        (samples,) on ``out``: the next finished samples, at the original level. Each
        signal has at least one block. They add up to its length from ``begin`` on.
    """
    for batch in _batches(_windows(plan, signals), size):
        results = iter(
            _compute(function, plan, batch, size if fill else 0, device, out)
        )
        for window in batch:
            signal = window.open.signal
            if signal.silent:
                end = signal.samples if window.last else window.start + plan.stride
                block = torch.zeros(end - window.start, device=out)
            else:
                block = _finished(plan, window, next(results))
            if window.wanted:
                yield signal, block


def _windows(plan, signals):
    for entry in signals:
        channels = [_Open(s) for s in (entry if isinstance(entry, tuple) else (entry,))]
        starts = plan.starts(channels[0].signal.samples)
        begin = getattr(channels[0].signal, "begin", 0)
        for number in range(max(0, begin - 1), len(starts)):
            last, wanted = number == len(starts) - 1, number >= begin
            for channel in channels:
                level = channel.signal.levels[number]
                yield Window(channel, starts[number], level, last, wanted)


def _batches(windows, size):
    batch, audible = [], 0
    for window in windows:
        batch.append(window)
        audible += not window.open.signal.silent
        if audible == size or len(batch) == _AHEAD * size:
            yield batch
            batch, audible = [], 0
    if batch:
        yield batch


def _compute(function, plan, batch, fill_to, device, out):
    """Results of the audible windows, (windows, plan.window), still levelled."""
    audible = [window for window in batch if not window.open.signal.silent]
    if not audible:
        return ()
    filled = audible + audible[-1:] * (fill_to - len(audible))
    pieces = torch.stack([_cut(plan, window) for window in filled])
    levels = torch.tensor([window.level for window in filled])
    levels = levels.reshape(-1, *[1] * (pieces.dim() - 1))
    levelled = to_device(pieces, device) / to_device(levels, device)
    return function(levelled, filled)[: len(audible)].to(out)


def _cut(plan, window):
    piece = window.open.signal.read(window.start, window.start + plan.window)
    return nn.functional.pad(piece, (0, plan.window - piece.shape[-1]))


def _finished(plan, window, result):
    """Samples that no later window changes. The rest is kept as the signal's tail."""
    weighted = plan.weights(window.start == 0, window.last, result.device) * result
    if window.open.tail is not None:
        tail = window.open.tail * (window.open.level / window.level)
        weighted[: plan.overlap] += tail
    if window.last:
        block = weighted[: window.open.signal.samples - window.start]
    else:
        block = weighted[: plan.stride]
        window.open.tail = weighted[plan.stride :].clone()
        window.open.level = window.level
    return block * window.level


def batch_signals(wavs, lengths=None, others=()):
    """Turn the items of a batch into signals whose keys are their rows.

    Arguments
    ---------
    wavs : torch.Tensor
        (batch, time).
    lengths : torch.Tensor, optional
        (batch,) relative lengths; padding is left out.
    others : sequence of torch.Tensor
        (batch, time) each: signals at the same level beside ``wavs``. ``read`` then
        returns (1 + others, samples).

    Returns
    -------
    list of TensorSignal

    Raises
    ------
    UsageError
        For shapes that ``check_batch`` refuses, samples that are not finite, and
        ``lengths`` that are not those of the items.
    """
    samples = _valid_samples(wavs, lengths)
    wavs = wavs.float()
    if others:
        wavs = torch.stack([wavs, *(other.float() for other in others)], dim=1)
    return [
        TensorSignal(wav[..., :end], key=row)
        for row, (wav, end) in enumerate(zip(wavs, samples.tolist(), strict=True))
    ]


def gather(stream, like):
    """Collect the blocks of a stream over ``batch_signals`` into a batch.

    Arguments
    ---------
    stream : iterable of (signal, block)
        As ``stream_windows`` yields.
    like : torch.Tensor
        (batch, time), for shape and device.

    Returns
    -------
    torch.Tensor
        (batch, time), float32; padding is zero.
    """
    out = torch.zeros(like.shape, device=like.device)
    done = [0] * len(out)
    for signal, block in stream:
        row, start = signal.key, done[signal.key]
        done[row] += len(block)
        out[row, start : done[row]] = block
    return out


def _valid_samples(wavs, lengths):
    """Check a batch and give the (batch,) number of valid samples of each item."""
    check_batch(wavs)
    if not torch.isfinite(wavs).all():
        raise UsageError("the waveform has NaN or infinite samples")
    if lengths is None:
        return torch.full((wavs.shape[0],), wavs.shape[1], device=wavs.device)
    if lengths.shape != wavs.shape[:1]:
        raise UsageError(
            f"expected {wavs.shape[0]} relative lengths, got {tuple(lengths.shape)}"
        )
    lengths = lengths.to(wavs.device)
    if not ((lengths > 0) & (lengths <= 1)).all():
        raise UsageError(
            f"relative lengths lie above 0 and up to 1, got {lengths.tolist()}"
        )
    return (lengths * wavs.shape[1]).round().long().clamp(min=1)
