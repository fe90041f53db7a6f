"""No diffusion: the network maps one end to the other."""

import torch

from lafufu_sb.diffusion.processes.base import Process
from lafufu_sb.diffusion.registry import register_process


@register_process
class Direct(Process):
    """No diffusion: the state is ``y``, and the time is 1.

    With ``DataPrediction`` it makes a method the regression that diffusion is compared
    with: the same network, which sees the same inputs, is called once (Lemercier et al.
    2023, "Analysing diffusion-based generative approaches versus discriminative
    approaches for speech restoration"). Its sampler is ``direct``.

    Example
    -------
    >>> y = torch.ones(1, 2, 4, 4)
    >>> process = Direct()
    >>> bool((process.perturb(0 * y, y, torch.ones(1), 0 * y) == y).all())
    True
    """

    t_eps = t_max = 1.0

    def data_weight(self, t):
        """Zero, (batch,)."""
        return torch.zeros_like(t)

    def std(self, t):
        """Zero, (batch,)."""
        return torch.zeros_like(t)
