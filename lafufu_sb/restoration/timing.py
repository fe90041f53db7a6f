"""Seconds that each part of a restoration takes."""

import contextlib
import time
from collections import defaultdict

from lafufu_sb.restoration.devices import synchronize

PARTS = ("pre_enhancer", "encoder", "sampler", "decoder")


class PartTimer:
    """Sums the seconds of each part; a CUDA device is synchronised at both ends.

    Arguments
    ---------
    device : torch.device
        Where the parts compute.

    Attributes
    ----------
    seconds : dict of str to float
        By part, see ``PARTS``. Set it to ``{}`` or call ``reset`` to start anew.

    Example
    -------
    >>> import torch
    >>> timer = PartTimer(torch.device("cpu"))
    >>> with timer.part("encoder"):
    ...     pass
    >>> list(timer.seconds)
    ['encoder']
    """

    def __init__(self, device):
        self.device = device
        self.reset()

    def reset(self):
        """Forget all seconds."""
        self.seconds = defaultdict(float)

    @contextlib.contextmanager
    def part(self, name):
        """Add the duration of the block to a part."""
        synchronize(self.device)
        start = time.perf_counter()
        yield
        synchronize(self.device)
        self.seconds[name] += time.perf_counter() - start


class NoTimer:
    """Takes the place of a ``PartTimer`` where nobody measures."""

    @staticmethod
    def part(name):
        """Do nothing."""
        return contextlib.nullcontext()
