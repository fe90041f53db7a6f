"""Denoising score matching."""

from lafufu_sb.diffusion.noise import along_batch
from lafufu_sb.diffusion.objectives.base import Objective
from lafufu_sb.diffusion.processes.base import SDE
from lafufu_sb.diffusion.registry import register_objective
from lafufu_sb.errors import one_of


@register_objective
class ScoreMatching(Objective):
    """Denoising score matching: ``|sigma(t) score + z|**2`` (SGMSE+, eq. 21).

    Arguments
    ---------
    scaling : str
        What the network's output is divided by: "none", "time" or "sigma", ``sigma(t)``
        (Richter et al. 2025, "Investigating training objectives for generative speech
        enhancement"). With "sigma" the network estimates the noise ``z``, as in DDPM.
        "none" suits a network that divides by the time itself, as ``NCSNpp`` with
        ``divide_by_time`` does.

    Raises
    ------
    UsageError
        For another scaling.
    """

    estimates = compares = "score"
    processes = (SDE,)

    def __init__(self, scaling="none"):
        self.scaling = one_of("scaling", scaling, ("none", "time", "sigma"))

    def estimate(self, network, process, x_t, mean, t):
        """The score. The minus sign is the convention of the published weights."""
        output = network(x_t, t).float()
        if self.scaling == "time":
            output = output / along_batch(t, output)
        elif self.scaling == "sigma":
            output = output / along_batch(process.std(t), output)
        return -output

    def error(self, estimate, process, x0, t, z):
        """``sigma(t) score + z``."""
        return along_batch(process.std(t), z) * estimate + z
