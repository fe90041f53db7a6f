"""Schroedinger bridge with exploding variance."""

import math

import torch

from lafufu_sb.diffusion.processes.base import Process
from lafufu_sb.diffusion.registry import register_process
from lafufu_sb.errors import UsageError, real_number


@register_process
class SchroedingerBridge(Process):
    """Schroedinger bridge with exploding variance (Jukic et al. 2024).

    Starts at exactly ``y`` and ends at exactly ``x_0``: ``f = 0``,
    ``g(t) = sqrt(c) k**t``.

    Arguments
    ---------
    k, c : float
        Base and scale of the noise schedule.
    t_eps : float
        Smallest time of training and sampling.
    noise_variance : float
        Variance of the noise per real channel.

    Example
    -------
    >>> bridge = SchroedingerBridge()
    >>> [round(float(s), 4) for s in bridge.std(torch.tensor([0.1, 0.5, 1.0]))]
    [0.2061, 0.4918, 0.0]
    """

    def __init__(self, *, k=2.6, c=0.4, t_eps=1e-4, noise_variance=0.5):
        self.k = real_number("k", k, 1e-3, 1e3)
        if k == 1:
            raise UsageError("k must differ from 1, at which the schedule is flat")
        self.c = real_number("c", c, 1e-9, 1e9)
        self.t_eps = real_number("t_eps", t_eps, 1e-9, 0.5)
        self.noise_variance = real_number("noise_variance", noise_variance, 0, 1e3)

    def variances(self, t):
        """``sigma_t**2`` grown since 0, and what is left until 1; (batch,) each."""
        # With expm1 both are exact at their zero, where the difference of two large
        # numbers would leave a rest.
        rate = 2 * math.log(self.k)
        since = self.c * torch.expm1(rate * t) / rate
        left = self.c * torch.exp(rate * t) * torch.expm1(rate * (1 - t)) / rate
        return since, left

    def data_weight(self, t):
        """Share of the variance that is left, (batch,)."""
        since, left = self.variances(t)
        return left / (since + left)

    def std(self, t):
        """Standard deviation of ``x_t`` given both ends, (batch,)."""
        since, left = self.variances(t)
        return (since * left / (since + left)).sqrt()

    def noise_level(self, t):
        """``sigma_t``, which rises with time as ``std`` does not, (batch,)."""
        return self.variances(t)[0].sqrt()

    def half_log_snr(self, t):
        """``log(a / std)``, (batch,); minus infinity at 1."""
        since, left = self.variances(t)
        return 0.5 * (left.log() - since.log() - (since + left).log())

    def prior(self, mean, generator=None, t_start=None):
        """The mean itself, without noise: a bridge starts at 1 and nowhere else.

        Raises
        ------
        UsageError
            For another ``t_start`` than 1.
        """
        if t_start not in (None, self.t_max):
            raise UsageError(f"a bridge starts at {self.t_max}, t_start is {t_start}")
        return mean
