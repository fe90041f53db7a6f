"""The contracts of pre-enhancers: a first guess before the representation's encoder."""

from abc import ABC, abstractmethod

from torch import nn


class PreEnhancer(nn.Module, ABC):
    """A module on the features of a window. It is computed in float32.

    Source of the idea: stochastic regeneration (Lemercier et al. 2023, "StoRM").
    """

    @abstractmethod
    def forward(self, features):
        """Enhanced features, the shape of ``features``."""


class SignalPreEnhancer(nn.Module, ABC):
    """An enhancer of whole signals, causal or stateful, such as DeepFilterNet3."""

    @abstractmethod
    def enhance(self, signal, sample_rate):
        """Enhance a whole signal.

        Arguments
        ---------
        signal : torch.Tensor
            (samples,), float32, on the CPU.
        sample_rate : int
            Hz.

        Returns
        -------
        torch.Tensor
            (samples,), aligned with ``signal`` to the sample.
        """
