"""Deterministic samplers of the probability-flow ODE."""

import torch

from lafufu_sb.diffusion.noise import along_batch
from lafufu_sb.diffusion.processes.base import SDE
from lafufu_sb.diffusion.registry import register_sampler
from lafufu_sb.diffusion.samplers.steps import extrapolate, time_grid
from lafufu_sb.errors import UsageError, one_of

METHODS = ("euler", "heun", "exponential", "multistep")
MOST_NOISE = 1.5  # after a step of the ODE as it stands, relative to the process


@register_sampler(SDE, estimates="score")
def probability_flow(
    estimate,
    process,
    mean,
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
    UsageError
        For another method or spacing, or a ``t_start`` outside the process. For "euler"
        and "heun" also for steps after which there would be far too much noise.

    (The other arguments: see ``lafufu_sb.diffusion.samplers``.)
    """
    one_of("method", method, METHODS)
    times = time_grid(process, num_steps, spacing=spacing, t_start=t_start)
    if method in ("euler", "heun"):
        _check_noise(process, times, method)
    times = times.to(mean.device)
    x = process.prior(mean, generator, t_start)
    if method in ("exponential", "multistep"):
        return _exponential_flow(estimate, process, x, mean, times, method)

    def slope(x, t):
        """Right-hand side of the ODE."""
        half_g2 = 0.5 * along_batch(process.diffusion(t).square(), x)
        return process.drift(x, mean, t) - half_g2 * estimate(x, t)

    for now, following in zip(times[:-1], times[1:], strict=True):
        dt = now - following
        k1 = slope(x, now.expand(mean.shape[0]))
        euler = x - dt * k1
        if method == "euler":
            x = euler
        else:
            k2 = slope(euler, following.expand(mean.shape[0]))
            x = x - 0.5 * dt * (k1 + k2)
    # The predictor's step removes the noise left at t_eps: with g^2, not half of it.
    t = times[-1].expand(mean.shape[0])
    g2 = along_batch(process.diffusion(t).square(), x)
    return x - times[-1] * (process.drift(x, mean, t) - g2 * estimate(x, t))


def _check_noise(process, times, method):
    """Refuse steps of the ODE that multiply the noise.

    They occur where the process has less noise towards its end, as a Brownian bridge.
    Along the flow of a point mass the noise changes at the rate ``std' / std``, which
    is the drift's factor of ``x`` plus ``g**2 / (2 std**2)``. One step of Euler
    continues the line of the slope at its beginning.
    """
    now, following = times[:-1], times[1:]
    zeros, std = torch.zeros_like(now), process.std(times)
    factor = process.drift(zeros + 1, zeros, now) - process.drift(zeros, zeros, now)
    rate = factor + 0.5 * (process.diffusion(now) / std[:-1]).square()
    left = (1 - (now - following) * rate) * std[:-1] / std[1:]
    refused = (rate < 0) & (left > MOST_NOISE)
    if refused.any():
        step = int(refused.nonzero()[0])
        raise UsageError(
            f"method {method!r} would leave {left[step]:.1f} times the noise of the "
            f"{type(process).__name__} after its step from t = {now[step]:.3g} to "
            f"{following[step]:.3g}: use method 'exponential' or 'multistep', spacing "
            "'log_sigma', a t_start of 0.9 or less, or more steps"
        )


def _exponential_flow(estimate, process, x, mean, times, method):
    """Steps that are exact for a constant estimate of ``x_0``.

    With ``x_t = a x_0 + b y + sigma z`` the flow is ``d((x - b y) / sigma) =
    x_0 d(a / sigma)``: see docs/method.md.
    """
    last = None
    for i, now in enumerate(times):
        score = estimate(x, now.expand(mean.shape[0]))
        x0_hat = process.to_data(score, x, mean, now)
        if i == len(times) - 1:
            return x0_hat
        following = times[i + 1]
        data = x0_hat
        if method == "multistep":
            data = extrapolate(process, x0_hat, now, following, last)
        last = now, x0_hat
        keep = process.std(following) / process.std(now)
        to_data = process.data_weight(following) - keep * process.data_weight(now)
        to_end = process.end_weight(following) - keep * process.end_weight(now)
        x = keep * x + to_data * data + to_end * mean
