"""Deterministic samplers of the probability-flow ODE."""

from lafufu_sb.diffusion.noise import along_batch
from lafufu_sb.diffusion.processes.base import SDE
from lafufu_sb.diffusion.registry import register_sampler
from lafufu_sb.diffusion.samplers.steps import check_choice, extrapolate, time_grid


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
        For another method or spacing, or a ``t_start`` outside the process.

    (The other arguments: see ``lafufu_sb.diffusion.samplers``.)
    """
    check_choice("method", method, ("euler", "heun", "exponential", "multistep"))
    times = time_grid(
        process, num_steps, spacing=spacing, t_start=t_start, device=mean.device
    )
    x = process.prior(mean, generator, t_start)
    if method in ("exponential", "multistep"):
        return _exponential_flow(
            estimate, process, x, mean, times, method == "multistep"
        )

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


def _exponential_flow(estimate, process, x, mean, times, extrapolates):
    """Steps that are exact for a constant estimate of ``x_0``.

    With ``x_t = a x_0 + (1 - a) y + sigma z`` the flow is ``d((x - (1 - a) y) / sigma)
    = x_0 d(a / sigma)``: see docs/method.md.
    """
    last = None
    for i, now in enumerate(times):
        a, sigma = process.data_weight(now), process.std(now)
        score = estimate(x, now.expand(mean.shape[0]))
        x0_hat = (x - (1 - a) * mean + sigma.square() * score) / a  # Tweedie's formula
        if i == len(times) - 1:
            return x0_hat
        following = times[i + 1]
        data = x0_hat
        if extrapolates:
            data = extrapolate(process, x0_hat, now, following, last)
        last = now, x0_hat
        a_next, keep = process.data_weight(following), process.std(following) / sigma
        to_data, to_prior = a_next - keep * a, (1 - a_next) - keep * (1 - a)
        x = keep * x + to_data * data + to_prior * mean
