"""Estimates that the tests of the samplers share."""

import torch

from lafufu_sb.diffusion.samplers import get_sampler


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def latents(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed))


class Estimate:
    """A bounded estimate that keeps what it is asked."""

    def __init__(self, function=lambda x, t: torch.tanh(x)):
        self.function = function
        self.states, self.times = [], []

    def __call__(self, x, t):
        self.states.append(x.clone())
        self.times.append(t.clone())
        return self.function(x, t)


def point_mass(process, x0, y):
    """The exact score of data that is ``x0`` for sure."""

    def score(x, t):
        std = process.std(t).reshape(-1, 1, 1, 1)
        return -(x - process.mean(x0, y, t)) / std.square()

    return score


def assert_exact_for_a_point_mass(process, name, **options):
    """A sampler that gets the exact score of a point mass ends at the point."""
    x0, y = latents(2, 2, 4, 4), latents(2, 2, 4, 4, seed=1)
    sampler = get_sampler(name, process, estimates="score", **options)
    restored = sampler(point_mass(process, x0, y), y, generator=generator())
    # Where the data's weight is 0.001, the score's rounding counts a thousand times.
    torch.testing.assert_close(restored, x0, atol=1e-3, rtol=0)
