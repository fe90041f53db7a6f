"""What a network is trained to estimate.

An objective turns the raw network into the ``estimate(x_t, t)`` that samplers call,
and into a loss. The loss is a sum over elements per item, as in SGMSE+ (its size
therefore depends on the crop; Adam does not mind).
"""

from collections import namedtuple

import torch

from .sde import along_batch

Loss = namedtuple("Loss", ["per_item", "t"])
Loss.__doc__ = """A loss per item of the batch, and the diffusion time of each.

per_item : torch.Tensor
    (batch,)
t : torch.Tensor
    (batch,)
"""


class _Objective:
    """Draw a time, perturb, estimate, compare."""

    def __call__(self, network, sde, x0, y, generator=None):
        """Loss of a batch.

        Arguments
        ---------
        network : callable
            ``network(x_t, y, t)``.
        sde : OUVESDE or SchroedingerBridge
            The process.
        x0, y : torch.Tensor
            Clean and distorted latents, (batch, channels, height, width).
        generator : torch.Generator, optional
            Source of times and noise.

        Returns
        -------
        Loss
        """
        device = x0.device if generator is None else generator.device
        uniform = torch.rand(x0.shape[0], generator=generator, device=device)
        t = (sde.t_eps + (sde.t_max - sde.t_eps) * uniform).to(x0.device)
        z = sde.noise(x0, generator)
        x_t = sde.perturb(x0, y, t, z)
        error = self.error(self.estimate(network, x_t, y, t), sde, x0, t, z)
        return Loss(0.5 * error.float().square().flatten(1).sum(dim=1), t)


class ScoreMatching(_Objective):
    """Denoising score matching: ``|sigma(t) score + z|**2`` (SGMSE+, eq. 21)."""

    @staticmethod
    def estimate(network, x_t, y, t):
        """The score. The minus sign is the convention of the published weights."""
        return -network(x_t, y, t).float()

    @staticmethod
    def error(score, sde, x0, t, z):
        """Zero where the score is right."""
        return along_batch(sde.std(t), z) * score + z


class DataPrediction(_Objective):
    """The network estimates ``x_0`` as a change of the distorted ``y``.

    With a near-zero last layer an untrained network returns ``y``: training starts
    from "leave it as it is" instead of from noise.
    """

    @staticmethod
    def estimate(network, x_t, y, t):
        """The clean latent."""
        return y + network(x_t, y, t).float()

    @staticmethod
    def error(x0_hat, sde, x0, t, z):
        """Zero where the estimate is right."""
        return x0_hat - x0
