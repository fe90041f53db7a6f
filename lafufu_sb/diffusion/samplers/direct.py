"""Sampler of a method without diffusion."""

from lafufu_sb.diffusion.processes.direct import Direct
from lafufu_sb.diffusion.registry import register_sampler
from lafufu_sb.errors import UsageError


@register_sampler(Direct, estimates="data")
def direct(estimate, process, mean, *, num_steps=1, generator=None):
    """One call with ``mean`` as the state, without noise.

    Raises
    ------
    UsageError
        For another ``num_steps`` than 1.

    (The arguments: see ``lafufu_sb.diffusion.samplers``.)
    """
    if num_steps != 1:
        raise UsageError(
            f"a method without diffusion makes one call: set num_steps to 1, got "
            f"{num_steps}"
        )
    return estimate(mean, mean.new_full(mean.shape[:1], process.t_max))
