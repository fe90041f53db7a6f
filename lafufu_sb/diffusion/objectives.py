"""What a network is trained to estimate.

An objective turns the raw network into the ``estimate(x_t, t)`` that samplers call,
and into a loss. The loss is a sum over elements per item, as in SGMSE+ (its size
therefore depends on the crop; Adam does not mind). Beside what the network
``estimates``, an objective says what its loss ``compares``: "data", so that the
estimate may be decoded and judged in the spectrogram too, or the "score".
"""

from collections import namedtuple

import torch

from lafufu_sb.diffusion.sde import along_batch

Loss = namedtuple("Loss", ["per_item", "t", "estimate"])
Loss.__doc__ = """A loss per item of the batch, and what it was taken of.

per_item : torch.Tensor
    (batch,)
t : torch.Tensor or None
    (batch,), the diffusion time of each; None for a loss of the whole way.
estimate : torch.Tensor
    (batch, channels, height, width), of what the objective ``compares``.
"""


def half_energy(error):
    """Half the sum of squares of each item, (batch,)."""
    return 0.5 * error.float().square().flatten(1).sum(dim=1)


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
        return Loss(half_energy(self.error(estimate, sde, x0, t, z)), t, estimate)


class ScoreMatching(_Objective):
    """Denoising score matching: ``|sigma(t) score + z|**2`` (SGMSE+, eq. 21)."""

    estimates = compares = "score"

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

    estimates = compares = "data"

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


class FewStepCorrection:
    """The sampler's result against the clean latent, through its last call.

    Second stage of CRP (Lay et al. 2024, "Single and few-step diffusion for generative
    speech enhancement"): a trained network makes the whole way from ``y`` in the few
    steps it will be used with, and learns to end at ``x_0`` in spite of what
    discretisation and its own earlier calls did. The way is not simulated here: it is
    the sampler of inference itself, for whatever process and options it has.

    Arguments
    ---------
    objective : ScoreMatching or DataPrediction
        What the network was trained with, and estimates still.
    sampler : callable
        ``sampler(estimate, y, generator=None)`` with its number of ``calls``, as
        ``get_sampler`` gives it and ``Restorer.sampler`` holds it.

    Attributes
    ----------
    calls : int
        Network calls of the sampler; all but the last are made without gradient.

    Example
    -------
    >>> from lafufu_sb.diffusion.samplers import get_sampler
    >>> from lafufu_sb.diffusion.sde import OUVESDE
    >>> sde = OUVESDE()
    >>> sampler = get_sampler("predictor_corrector", sde, num_steps=3, corrector="none")
    >>> objective = FewStepCorrection(ScoreMatching(), sampler)
    >>> objective.calls
    3
    >>> x0, y = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    >>> objective(lambda x_t, y, t: x_t - y, sde, x0, y).per_item.shape
    torch.Size([2])
    """

    compares = "data"

    def __init__(self, objective, sampler):
        self.objective = objective
        self.estimates = objective.estimates
        self.sampler = sampler
        self.calls = sampler.calls

    def estimate(self, network, x_t, y, t):
        """That of the wrapped objective."""
        return self.objective.estimate(network, x_t, y, t)

    def __call__(self, network, sde, x0, y, generator=None):
        """Loss of a batch.

        Arguments
        ---------
        network : callable
            ``network(x_t, y, t)``.
        sde : OUVESDE or SchroedingerBridge
            Not used: the sampler has it.
        x0, y : torch.Tensor
            Clean and distorted latents, (batch, channels, height, width).
        generator : torch.Generator, optional
            Source of the sampler's noise.

        Returns
        -------
        Loss
            Its estimate is the sampler's result.

        Raises
        ------
        RuntimeError
            If the sampler made another number of calls than ``calls``.
        """
        made = 0

        def estimate(x_t, t):
            nonlocal made
            made += 1
            if made == self.calls:
                return self.objective.estimate(network, x_t, y, t)
            with torch.no_grad():
                result = self.objective.estimate(network, x_t, y, t)
            # Before torch 2.11 autocast kept the weights that it cast here, and the
            # last call would have had no gradient through them.
            torch.clear_autocast_cache()
            return result

        result = self.sampler(estimate, y, generator=generator)
        if made != self.calls:
            raise RuntimeError(
                f"the sampler made {made} calls instead of {self.calls}: the few-step "
                "stage needs one whose calls do not depend on what it sees"
            )
        return Loss(half_energy(result - x0), None, result)
