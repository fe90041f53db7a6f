"""What a network is trained to estimate.

An objective turns the raw network into the ``estimate(x_t, t)`` that samplers call,
and into a loss. The loss is a sum over elements per item, as in SGMSE+ (its size
therefore depends on the crop; Adam does not mind).
"""

from collections import namedtuple

import torch

from .sde import along_batch

Loss = namedtuple("Loss", ["per_item", "t", "estimate"])
Loss.__doc__ = """A loss per item of the batch, and what it was taken of.

per_item : torch.Tensor
    (batch,)
t : torch.Tensor
    (batch,), the diffusion time of each.
estimate : torch.Tensor
    (batch, channels, height, width), of what the objective ``estimates``.
"""


class _Objective:
    """Draw a time, perturb, estimate, compare."""

    def times(self, sde, uniform):
        """Diffusion times for numbers uniform in [0, 1), (batch,) each."""
        return sde.t_eps + (sde.t_max - sde.t_eps) * uniform

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
        t = self.times(sde, uniform).to(x0.device)
        z = sde.noise(x0, generator)
        x_t = sde.perturb(x0, y, t, z)
        estimate = self.estimate(network, x_t, y, t)
        error = self.error(estimate, sde, x0, t, z)
        return Loss(0.5 * error.float().square().flatten(1).sum(dim=1), t, estimate)


class ScoreMatching(_Objective):
    """Denoising score matching: ``|sigma(t) score + z|**2`` (SGMSE+, eq. 21)."""

    estimates = "score"

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

    Arguments
    ---------
    prior_share : float
        Fraction of the training items whose time is ``t_max``, below one. A bridge
        sampler's first call is made there, with nothing but ``y`` to see: the hardest
        call, which a uniform draw of times almost never trains.

    Example
    -------
    >>> from lafufu_sb.diffusion.sde import SchroedingerBridge
    >>> uniform = torch.tensor([0.0, 0.25, 0.5, 0.9])
    >>> DataPrediction(prior_share=0.5).times(SchroedingerBridge(), uniform)
    tensor([1.0000e-04, 5.0005e-01, 1.0000e+00, 1.0000e+00])
    """

    estimates = "data"

    def __init__(self, prior_share=0.0):
        if not 0 <= prior_share < 1:
            raise ValueError(f"prior_share lies in [0, 1), got {prior_share}")
        self.prior_share = prior_share

    def times(self, sde, uniform):
        """Uniform times, and ``t_max`` for the upper ``prior_share`` of the draws."""
        return super().times(sde, (uniform / (1 - self.prior_share)).clamp(max=1.0))

    @staticmethod
    def estimate(network, x_t, y, t):
        """The clean latent."""
        return y + network(x_t, y, t).float()

    @staticmethod
    def error(x0_hat, sde, x0, t, z):
        """Zero where the estimate is right."""
        return x0_hat - x0
