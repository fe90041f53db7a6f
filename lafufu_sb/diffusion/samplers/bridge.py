"""Samplers of the Schroedinger bridge."""

from lafufu_sb.diffusion.processes.bridge import SchroedingerBridge
from lafufu_sb.diffusion.registry import register_sampler
from lafufu_sb.diffusion.samplers.steps import extrapolate, time_grid
from lafufu_sb.errors import one_of


def _bridge_times(process, mean, num_steps, spacing, network_time):
    """Times of the states, and for each step the time that the network is told."""
    one_of("network_time", network_time, ("previous", "new"))
    times = time_grid(process, num_steps + 1, spacing=spacing, device=mean.device)
    told = times[:-1] if network_time == "previous" else times[1:]
    return times, told[:, None].expand(-1, mean.shape[0])


@register_sampler(SchroedingerBridge, estimates="data")
def bridge_ode(
    estimate,
    process,
    mean,
    *,
    num_steps=1,
    generator=None,
    method="exponential",
    spacing="uniform",
    network_time="previous",
):
    """Deterministic sampler of the Schroedinger bridge (Jukic et al. 2024).

    ``num_steps`` calls; one step is a direct regression. The first step starts where
    the published weights divide zero by zero; its limit is the bridge's mean and is
    used as such. The last state is the last estimate itself.

    Arguments
    ---------
    method : str
        "exponential", as published: the estimate is taken as constant over a step
        (first order). "multistep" extrapolates the last two as DPM-Solver++(2M) does,
        from the third step on and not in the last one, so of at least four steps; the
        noiseless start leaves it at order 1.5.
    network_time : str
        Which time the network is told with the state at the beginning of a step:
        "previous", that of the state, or "new", that which the step leads to (the
        convention of the SGMSE+ code). In training a state comes with its own time.

    Raises
    ------
    UsageError
        For another method, spacing or ``network_time``.

    (The other arguments: see ``lafufu_sb.diffusion.samplers``.)
    """
    one_of("method", method, ("exponential", "multistep"))
    x, last = mean, None
    times, told = _bridge_times(process, mean, num_steps, spacing, network_time)
    for i, (now, following) in enumerate(zip(times[:-1], times[1:], strict=True)):
        x0_hat = estimate(x, told[i])
        if i == num_steps - 1:
            return x0_hat
        data = x0_hat
        if method == "multistep":
            data = extrapolate(process, x0_hat, now, following, last)
            last = now, x0_hat
        if i == 0:
            x = process.mean(data, mean, following.expand(mean.shape[0]))
            continue
        since_p, left_p = process.variances(now)
        since, left = process.variances(following)
        keep = (since * left / (since_p * left_p)).sqrt()
        total = since + left
        to_data = (left - (left_p * since * left / since_p).sqrt()) / total
        to_prior = (since - (since_p * since * left / left_p).sqrt()) / total
        x = keep * x + to_data * data + to_prior * mean
    return x


@register_sampler(SchroedingerBridge, estimates="data")
def bridge_sde(
    estimate,
    process,
    mean,
    *,
    num_steps=8,
    generator=None,
    spacing="uniform",
    network_time="previous",
):
    """Stochastic sampler of the Schroedinger bridge (Jukic et al. 2024).

    ``num_steps`` calls; the last step adds no noise and ends at the last estimate.

    Arguments
    ---------
    network_time : str
        "previous" or "new", see ``bridge_ode``.

    Raises
    ------
    UsageError
        For another spacing or ``network_time``.

    (The other arguments: see ``lafufu_sb.diffusion.samplers``.)
    """
    x = mean
    times, told = _bridge_times(process, mean, num_steps, spacing, network_time)
    for i, (now, following) in enumerate(zip(times[:-1], times[1:], strict=True)):
        x0_hat = estimate(x, told[i])
        if i == num_steps - 1:
            return x0_hat
        since_p, _ = process.variances(now)
        since, _ = process.variances(following)
        ratio = since / since_p
        std = (since * (1 - ratio)).sqrt()
        x = ratio * x + (1 - ratio) * x0_hat + std * process.noise(x, generator)
    return x
