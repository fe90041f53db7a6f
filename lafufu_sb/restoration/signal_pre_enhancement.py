"""Signals beside what a whole-signal pre-enhancer makes of them."""

import torch

from lafufu_sb.lobes.pre_enhancer import StreamingPreEnhancer

BLOCK = 48_000  # samples that a stream is fed at a time


class PreEnhancedSignal:
    """A signal whose ``read`` also returns its pre-enhanced version.

    The pre-enhancer gets the signal divided by its levels, which are interpolated
    between windows, so that the level does not change what it removes.

    Arguments
    ---------
    signal : LevelledSignal
        The distorted signal.
    enhanced : _Whole or _Streamed
        Its pre-enhanced version.
    """

    def __init__(self, signal, enhanced):
        self.signal = signal
        self._enhanced = enhanced

    def __getattr__(self, name):  # levels, silent, key, samples, seed, begin
        return getattr(self.signal, name)

    def read(self, start, stop):
        """(1 + others, samples): the signal, the enhanced one, then the others."""
        piece = self.signal.read(start, stop)
        piece = piece[None] if piece.dim() == 1 else piece
        enhanced = self._enhanced.read(start, start + piece.shape[-1])
        return torch.cat([piece[:1], enhanced[None].to(piece), piece[1:]])


class _Source:
    """The distorted signal divided by its levels, on the CPU."""

    def __init__(self, signal):
        self.signal = signal
        self.samples = signal.samples

    def read(self, start, stop):
        piece = self.signal.read(start, stop)
        piece = piece if piece.dim() == 1 else piece[0]
        levels = self.signal.level_curve(start, start + piece.shape[-1])
        return piece.detach().float().cpu() / levels

    def at_level(self, start, enhanced):
        """Enhanced samples from ``start`` on, at the level of the signal."""
        return enhanced * self.signal.level_curve(start, start + len(enhanced))


class _Whole:
    """Enhanced at the first read, with all samples at once."""

    def __init__(self, source, pre_enhancer, sample_rate):
        self._source = source
        self._enhance = lambda signal: pre_enhancer.enhance(signal, sample_rate)
        self._enhanced = None

    def read(self, start, stop):
        if self._enhanced is None:
            signal = self._source.read(0, self._source.samples)
            self._enhanced = self._enhance(signal)
        return self._source.at_level(start, self._enhanced[start:stop])


class _Streamed:
    """Enhanced block by block; keeps what was read last and what follows it."""

    def __init__(self, source, pre_enhancer, sample_rate):
        self._source = source
        self._open = lambda: pre_enhancer.open(sample_rate)
        self._delay = pre_enhancer.delay
        self._restart()

    def _restart(self):
        self._stream = None
        self._kept = torch.zeros(0)  # enhanced samples from ``_begin`` on
        self._begin = -self._delay
        self._fed = 0

    def read(self, start, stop):
        if start < self._begin:
            self._restart()
        if self._stream is None:
            self._stream = self._open()
        while self._begin + len(self._kept) < stop:
            self._feed(start)
        self._drop(start)
        return self._source.at_level(start, self._kept[: stop - start])

    def _feed(self, start):
        block = self._source.read(self._fed, self._fed + BLOCK)
        block = torch.nn.functional.pad(block, (0, BLOCK - len(block)))
        self._fed += BLOCK
        self._kept = torch.cat([self._kept, self._stream(block)])
        self._drop(start)

    def _drop(self, start):
        """Forget what lies before a sample."""
        dropped = min(start - self._begin, len(self._kept))
        self._kept = self._kept[dropped:].clone()
        self._begin += dropped


def pre_enhanced(signals, pre_enhancer, sample_rate):
    """Wrap signals, channels in tuples too.

    Arguments
    ---------
    signals : iterable of LevelledSignal, or of tuples of them
        See ``stream_windows``.
    pre_enhancer : SignalPreEnhancer
        The enhancer. A ``StreamingPreEnhancer`` needs flat memory, others that of a
        whole signal.
    sample_rate : int
        Hz.

    Yields
    ------
    PreEnhancedSignal or tuple of PreEnhancedSignal
    """
    streams = isinstance(pre_enhancer, StreamingPreEnhancer)
    kind = _Streamed if streams else _Whole

    def wrap(signal):
        source = _Source(signal)
        return PreEnhancedSignal(signal, kind(source, pre_enhancer, sample_rate))

    for entry in signals:
        many = isinstance(entry, tuple)
        yield tuple(map(wrap, entry)) if many else wrap(entry)
