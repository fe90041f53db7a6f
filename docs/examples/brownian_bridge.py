"""A Brownian bridge between clean and distorted speech, and its sampler."""

import torch

from lafufu_sb.diffusion.noise import along_batch
from lafufu_sb.diffusion.processes import Process
from lafufu_sb.diffusion.registry import register_process, register_sampler
from lafufu_sb.diffusion.samplers.steps import time_grid


@register_process
class BrownianBridge(Process):
    """``x_t = (1 - t) x_0 + t y + sigma sqrt(t (1 - t)) z``.

    Arguments
    ---------
    sigma : float
        Scale of the noise, which is largest at t = 0.5.
    """

    def __init__(self, *, sigma=1.0):
        self.sigma = sigma

    def data_weight(self, t):
        """``1 - t``, (batch,)."""
        return 1 - t

    def std(self, t):
        """``sigma sqrt(t (1 - t))``, (batch,)."""
        return self.sigma * (t * (1 - t)).sqrt()

    def noise_level(self, t):
        """``sigma sqrt(t)``, which rises with time as ``std`` does not, (batch,)."""
        return self.sigma * t.sqrt()


@register_sampler(BrownianBridge, estimates="data")
def brownian_walk(
    estimate, process, mean, *, num_steps=4, generator=None, spacing="uniform"
):
    """Walk from ``y`` to ``x_0`` in ``num_steps`` calls.

    Given ``x_0`` and ``x_t``, the path before ``t`` does not depend on ``y``. It is a
    Brownian bridge from ``x_0`` to ``x_t``: for ``s < t``,
    ``x_s = x_0 + s/t (x_t - x_0) + sigma sqrt(s (t - s) / t) z``.
    """
    times = time_grid(process, num_steps + 1, spacing=spacing, device=mean.device)
    x = process.prior(mean, generator)
    for i, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
        x0_hat = estimate(x, t.expand(mean.shape[0]))
        if i == num_steps - 1:
            return x0_hat
        std = process.sigma * (s * (t - s) / t).sqrt()
        noise = along_batch(std, x) * process.noise(x, generator)
        x = torch.lerp(x0_hat, x, s / t) + noise
