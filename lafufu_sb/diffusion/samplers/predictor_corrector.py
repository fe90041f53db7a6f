"""Predictor-corrector sampler of SGMSE+."""

import torch

from lafufu_sb.diffusion.noise import along_batch
from lafufu_sb.diffusion.processes.base import SDE
from lafufu_sb.diffusion.registry import register_sampler
from lafufu_sb.diffusion.samplers.steps import time_grid
from lafufu_sb.errors import one_of


@register_sampler(SDE, estimates="score")
def predictor_corrector(
    estimate,
    process,
    mean,
    *,
    num_steps=30,
    generator=None,
    corrector="ald",
    snr=0.5,
    spacing="uniform",
    t_start=None,
):
    """Reverse diffusion predictor and annealed Langevin corrector (SGMSE+).

    ``num_steps`` times from ``t_start`` to ``t_eps``; at each the corrector, then the
    predictor; the last predictor step goes from ``t_eps`` to 0 and its mean is
    returned. ``2 * num_steps`` calls of ``estimate``, or ``num_steps`` without
    corrector.

    Arguments
    ---------
    corrector : str
        "ald" (annealed Langevin dynamics) or "none".
    snr : float
        Relative step size of the corrector.

    Raises
    ------
    UsageError
        For another corrector or spacing, or a ``t_start`` outside the process.

    (The other arguments: see ``lafufu_sb.diffusion.samplers``.)
    """
    one_of("corrector", corrector, ("ald", "none"))
    times = time_grid(
        process, num_steps, spacing=spacing, t_start=t_start, device=mean.device
    )
    x = process.prior(mean, generator, t_start)
    steps = torch.cat([times[:-1] - times[1:], times[-1:]])  # the last one goes to 0
    for time, dt in zip(times, steps, strict=True):
        t = time.expand(mean.shape[0])
        if corrector == "ald":
            size = along_batch(2 * (snr * process.std(t)).square(), x)
            z = process.noise(x, generator)
            x = x + size * estimate(x, t) + (2 * size).sqrt() * z
        g2 = along_batch(process.diffusion(t).square(), x)
        x_mean = x - (process.drift(x, mean, t) - g2 * estimate(x, t)) * dt
        x = x_mean + (g2 * dt).sqrt() * process.noise(x, generator)
    return x_mean
