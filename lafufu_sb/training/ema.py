"""Exponential moving average of weights, as a recoverable of SpeechBrain."""

import contextlib

import torch
from torch import nn


class ExponentialMovingAverage(nn.Module):
    """Shadow weights that follow a module's trainable parameters.

    It is an ``nn.Module`` whose state is the shadow, so that a SpeechBrain
    ``Checkpointer`` saves and restores it without a hook. The followed module is not
    part of that state.

    Arguments
    ---------
    module : torch.nn.Module
        Module to follow.
    decay : float
        Decay of the average. In the first updates ``(1 + n) / (10 + n)`` where that is
        smaller, so that the random start is soon forgotten.

    Example
    -------
    >>> module = nn.Linear(1, 1, bias=False)
    >>> ema = ExponentialMovingAverage(module, decay=0.999)
    >>> before = module.weight.item()
    >>> with torch.no_grad():
    ...     _ = module.weight.add_(11)
    >>> ema.update()
    >>> with ema.averaged():
    ...     round(module.weight.item() - before, 4)
    9.9
    """

    def __init__(self, module, decay=0.999):
        super().__init__()
        self._parameters_of = module.named_parameters  # not part of this state
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        for name, parameter in self._followed():
            self.register_buffer(name, parameter.detach().clone())

    def _followed(self):
        for name, parameter in self._parameters_of():
            if parameter.requires_grad:
                yield name.replace(".", "/"), parameter

    @torch.no_grad()
    def reset(self):
        """Restart from the module's present weights."""
        for name, parameter in self._followed():
            getattr(self, name).copy_(parameter)
        self.updates.zero_()

    @torch.no_grad()
    def update(self):
        """Move the shadow towards the module; call after each optimiser step."""
        count = int(self.updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        for name, parameter in self._followed():
            getattr(self, name).lerp_(parameter, 1 - decay)
        self.updates += 1

    @torch.no_grad()
    def copy_to_module(self):
        """Overwrite the module's parameters with the shadow."""
        for name, parameter in self._followed():
            parameter.copy_(getattr(self, name))

    @contextlib.contextmanager
    def averaged(self):
        """Within the context the module has the averaged weights."""
        kept = [parameter.detach().clone() for _, parameter in self._followed()]
        self.copy_to_module()
        try:
            yield
        finally:
            with torch.no_grad():
                for (_, parameter), value in zip(self._followed(), kept, strict=True):
                    parameter.copy_(value)
