"""Samplers: pure functions that walk a process from ``y`` back to ``x_0``.

All have the signature ``sampler(estimate, sde, y, *, num_steps, generator, ...)``:

estimate : callable
    ``estimate(x, t)``, the score for the OUVE samplers, the clean latent for the
    bridge samplers; ``t`` is a (batch,) tensor.
sde : OUVESDE or SchroedingerBridge
    The process.
y : torch.Tensor
    Distorted latents, (batch, channels, height, width).
num_steps : int
    Steps of the reverse process (``N`` in the papers).
generator : torch.Generator or callable, optional
    See ``draw_noise``. The same generator gives the same result bit for bit on CPU.

and return the sample, of the shape of ``y``. No state is kept between calls.
"""

import inspect

import torch

from .sde import OUVESDE, SchroedingerBridge, along_batch

# What a sampler's ``estimate`` must be, as objectives name it.
ESTIMATES = {OUVESDE: "score", SchroedingerBridge: "data"}


def predictor_corrector(
    estimate, sde, y, *, num_steps=30, generator=None, corrector="ald", snr=0.5
):
    """Reverse diffusion predictor and annealed Langevin corrector (SGMSE+).

    ``num_steps`` times from 1 to ``t_eps``; at each the corrector, then the
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
        For another corrector.

    (The other arguments are described at the top of the module.)
    """
    if corrector not in ("ald", "none"):
        raise ValueError(f"corrector must be 'ald' or 'none', got {corrector!r}")
    x = sde.prior(y, generator)
    times = torch.linspace(sde.t_max, sde.t_eps, num_steps, device=y.device)
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


def probability_flow(estimate, sde, y, *, num_steps=30, generator=None, method="heun"):
    """Probability-flow ODE with fixed steps from 1 to ``t_eps``, then one Euler to 0.

    Deterministic but for the draw of the prior. Euler makes ``num_steps`` calls,
    Heun ``2 * num_steps - 1``.

    Arguments
    ---------
    method : str
        "euler" or "heun".

    Raises
    ------
    ValueError
        For another method.

    (The other arguments are described at the top of the module.)
    """
    if method not in ("euler", "heun"):
        raise ValueError(f"method must be 'euler' or 'heun', got {method!r}")

    def slope(x, t):
        half_g2 = 0.5 * along_batch(sde.diffusion(t).square(), x)
        return sde.drift(x, y, t) - half_g2 * estimate(x, t)

    x = sde.prior(y, generator)
    times = torch.linspace(sde.t_max, sde.t_eps, num_steps, device=y.device)
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


def _bridge_times(sde, y, num_steps):
    return torch.linspace(sde.t_max, sde.t_eps, num_steps + 1, device=y.device)


def bridge_ode(estimate, sde, y, *, num_steps=1, generator=None):
    """Deterministic sampler of the Schroedinger bridge (Jukic et al. 2024).

    ``num_steps`` calls, each at the earlier (known) time of its step; one step is a
    direct regression. The first step starts where the published weights divide
    zero by zero; its limit is the bridge's mean and is used as such. The last state
    is the last estimate itself.

    (The arguments are described at the top of the module.)
    """
    x = y
    times = _bridge_times(sde, y, num_steps)
    for i, (now, following) in enumerate(zip(times[:-1], times[1:], strict=True)):
        x0_hat = estimate(x, now.expand(y.shape[0]))
        if i == num_steps - 1:
            return x0_hat
        if i == 0:
            x = sde.mean(x0_hat, y, following.expand(y.shape[0]))
            continue
        since_p, left_p = sde.variances(now)
        since, left = sde.variances(following)
        keep = (since * left / (since_p * left_p)).sqrt()
        total = since + left
        to_data = (left - (left_p * since * left / since_p).sqrt()) / total
        to_prior = (since - (since_p * since * left / left_p).sqrt()) / total
        x = keep * x + to_data * x0_hat + to_prior * y
    return x


def bridge_sde(estimate, sde, y, *, num_steps=8, generator=None):
    """Stochastic sampler of the Schroedinger bridge (Jukic et al. 2024).

    ``num_steps`` calls, each at the earlier (known) time of its step; the last step
    adds no noise and ends at the last estimate.

    (The arguments are described at the top of the module.)
    """
    x = y
    times = _bridge_times(sde, y, num_steps)
    for i, (now, following) in enumerate(zip(times[:-1], times[1:], strict=True)):
        x0_hat = estimate(x, now.expand(y.shape[0]))
        if i == num_steps - 1:
            return x0_hat
        since_p, _ = sde.variances(now)
        since, _ = sde.variances(following)
        ratio = since / since_p
        std = (since * (1 - ratio)).sqrt()
        x = ratio * x + (1 - ratio) * x0_hat + std * sde.noise(x, generator)
    return x


SAMPLERS = {
    sampler.__name__: (sampler, process)
    for process, samplers in (
        (OUVESDE, (predictor_corrector, probability_flow)),
        (SchroedingerBridge, (bridge_ode, bridge_sde)),
    )
    for sampler in samplers
}


def get_sampler(name, sde, **options):
    """Look a sampler up by name and check it against the process and its options.

    Arguments
    ---------
    name : str
        One of ``SAMPLERS``.
    sde : OUVESDE or SchroedingerBridge
        The process that it will walk back.
    **options
        Keyword arguments for it, ``num_steps`` among them.

    Returns
    -------
    callable
        ``sampler(estimate, y, generator=None)``.

    Raises
    ------
    ValueError
        For an unknown name or option, a number of steps below one, or a sampler of
        another process.

    Example
    -------
    >>> get_sampler("bridge_ode", SchroedingerBridge(), num_steps=0)
    Traceback (most recent call last):
    ...
    ValueError: num_steps must be a whole number of at least 1, got 0
    """
    fitting = sorted(n for n, (_, p) in SAMPLERS.items() if isinstance(sde, p))
    if name not in fitting:
        known = "does not fit this model" if name in SAMPLERS else "is unknown"
        raise ValueError(
            f"sampler {name!r} {known}: its process is {type(sde).__name__}, choose "
            f"one of {', '.join(fitting)}"
        )
    function, _ = SAMPLERS[name]
    parameters = inspect.signature(function).parameters
    own = {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    own.pop("generator")
    unknown = sorted(set(options) - set(own))
    if unknown:
        raise ValueError(
            f"sampler {name!r} has no option {', '.join(unknown)}: it has "
            f"{', '.join(own)}"
        )
    steps = options.get("num_steps", own["num_steps"].default)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"num_steps must be a whole number of at least 1, got {steps}")

    def sampler(estimate, y, generator=None):
        return function(estimate, sde, y, generator=generator, **options)

    return sampler
