"""Brownian bridge with exponential diffusion (BBED)."""

import math

import numpy as np
import torch

from lafufu_sb.diffusion.noise import along_batch
from lafufu_sb.diffusion.processes.base import SDE
from lafufu_sb.diffusion.registry import register_process
from lafufu_sb.errors import UsageError, real_number

# Gauss-Legendre on [-1, 1]: eight nodes leave a relative error of the deviation of
# 6e-6 in single precision.
NODES, WEIGHTS = (v.tolist() for v in np.polynomial.legendre.leggauss(8))


@register_process
class BBED(SDE):
    """Brownian bridge with exponential diffusion (Lay et al. 2023, arXiv 2302.14748).

    ``dx = (y - x) / (1 - t) dt + sqrt(c) k**t dw``: the mean is ``(1 - t) x_0 + t y``,
    and the noise, largest near 0.7, falls to zero at 1. The drift is infinite there, so
    the process ends at ``t_max``. ``prior`` ignores ``1 - t_start`` of ``x_0 - y``:
    0.001 by default, half of it at ``t_start`` 0.5, where the published sampler takes
    15 steps.

    Arguments
    ---------
    k, c : float
        Base and scale of the noise schedule.
    t_eps : float
        Smallest time of training and sampling.
    t_max : float
        Largest time, below 1.
    noise_variance : float
        Variance of the noise per real channel.

    Example
    -------
    >>> process = BBED(c=0.52)
    >>> [round(float(s), 4) for s in process.std(torch.tensor([0.03, 0.5, 0.999]))]
    [0.1248, 0.4917, 0.0589]
    """

    def __init__(self, *, k=2.6, c=0.51, t_eps=0.03, t_max=0.999, noise_variance=0.5):
        self.k = real_number("k", k, 1e-3, 1e3)
        self.c = real_number("c", c, 1e-9, 1e9)
        self.t_eps = real_number("t_eps", t_eps, 1e-9, 0.5)
        self.t_max = real_number("t_max", t_max, 0.5, 0.9999)
        if not self.t_eps < self.t_max:
            raise UsageError(f"t_max must exceed t_eps, got {t_max}")
        self.noise_variance = real_number("noise_variance", noise_variance, 0, 1e3)

    def drift(self, x, y, t):
        """``(y - x) / (1 - t)``."""
        return (y - x) / along_batch(1 - t, x)

    def diffusion(self, t):
        """``g(t) = sqrt(c) k**t``, (batch,)."""
        return math.sqrt(self.c) * torch.exp(math.log(self.k) * t)

    def data_weight(self, t):
        """``1 - t``, (batch,)."""
        return 1 - t

    def std(self, t):
        """Standard deviation of ``x_t`` given both ends, (batch,).

        The square is ``(1 - t)**2 c`` times the integral of ``k**(2 s) / (1 - s)**2``
        from 0 to ``t``. The paper gives it by exponential integrals. With
        ``s = 1 - exp(-v)`` the integrand is smooth up to the end of the bridge, and
        quadrature is differentiable and runs on any device.
        """
        end = -torch.log1p(-t)[..., None]
        v = end * (1 + t.new_tensor(NODES)) / 2
        growth = -2 * math.log(self.k) * torch.expm1(-v)
        integral = (torch.exp(v - end + growth) * t.new_tensor(WEIGHTS)).sum(dim=-1)
        return ((1 - t) * self.c * end[..., 0] / 2 * integral).sqrt()

    def noise_level(self, t):
        """``std / (1 - t)``, which rises with time as ``std`` does not, (batch,)."""
        return self.std(t) / (1 - t)
