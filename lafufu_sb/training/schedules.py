"""Learning-rate schedules over the fraction of training that is done."""

import math


class WarmupCosine:
    """Linear warm-up, then half a cosine down to zero.

    A function of progress without state: a resumed run continues where it was, and
    the same YAML serves a corpus of any size.

    Arguments
    ---------
    warmup : float
        Fraction of training that warms up.

    Example
    -------
    >>> schedule = WarmupCosine(warmup=0.1)
    >>> [round(schedule(progress), 3) for progress in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """

    def __init__(self, warmup=0.02):
        self.warmup = warmup

    def __call__(self, progress):
        """Factor of the learning rate at a progress between 0 and 1."""
        if progress < self.warmup:
            return progress / self.warmup
        phase = min(1.0, (progress - self.warmup) / (1 - self.warmup))
        return 0.5 * (1 + math.cos(math.pi * phase))
