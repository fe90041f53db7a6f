"""The contract of a training objective."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch

from lafufu_sb.diffusion.processes.base import Process


class Loss(NamedTuple):
    """Losses of a batch, and what they were taken of.

    per_item : torch.Tensor
        (batch,)
    t : torch.Tensor or None
        (batch,), the diffusion time of each item; None for a loss of the whole
        reverse process.
    estimate : torch.Tensor
        (batch, channels, ...), of what the objective ``compares``.
    """

    per_item: torch.Tensor
    t: torch.Tensor | None
    estimate: torch.Tensor


def half_energy(error):
    """Half the sum of squares of each item, (batch,)."""
    return 0.5 * error.float().square().flatten(1).sum(dim=1)


class Objective(ABC):
    """Turns a raw network into the estimate that samplers call, and into a loss.

    A training step draws a time, perturbs the clean latent, estimates and compares. The
    loss is a sum over the elements of an item, as in SGMSE+: its size depends on the
    crop, which Adam does not mind. A subclass is registered with
    ``@register_objective``. The ``network`` that it gets is ``network(x_t, t)``, with
    its condition already bound.

    Attributes
    ----------
    estimates : str
        What ``estimate`` returns, "score" or "data". Where the process ``has_score``,
        ``get_sampler`` converts it to what a sampler asks for.
    compares : str
        What the loss compares, "score" or "data". A decoded loss needs "data".
    processes : tuple of type
        Process classes that the objective fits; subclasses fit too.
    """

    estimates = "data"
    compares = "data"
    processes = (Process,)

    def times(self, process, uniform):
        """Diffusion times for numbers uniform in [0, 1), (batch,) each."""
        return process.t_eps + (process.t_max - process.t_eps) * uniform

    @abstractmethod
    def estimate(self, network, process, x_t, mean, t):
        """Estimate from a state.

        Arguments
        ---------
        network : callable
            ``network(x_t, t)``.
        process : Process
            The process.
        x_t, mean : torch.Tensor
            State, and the end of the process: (batch, channels, ...).
        t : torch.Tensor
            (batch,)

        Returns
        -------
        torch.Tensor
            float32, the shape of ``x_t``.
        """

    def distance(self, error):
        """Loss of each item from its error, (batch,): half the sum of squares."""
        return half_energy(error)

    @abstractmethod
    def error(self, estimate, process, x0, t, z):
        """Tensor that is zero where the estimate is right, the shape of ``x0``."""

    def __call__(self, network, process, x0, mean, generator=None):
        """Loss of a batch.

        Arguments
        ---------
        network : callable
            ``network(x_t, t)``.
        process : Process
            The process.
        x0, mean : torch.Tensor
            Clean latents and the end of the process, (batch, channels, ...).
        generator : torch.Generator, optional
            Source of times and noise.

        Returns
        -------
        Loss
        """
        device = x0.device if generator is None else generator.device
        uniform = torch.rand(x0.shape[0], generator=generator, device=device)
        t = self.times(process, uniform).to(x0.device)
        z = process.noise(x0, generator)
        x_t = process.perturb(x0, mean, t, z)
        estimate = self.estimate(network, process, x_t, mean, t)
        error = self.error(estimate, process, x0, t, z)
        return Loss(self.distance(error), t, estimate)
