"""Ornstein-Uhlenbeck process with exploding variance (SGMSE+)."""

import math

import torch

from lafufu_sb.diffusion.processes.base import SDE
from lafufu_sb.diffusion.registry import register_process
from lafufu_sb.errors import UsageError, real_number


@register_process
class OUVESDE(SDE):
    """Ornstein-Uhlenbeck process with exploding variance (SGMSE+, eq. 10-13).

    ``prior`` starts at ``y + sigma(t_start) z``. The true mean there also holds
    ``exp(-theta t_start) (x_0 - y)``, which is unknown at that point and which the
    published sampler ignores: 0.14 of the difference at 1, 0.37 at 0.5 (theta 2).

    Arguments
    ---------
    theta : float
        Stiffness: how fast the mean moves from ``x_0`` to ``y``.
    sigma_min, sigma_max : float
        Ends of the noise schedule.
    t_eps : float
        Smallest time of training and sampling.
    noise_variance : float
        Variance of the noise per real channel.

    Example
    -------
    >>> process = OUVESDE()
    >>> [round(float(s), 4) for s in process.std(torch.tensor([0.03, 0.5, 1.0]))]
    [0.0374, 0.2298, 0.7315]
    """

    def __init__(
        self,
        *,
        theta=2.0,
        sigma_min=0.1,
        sigma_max=1.0,
        t_eps=0.03,
        noise_variance=0.5,
    ):
        self.theta = real_number("theta", theta, 0, 1e3)
        self.sigma_min = real_number("sigma_min", sigma_min, 1e-9, 1e6)
        self.sigma_max = real_number("sigma_max", sigma_max, 1e-9, 1e6)
        if not sigma_min < sigma_max:
            raise UsageError(f"sigma_max must exceed sigma_min, got {sigma_max}")
        self.t_eps = real_number("t_eps", t_eps, 1e-9, 0.5)
        self.noise_variance = real_number("noise_variance", noise_variance, 0, 1e3)
        self._log_ratio = math.log(sigma_max / sigma_min)

    def drift(self, x, y, t):
        """``theta (y - x)``."""
        return self.theta * (y - x)

    def diffusion(self, t):
        """``g(t)``, (batch,)."""
        return (
            self.sigma_min
            * torch.exp(self._log_ratio * t)
            * math.sqrt(2 * self._log_ratio)
        )

    def data_weight(self, t):
        """``exp(-theta t)``, (batch,)."""
        return torch.exp(-self.theta * t)

    def std(self, t):
        """``sigma(t)``, (batch,)."""
        rate = self.theta + self._log_ratio
        variance = (
            self.sigma_min**2
            * torch.exp(-2 * self.theta * t)
            * torch.expm1(2 * rate * t)
            * self._log_ratio
            / rate
        )
        return variance.sqrt()

    def half_log_snr(self, t):
        """``log(a / sigma)``, (batch,)."""
        return -self.theta * t - self.std(t).log()
