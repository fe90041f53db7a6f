"""Denoising score matching."""

from lafufu_sb.diffusion.noise import along_batch
from lafufu_sb.diffusion.objectives.base import Objective
from lafufu_sb.diffusion.processes.base import SDE
from lafufu_sb.diffusion.registry import register_objective


@register_objective
class ScoreMatching(Objective):
    """Denoising score matching: ``|sigma(t) score + z|**2`` (SGMSE+, eq. 21)."""

    estimates = compares = "score"
    processes = (SDE,)

    def estimate(self, network, x_t, mean, t):
        """The score. The minus sign is the convention of the published weights."""
        return -network(x_t, t).float()

    def error(self, estimate, process, x0, t, z):
        """``sigma(t) score + z``."""
        return along_batch(process.std(t), z) * estimate + z
