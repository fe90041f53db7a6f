"""Estimates that the tests of the samplers share."""

import torch


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
