"""Data prediction as a change of the end of the process."""

from lafufu_sb.diffusion.objectives.base import Objective
from lafufu_sb.diffusion.registry import register_objective
from lafufu_sb.errors import UsageError


@register_objective
class DataPrediction(Objective):
    """The network estimates ``x_0`` as a change of the end ``mean`` of the process.

    With a near-zero last layer an untrained network returns ``mean``: training starts
    from "leave it unchanged" instead of from noise.

    Arguments
    ---------
    prior_share : float
        Fraction of the training items whose time is ``t_max``, below one. A bridge
        sampler makes its first call there and sees nothing but ``mean``. This is the
        hardest call, and a uniform draw of times almost never trains it.

    Example
    -------
    >>> import torch
    >>> from lafufu_sb.diffusion.processes import SchroedingerBridge
    >>> uniform = torch.tensor([0.0, 0.25, 0.5, 0.9])
    >>> DataPrediction(prior_share=0.5).times(SchroedingerBridge(), uniform)
    tensor([1.0000e-04, 5.0005e-01, 1.0000e+00, 1.0000e+00])
    """

    estimates = compares = "data"

    def __init__(self, prior_share=0.0):
        if not 0 <= prior_share < 1:
            raise UsageError(f"prior_share lies in [0, 1), got {prior_share}")
        self.prior_share = prior_share

    def times(self, process, uniform):
        """Uniform times, and ``t_max`` for the upper ``prior_share`` of the draws."""
        return super().times(process, (uniform / (1 - self.prior_share)).clamp(max=1.0))

    def estimate(self, network, process, x_t, mean, t):
        """The clean latent."""
        return mean + network(x_t, t).float()

    def error(self, estimate, process, x0, t, z):
        """Difference to the clean latent."""
        return estimate - x0
