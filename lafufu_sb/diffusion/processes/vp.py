"""Variance-preserving process (DDPM)."""

import math

import torch

from lafufu_sb.diffusion.noise import along_batch
from lafufu_sb.diffusion.processes.base import SDE
from lafufu_sb.diffusion.registry import register_process
from lafufu_sb.errors import UsageError, one_of, real_number

SCHEDULES = ("cosine", "linear")


@register_process
class VP(SDE):
    """Variance-preserving process: from the data to noise, whatever ``y`` is.

    ``dx = -beta(t) / 2 x dt + sqrt(beta(t)) dw``, so that ``x_t = a x_0 + std z`` with
    ``a**2 + std**2 = 1``: the continuous form of DDPM (Ho et al. 2020; Song et al.
    2021). ``y`` enters as the condition of the network. Samplers start at
    ``a y + std z``, which is noise at ``t_max``. From an earlier ``t_start`` the noise
    hides the difference between ``x_0`` and ``y`` in part only (SDEdit, Meng et al.
    2022).

    Arguments
    ---------
    schedule : str
        "cosine" (Nichol & Dhariwal 2021): ``a = cos(phi(t)) / cos(phi(0))`` with
        ``phi = pi / 2 (t + s) / (1 + s)``; its ``beta`` is infinite at 1. "linear":
        ``beta`` rises from ``beta_min`` to ``beta_max``.
    offset : float
        ``s`` of the cosine schedule.
    beta_min, beta_max : float
        Ends of the linear schedule, per unit of time. The defaults are the published
        ones, 1e-4 and 0.02 in each of 1000 steps.
    t_eps : float
        Smallest time of training and sampling.
    t_max : float
        Largest time; below 1 for "cosine".
    noise_variance : float
        Variance of the noise per real channel: that of the data, if the variance of
        ``x_t`` shall stay the same.

    Example
    -------
    >>> weights = VP().data_weight(torch.tensor([0.25, 0.5]))
    >>> [round(float(a) ** 2, 4) for a in weights]
    [0.847, 0.4938]
    """

    def __init__(
        self,
        *,
        schedule="cosine",
        offset=0.008,
        beta_min=0.1,
        beta_max=20.0,
        t_eps=0.001,
        t_max=0.999,
        noise_variance=1.0,
    ):
        self.schedule = one_of("schedule", schedule, SCHEDULES)
        self.offset = real_number("offset", offset, 0, 1)
        self.beta_min = real_number("beta_min", beta_min, 1e-9, 1e3)
        self.beta_max = real_number("beta_max", beta_max, beta_min, 1e3)
        self.t_eps = real_number("t_eps", t_eps, 1e-9, 0.5)
        self.t_max = real_number("t_max", t_max, 0.5, 1)
        if schedule == "cosine" and self.t_max > 0.9999:
            raise UsageError(
                f"the cosine schedule ends below 1, where nothing of the data is left: "
                f"set t_max to 0.999, got {t_max}"
            )
        self.noise_variance = real_number("noise_variance", noise_variance, 0, 1e3)

    def beta(self, t):
        """``-d log(a**2) / dt``, (batch,)."""
        if self.schedule == "cosine":
            return math.pi / (1 + self.offset) * torch.tan(self._angle(t))
        return self.beta_min + (self.beta_max - self.beta_min) * t

    def drift(self, x, y, t):
        """``-beta(t) / 2 x``."""
        return -0.5 * along_batch(self.beta(t), x) * x

    def diffusion(self, t):
        """``g(t) = sqrt(beta(t))``, (batch,)."""
        return self.beta(t).sqrt()

    def data_weight(self, t):
        """``a(t)``, (batch,)."""
        if self.schedule == "cosine":
            return torch.cos(self._angle(t)) / math.cos(self._angle(0.0))
        return torch.exp(-0.5 * self._total(t))

    def end_weight(self, t):
        """Zero, (batch,): ``y`` is no part of the state."""
        return torch.zeros_like(t)

    def std(self, t):
        """``sqrt(1 - a(t)**2)``, without its cancellation at small times, (batch,)."""
        if self.schedule == "cosine":
            start, angle = self._angle(0.0), self._angle(t)
            product = torch.sin(angle - start) * torch.sin(angle + start)
            return product.sqrt() / math.cos(start)
        return (-torch.expm1(-self._total(t))).sqrt()

    def noise_level(self, t):
        """``std / a``, the deviation of the noise on data of full size, (batch,)."""
        return self.std(t) / self.data_weight(t)

    def _angle(self, t):
        return math.pi / 2 * (t + self.offset) / (1 + self.offset)

    def _total(self, t):
        """Integral of ``beta`` from 0 to ``t``, linear schedule."""
        return t * (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * t)
