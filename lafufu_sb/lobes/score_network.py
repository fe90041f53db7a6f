"""The contract of the networks that samplers call."""

from abc import ABC, abstractmethod
from functools import partial

from torch import nn


class ScoreNetwork(nn.Module, ABC):
    """Network of the diffused state, a condition and a time. Knows no process.

    Attributes
    ----------
    grid : int
        Height and columns of the latent must be multiples of it.
    computes_in_weight_dtype : bool
        Whether the network casts its input to the dtype and memory layout of its
        weights and its output back. Inference copies then hold weights in the wanted
        precision. Other networks compute under autocast.
    compiled_functions : tuple of str
        Methods that are compiled where compilation is asked for.
    fixed_precision : str or None
        The only precision that it computes in, such as "fp32" for ONNX graphs.
    """

    grid = 1
    computes_in_weight_dtype = False
    compiled_functions = ()
    fixed_precision = None

    @abstractmethod
    def forward(self, x_t, condition, t):
        """Raw output, which an objective turns into a score or a clean latent.

        Arguments
        ---------
        x_t : torch.Tensor
            Diffused state, (batch, channels, height, columns).
        condition : torch.Tensor or None
            The encoded inputs that the YAML names, side by side along the channels:
            (batch, names * channels, height, columns). None for ``condition: []``.
        t : torch.Tensor
            (batch,), greater than 0.

        Returns
        -------
        torch.Tensor
            Shape and dtype of ``x_t``.
        """

    def bind(self, condition, memo=None):
        """Fix the condition of a window. Override it to do its part of the work once.

        Arguments
        ---------
        condition : torch.Tensor or None
            See ``forward``.
        memo : dict, optional
            Lives as long as the weights stay the same. May keep what does not depend
            on the condition.

        Returns
        -------
        callable
            ``network(x_t, t)``.
        """
        return partial(_call, self, condition)


def _call(network, condition, x_t, t):
    return network(x_t, condition, t)
