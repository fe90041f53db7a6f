"""Training through the few steps of a sampler (CRP)."""

import torch

from lafufu_sb.diffusion.objectives.base import Loss, Objective


class FewStepCorrection(Objective):
    """The sampler's result against the clean latent, through its last call.

    Second stage of CRP (Lay et al. 2024, "Single and few-step diffusion for generative
    speech enhancement"). A trained network makes the whole reverse process in the few
    steps it will be used with, and learns to end at ``x_0`` in spite of discretisation
    errors and those of its own earlier calls. The reverse process is the sampler of
    inference itself, for any process and options.

    Arguments
    ---------
    objective : Objective
        What the network was trained with, and still estimates.
    sampler : callable
        ``sampler(estimate, mean, generator=None)`` with its number of ``calls``, as
        ``get_sampler`` returns it and ``Restorer.sampler`` holds it.

    Attributes
    ----------
    calls : int
        Network calls of the sampler. All but the last are made without gradient.

    Example
    -------
    >>> from lafufu_sb.diffusion.objectives import ScoreMatching
    >>> from lafufu_sb.diffusion.processes import OUVESDE
    >>> from lafufu_sb.diffusion.samplers import get_sampler
    >>> process = OUVESDE()
    >>> sampler = get_sampler("probability_flow", process, num_steps=2, method="euler")
    >>> objective = FewStepCorrection(ScoreMatching(), sampler)
    >>> objective.calls
    2
    >>> x0, y = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    >>> objective(lambda x_t, t: x_t - y, process, x0, y).per_item.shape
    torch.Size([2])
    """

    compares = "data"

    def __init__(self, objective, sampler):
        self.objective = objective
        self.estimates = objective.estimates
        self.processes = objective.processes
        self.sampler = sampler
        self.calls = sampler.calls

    def estimate(self, network, process, x_t, mean, t):
        """The estimate of the wrapped objective."""
        return self.objective.estimate(network, process, x_t, mean, t)

    def distance(self, error):
        """The distance of the wrapped objective."""
        return self.objective.distance(error)

    def error(self, estimate, process, x0, t, z):
        """Difference of the sampler's result to the clean latent."""
        return estimate - x0

    def __call__(self, network, process, x0, mean, generator=None):
        """Loss of a batch; its ``estimate`` is the sampler's result.

        ``process`` must be that of the sampler. See ``Objective``.

        Raises
        ------
        RuntimeError
            If the sampler made another number of calls than ``calls``.
        """
        made = 0

        def estimate(x_t, t):
            """Estimate with a gradient in the last call only."""
            nonlocal made
            made += 1
            if made == self.calls:
                return self.estimate(network, process, x_t, mean, t)
            with torch.no_grad():
                result = self.estimate(network, process, x_t, mean, t)
            # Before torch 2.11 autocast kept the weights that it cast here, and the
            # last call would have had no gradient through them.
            torch.clear_autocast_cache()
            return result

        result = self.sampler(estimate, mean, generator=generator)
        if made != self.calls:
            raise RuntimeError(
                f"the sampler made {made} calls instead of {self.calls}: the few-step "
                "stage needs a sampler whose number of calls does not depend on its "
                "input"
            )
        error = self.error(result, process, x0, None, None)
        return Loss(self.distance(error), None, result)
