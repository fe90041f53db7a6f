"""Samplers of the OUVE process; see ``samplers`` for what they share."""

import torch

from lafufu_sb.diffusion.sde import along_batch
from lafufu_sb.diffusion.steps import check_choice, extrapolate, time_grid


def predictor_corrector(
    estimate,
    sde,
    y,
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
    ValueError
        For another corrector or spacing, or a ``t_start`` outside the process.

    (The other arguments: see ``lafufu_sb.diffusion.samplers``.)
    """
    check_choice("corrector", corrector, ("ald", "none"))
    times = time_grid(sde, num_steps, spacing=spacing, t_start=t_start, device=y.device)
    x = sde.prior(y, generator, t_start)
    steps = torch.cat([times[:-1] - times[1:], times[-1:]])  # the last one goes to 0
    for time, dt in zip(times, steps, strict=True):
        t = time.expand(y.shape[0])
        if corrector == "ald":
            size = along_batch(2 * (snr * sde.std(t)).square(), x)
            z = sde.noise(x, generator)
            x = x + size * estimate(x, t) + (2 * size).sqrt() * z
        g2 = along_batch(sde.diffusion(t).square(), x)
        mean = x - (sde.drift(x, y, t) - g2 * estimate(x, t)) * dt
        x = mean + (g2 * dt).sqrt() * sde.noise(x, generator)
    return mean


def probability_flow(
    estimate,
    sde,
    y,
    *,
    num_steps=30,
    generator=None,
    method="heun",
    spacing="uniform",
    t_start=None,
):
    """Probability-flow ODE from ``t_start`` to ``t_eps``, then one step to 0.

    Deterministic but for the draw of the prior. ``num_steps`` calls of ``estimate``,
    but for Heun, which makes ``2 * num_steps - 1``.

    Arguments
    ---------
    method : str
        "euler" (first order) and "heun" (second order) take steps of the ODE as it
        stands and end with a predictor step to 0. "exponential" and "multistep" solve
        all but the network exactly and end at the last estimate of ``x_0``: the first
        takes the estimate as constant over a step (first order, DDIM), the second
        extrapolates the last two (second order, DPM-Solver++(2M), Lu et al. 2022).

    Raises
    ------
    ValueError
        For another method or spacing, or a ``t_start`` outside the process.

    (The other arguments: see ``lafufu_sb.diffusion.samplers``.)
    """
    check_choice("method", method, ("euler", "heun", "exponential", "multistep"))
    times = time_grid(sde, num_steps, spacing=spacing, t_start=t_start, device=y.device)
    x = sde.prior(y, generator, t_start)
    if method in ("exponential", "multistep"):
        return _exponential_flow(estimate, sde, x, y, times, method == "multistep")

    def slope(x, t):
        half_g2 = 0.5 * along_batch(sde.diffusion(t).square(), x)
        return sde.drift(x, y, t) - half_g2 * estimate(x, t)

    for now, following in zip(times[:-1], times[1:], strict=True):
        dt = now - following
        k1 = slope(x, now.expand(y.shape[0]))
        euler = x - dt * k1
        if method == "euler":
            x = euler
        else:
            k2 = slope(euler, following.expand(y.shape[0]))
            x = x - 0.5 * dt * (k1 + k2)
    # The noise that is left at t_eps goes in the way the predictor removes it: with
    # the whole g^2, so that no half of it stays.
    t = times[-1].expand(y.shape[0])
    g2 = along_batch(sde.diffusion(t).square(), x)
    return x - times[-1] * (sde.drift(x, y, t) - g2 * estimate(x, t))


def _exponential_flow(estimate, sde, x, y, times, multistep):
    """Steps that are exact for a constant estimate of ``x_0``.

    With ``x_t = a x_0 + (1 - a) y + sigma z`` the flow is ``d((x - (1 - a) y) / sigma)
    = x_0 d(a / sigma)``: see docs/method.md.
    """
    last = None
    for i, now in enumerate(times):
        a, sigma = sde.data_weight(now), sde.std(now)
        score = estimate(x, now.expand(y.shape[0]))
        x0_hat = (x - (1 - a) * y + sigma.square() * score) / a  # Tweedie's formula
        if i == len(times) - 1:
            return x0_hat
        following = times[i + 1]
        data = extrapolate(sde, x0_hat, now, following, last) if multistep else x0_hat
        last = now, x0_hat
        a_next, keep = sde.data_weight(following), sde.std(following) / sigma
        to_data, to_prior = a_next - keep * a, (1 - a_next) - keep * (1 - a)
        x = keep * x + to_data * data + to_prior * y
