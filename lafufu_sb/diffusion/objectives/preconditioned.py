"""Data prediction with a preconditioned network (EDM)."""

import torch

from lafufu_sb.diffusion.noise import along_batch
from lafufu_sb.diffusion.objectives.data_prediction import DataPrediction
from lafufu_sb.diffusion.registry import register_objective
from lafufu_sb.errors import one_of, real_number


@register_objective
class PreconditionedPrediction(DataPrediction):
    """``x0_hat = c_skip x_t + c_out network(c_in x_t, t)``, of unit variances.

    With ``y = x_0 + n`` the state is ``(a + b) x_0 + b n + std z``. From the deviations
    of ``x_0`` and ``n`` follow the factors with which the network's input and its
    target have unit variance. The loss is the squared error of the network's output, so
    that no time outweighs another. Sources: Karras et al. 2022 (EDM), which is the case
    ``a = 1``, ``b = 0``; for the bridge Richter et al. 2026 (EDM2SE, arXiv 2505.05216),
    whose learned weights of the times are not included. The network is told ``t`` and
    not ``log(std) / 4``, which is minus infinity where a bridge starts.

    Arguments
    ---------
    sigma_clean : float
        Standard deviation of ``x_0``: a recipe's ``latent_std`` if that is set.
    sigma_noise : float
        Standard deviation of ``y - x_0``.
    skip : str
        "optimal": the ``c_skip`` that leaves the network least to estimate (EDM).
        "one": the network estimates ``x_0 - x_t`` (EDM2SE).
    prior_share : float
        See ``DataPrediction``.

    Raises
    ------
    UsageError
        For another ``skip`` or numbers out of range.

    Example
    -------
    >>> import torch
    >>> from lafufu_sb.diffusion.processes import SchroedingerBridge
    >>> objective = PreconditionedPrediction(0.402, 0.342, skip="one")
    >>> bridge = SchroedingerBridge(noise_variance=1.0)
    >>> c_skip, c_out, c_in = objective.factors(bridge, torch.tensor([0.25, 1.0]))
    >>> [round(float(c), 4) for c in c_out]
    [0.3404, 0.342]
    """

    def __init__(self, sigma_clean, sigma_noise, skip="optimal", prior_share=0.0):
        super().__init__(prior_share)
        self.sigma_clean = real_number("sigma_clean", sigma_clean, 1e-6, 1e6)
        self.sigma_noise = real_number("sigma_noise", sigma_noise, 1e-6, 1e6)
        self.skip = one_of("skip", skip, ("optimal", "one"))

    def factors(self, process, t):
        """``c_skip``, ``c_out`` and ``c_in``, (batch,) each."""
        a, b = process.data_weight(t), process.end_weight(t)
        clean = self.sigma_clean**2
        disturbance = (b * self.sigma_noise).square()
        disturbance = disturbance + process.noise_variance * process.std(t).square()
        state = (a + b).square() * clean + disturbance
        if self.skip == "one":
            target = (1 - a - b).square() * clean + disturbance
            return torch.ones_like(t), target.sqrt(), state.rsqrt()
        target = clean * disturbance / state
        return (a + b) * clean / state, target.sqrt(), state.rsqrt()

    def estimate(self, network, process, x_t, mean, t):
        """The clean latent."""
        c_skip, c_out, c_in = (along_batch(c, x_t) for c in self.factors(process, t))
        return c_skip * x_t + c_out * network(c_in * x_t, t).float()

    def error(self, estimate, process, x0, t, z):
        """Error of the network's output, the shape of ``x0``."""
        return (estimate - x0) / along_batch(self.factors(process, t)[1], x0)
