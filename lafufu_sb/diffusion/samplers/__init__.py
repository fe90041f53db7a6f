"""Samplers: pure functions that walk a process from its end back to ``x_0``.

All have the signature ``sampler(estimate, process, mean, *, num_steps, generator,
...)`` and keep no state between calls. They return the sample, the shape of ``mean``.

estimate : callable
    ``estimate(x, t)``: the score or the clean latent, as ``@register_sampler`` says;
    ``get_sampler`` converts one into the other where the process allows it.
    ``t`` is a (batch,) tensor.
process : Process
    The process.
mean : torch.Tensor
    Where the process ends: the distorted or pre-enhanced latents, (batch, channels,
    height, width).
num_steps : int
    Steps of the reverse process (``N`` in the papers).
generator : torch.Generator or callable, optional
    See ``draw_noise``. The same generator gives the same result bit for bit on a CPU.
spacing : str
    Where the steps are, see ``time_grid``: "uniform" (as published), "quadratic" or
    "log_sigma".
t_start : float, optional
    Reverse starting point of the SDE samplers (Lay et al. 2023, "Reducing the prior
    mismatch of stochastic differential equations for diffusion-based speech
    enhancement"): start at ``process.prior`` there instead of at ``t_max``. At half of
    it, half the steps give the same step size.

Spacing and start change where the network is called, not how often. The docstrings
give the number of calls, and ``get_sampler`` counts them. Every module of this package
is imported here, so that its samplers are registered.
"""

import importlib
import pkgutil

from lafufu_sb.diffusion.registry import get_sampler
from lafufu_sb.diffusion.samplers.ancestral import ancestral
from lafufu_sb.diffusion.samplers.bridge import bridge_ode, bridge_sde
from lafufu_sb.diffusion.samplers.direct import direct
from lafufu_sb.diffusion.samplers.predictor_corrector import predictor_corrector
from lafufu_sb.diffusion.samplers.probability_flow import probability_flow

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "ancestral",
    "bridge_ode",
    "bridge_sde",
    "direct",
    "get_sampler",
    "predictor_corrector",
    "probability_flow",
]
