"""Ancestral sampling, from that of DDPM to that of DDIM."""

import torch

from lafufu_sb.diffusion.noise import along_batch
from lafufu_sb.diffusion.processes.base import SDE
from lafufu_sb.diffusion.registry import register_sampler
from lafufu_sb.diffusion.samplers.steps import time_grid
from lafufu_sb.errors import real_number


@register_sampler(SDE, estimates="data")
def ancestral(
    estimate,
    process,
    mean,
    *,
    num_steps=30,
    generator=None,
    eta=1.0,
    spacing="uniform",
    t_start=None,
):
    """Draws from ``x_s`` given ``x_t`` and the estimate of ``x_0``, ``s < t``.

    These are exact for an exact estimate, however long the steps (Ho et al. 2020, DDPM;
    Song et al. 2021, DDIM, eq. 12, for any linear SDE). ``num_steps`` calls. The last
    state is the last estimate itself.

    Arguments
    ---------
    eta : float
        Share of the fresh noise: 1 draws from the process, 0 draws nothing after the
        prior and is ``probability_flow`` with ``method="exponential"`` (DDIM).

    Raises
    ------
    UsageError
        For an ``eta`` outside 0 to 1, another spacing, or a ``t_start`` outside the
        process.

    (The other arguments: see ``lafufu_sb.diffusion.samplers``.)
    """
    real_number("eta", eta, 0, 1)
    times = time_grid(
        process, num_steps, spacing=spacing, t_start=t_start, device=mean.device
    )
    x = process.prior(mean, generator, t_start)
    for i, now in enumerate(times):
        x0_hat = estimate(x, now.expand(mean.shape[0]))
        if i == num_steps - 1:
            return x0_hat
        following = times[i + 1]
        # What the path from s to t leaves of the noise at s, as a share of that at t.
        lost = 2 * (process.half_log_snr(now) - process.half_log_snr(following))
        fresh = eta * (-torch.expm1(lost)).sqrt()
        z_hat = (x - process.mean(x0_hat, mean, now)) / process.std(now)
        noise = (1 - fresh.square()).sqrt() * z_hat
        if eta:
            noise = noise + fresh * process.noise(x, generator)
        std = along_batch(process.std(following), x)
        x = process.mean(x0_hat, mean, following) + std * noise
