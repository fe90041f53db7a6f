"""Signals beside what a whole-signal pre-enhancer makes of them."""

import torch


class PreEnhancedSignal:
    """A signal whose ``read`` also returns its pre-enhanced version.

    Arguments
    ---------
    signal : TensorSignal or alike
        The distorted signal.
    pre_enhancer : SignalPreEnhancer
        Called at the first read, with all samples at once.
    sample_rate : int
        Hz.
    """

    def __init__(self, signal, pre_enhancer, sample_rate):
        self.signal = signal
        self._pre_enhancer = pre_enhancer
        self._sample_rate = sample_rate
        self._enhanced = None

    def __getattr__(self, name):  # key, samples, peak, seed and begin
        return getattr(self.signal, name)

    def read(self, start, stop):
        """(1 + others, samples): the signal, the enhanced one, then the others."""
        if self._enhanced is None:
            wav = self.signal.read(0, self.signal.samples)
            distorted = wav if wav.dim() == 1 else wav[0]
            enhanced = self._pre_enhancer.enhance(
                distorted.detach().float().cpu(), self._sample_rate
            )
            self._enhanced = enhanced.to(wav.device)
        piece = self.signal.read(start, stop)
        piece = piece[None] if piece.dim() == 1 else piece
        enhanced = self._enhanced[None, start:stop]
        return torch.cat([piece[:1], enhanced, piece[1:]])


def pre_enhanced(signals, pre_enhancer, sample_rate):
    """Wrap signals, channels in tuples too.

    Arguments
    ---------
    signals : iterable
        See ``stream_windows``.
    pre_enhancer : SignalPreEnhancer
        The enhancer.
    sample_rate : int
        Hz.

    Yields
    ------
    PreEnhancedSignal or tuple of PreEnhancedSignal
    """
    for entry in signals:
        if isinstance(entry, tuple):
            yield tuple(PreEnhancedSignal(s, pre_enhancer, sample_rate) for s in entry)
        else:
            yield PreEnhancedSignal(entry, pre_enhancer, sample_rate)
