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
spacing : str
    Where the steps are, see ``time_grid``: "uniform" (as published), "quadratic" or
    "log_sigma".

and return the sample, of the shape of ``y``. No state is kept between calls. The
samplers of the OUVE process also have

t_start : float, optional
    Reverse starting point (Lay et al. 2023, "Reducing the prior mismatch of stochastic
    differential equations for diffusion-based speech enhancement"): begin at
    ``y + sigma(t_start) z`` instead of at time 1. At 0.5 half the steps do for the
    same step size. A bridge begins at exactly ``y``, which is right at time 1 alone.

Spacing and start change where the network is called, not how often: the docstrings
give the number of calls, and ``get_sampler`` counts them.
"""

import inspect

import torch

from lafufu_sb.diffusion.bridge import bridge_ode, bridge_sde
from lafufu_sb.diffusion.ouve import predictor_corrector, probability_flow
from lafufu_sb.diffusion.sde import OUVESDE, SchroedingerBridge

# What a sampler's ``estimate`` must be, as objectives name it.
ESTIMATES = {OUVESDE: "score", SchroedingerBridge: "data"}

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
        ``sampler(estimate, y, generator=None)``; its attribute ``calls`` is how often
        it calls ``estimate``.

    Raises
    ------
    ValueError
        For an unknown name or option, a value that the sampler refuses, a number of
        steps below one, or a sampler of another process.

    Example
    -------
    >>> get_sampler("predictor_corrector", OUVESDE(), num_steps=30).calls
    60
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

    sampler.calls = _count_calls(sampler)
    return sampler


def _count_calls(sampler):
    """Calls that a sampler makes, by having it make them for a single number.

    It refuses values of its options that it cannot work with at this opportunity.
    """
    asked = []

    def estimate(x, t):
        asked.append(t)
        return torch.zeros_like(x)

    # A generator of its own: counting must not move the global one.
    sampler(estimate, torch.zeros(1, 1, 1, 1), generator=torch.Generator())
    return len(asked)
