"""The contracts of pre-enhancers: a first guess before the representation's encoder."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from lafufu_sb.errors import UsageError


class PreEnhancer(nn.Module, ABC):
    """A module on the features of a window. It is computed in float32.

    Source of the idea: stochastic regeneration (Lemercier et al. 2023, "StoRM").
    """

    @abstractmethod
    def forward(self, features):
        """Enhanced features, the shape of ``features``."""


class SignalPreEnhancer(nn.Module, ABC):
    """An enhancer of whole signals, which needs all of a recording at once.

    A causal or block-wise one derives from ``StreamingPreEnhancer`` instead.

    Attributes
    ----------
    sample_rate : int or None
        Hz of the only rate that it works at; None for any.
    lead_seconds : float
        Seconds that it hears before a training crop that is mixed anew.
    """

    sample_rate = None
    lead_seconds = 1.0

    def check_rate(self, sample_rate):
        """Raise ``UsageError`` for a rate (Hz) that the enhancer does not have."""
        if self.sample_rate not in (None, sample_rate):
            raise UsageError(
                f"{type(self).__name__} works at {self.sample_rate} Hz, the model at "
                f"{sample_rate}"
            )

    @abstractmethod
    def enhance(self, signal, sample_rate):
        """Enhance a whole signal.

        Arguments
        ---------
        signal : torch.Tensor
            (samples,), float32, on the CPU. Its peak is about 1.
        sample_rate : int
            Hz.

        Returns
        -------
        torch.Tensor
            (samples,), aligned with ``signal`` to the sample.
        """


class StreamingPreEnhancer(SignalPreEnhancer):
    """An enhancer with a state, such as DeepFilterNet3: block by block, in flat memory.

    Subclasses define ``delay`` and ``open``.

    Attributes
    ----------
    delay : int
        Samples by which the output of a stream lags behind its input.
    """

    delay = 0

    @abstractmethod
    def open(self, sample_rate):
        """Start a signal.

        Arguments
        ---------
        sample_rate : int
            Hz.

        Returns
        -------
        callable
            ``stream(block)``: the next (n,) samples of the signal, float32 on the CPU,
            to as many samples of output. It may be called with any ``n``.

        Raises
        ------
        UsageError
            For a sample rate that the enhancer does not have.
        """

    def enhance(self, signal, sample_rate):
        """See ``SignalPreEnhancer``."""
        stream = self.open(sample_rate)
        given = nn.functional.pad(signal, (0, self.delay))
        return stream(given)[self.delay :]


class Framed:
    """Cuts blocks of any size into frames for an enhancer that takes no others.

    Arguments
    ---------
    function : callable
        (frames, size) to (frames, size), in order, with a state.
    size : int
        Samples of a frame. The output lags behind by this less one at most; it is
        padded in front, so that the lag is always ``size``.

    Example
    -------
    >>> framed = Framed(lambda frames: 2 * frames, 3)
    >>> framed(torch.ones(2)), framed(torch.ones(5))
    (tensor([0., 0.]), tensor([0., 2., 2., 2., 2.]))
    """

    def __init__(self, function, size):
        self.function, self.size = function, size
        self._waiting = torch.zeros(0)
        self._ready = torch.zeros(size)

    def __call__(self, block):
        """(n,) to (n,)."""
        waiting = torch.cat([self._waiting, block])
        whole = len(waiting) - len(waiting) % self.size
        self._waiting = waiting[whole:].clone()
        if whole:
            done = self.function(waiting[:whole].reshape(-1, self.size)).flatten()
            self._ready = torch.cat([self._ready, done])
        result, rest = self._ready[: len(block)], self._ready[len(block) :]
        self._ready = rest.clone()
        return result
