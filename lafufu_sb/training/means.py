"""Means of logged losses over an epoch, part of every checkpoint."""

import torch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)


@register_checkpoint_hooks
class RunningMeans:
    """Means of named values that survive a checkpoint in the middle of an epoch.

    Example
    -------
    >>> means = RunningMeans()
    >>> means.add("loss", torch.tensor([1.0, 2.0]))
    >>> means.add("loss", torch.tensor([6.0]))
    >>> means.take()
    {'loss': 3.0}
    >>> means.take()
    {}
    """

    def __init__(self):
        self.sums = {}  # of each name: (sum, count) as a tensor

    def add(self, name, values, mask=None):
        """Add values, (items,) or a scalar; with a ``mask`` only the marked ones."""
        values = torch.atleast_1d(values.detach()).float()
        mask = torch.ones_like(values) if mask is None else mask.to(values)
        # A tensor, as a number would make the device wait.
        both = torch.stack([(values * mask).sum(), mask.sum()])
        before = self.sums.get(name)
        self.sums[name] = both if before is None else before.to(both) + both

    def take(self):
        """Return the means as plain floats, and reset."""
        sums, self.sums = self.sums, {}
        pairs = ((name, both.tolist()) for name, both in sums.items())
        return {name: total / count for name, (total, count) in pairs if count}

    @mark_as_saver
    def save(self, path):
        """Write the sums."""
        torch.save({name: both.cpu() for name, both in self.sums.items()}, path)

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Read them."""
        del end_of_epoch  # the sums are empty then
        self.sums = torch.load(path, weights_only=True)
