"""Learning-rate schedules over the fraction of training that is done."""

import math


class WarmupCosine:
    """Linear warm-up, then half a cosine down to zero.

    Depends on progress alone and keeps no state, so a resumed run goes on where it
    was, and the same YAML serves a corpus of any size.

    Arguments
    ---------
    lr : float
        Highest learning rate.
    warmup : float
        Fraction of training that warms up.

    Example
    -------
    >>> schedule = WarmupCosine(lr=1.0, warmup=0.1)
    >>> [round(schedule.value(p), 3) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """

    def __init__(self, lr, warmup=0.02):
        self.lr = lr
        self.warmup = warmup

    def value(self, progress):
        """Learning rate at a progress between 0 and 1."""
        if progress < self.warmup:
            return self.lr * progress / self.warmup
        phase = min(1.0, (progress - self.warmup) / (1 - self.warmup))
        return self.lr * 0.5 * (1 + math.cos(math.pi * phase))

    def __call__(self, optimizer, progress):
        """Set the learning rate of an optimiser."""
        for group in optimizer.param_groups:
            group["lr"] = self.value(progress)
