"""A pre-enhancer of bounded gains from a recurrent network.

Encoder, score model and decoder see its result. What it removes is bounded, so that
they can restore what it removed wrongly.
"""

import torch
import torch.nn.functional as F
from torch import nn

from lafufu_sb.errors import UsageError, whole_number
from lafufu_sb.lobes.pre_enhancer import PreEnhancer

POWER_FLOOR = 1e-7  # of the compressed spectrogram: -70 dB beside its largest values


class GainPreEnhancer(PreEnhancer):
    """Gains of each bin and frame, from whole spectra and the frames around.

    Most of its few multiplications are in two bidirectional recurrent layers, so that
    it can train on far more speech an hour than the other networks.

    Arguments
    ---------
    bins : int
        Bins of the spectrogram.
    width : int
        Width of the layers before and after the recurrent ones.
    units : int
        Units of a recurrent layer and direction.
    layers : int
        Number of recurrent layers.
    stack : int
        Frames that one recurrent step reads and gives gains to.
    floor : float
        Smallest factor on a coefficient of the compressed spectrogram, in [0, 1).

    Example
    -------
    >>> enhancer = GainPreEnhancer(bins=12, width=8, units=4)
    >>> enhancer(torch.randn(3, 2, 12, 7)).shape
    torch.Size([3, 2, 12, 7])
    """

    def __init__(self, bins=768, width=512, units=384, layers=2, stack=2, floor=0.25):
        super().__init__()
        sizes = {"bins": bins, "width": width, "units": units}
        for name, value in sizes.items():
            whole_number(name, value, 1, 2**16)
        whole_number("layers", layers, 1, 64)
        whole_number("stack", stack, 1, 64)
        if not 0.0 <= floor < 1.0:
            raise UsageError(f"floor must lie in [0, 1), got {floor}")
        self.stack = stack
        self.floor = floor
        self.read = nn.Linear(stack * bins, width)
        self.recurrent = nn.GRU(
            width, units, layers, batch_first=True, bidirectional=True
        )
        self.mix = nn.Linear(2 * units, width)
        self.write = nn.Linear(width, stack * bins)

    def gains(self, spectrograms):
        """(batch, 2, bins, frames) to (batch, 1, bins, frames), between 0 and 1."""
        frames = spectrograms.shape[-1]
        power = spectrograms.float().square().sum(dim=1)
        levels = torch.log10(power + POWER_FLOOR).transpose(1, 2) + 4.0
        levels = F.pad(levels, (0, 0, 0, -frames % self.stack), value=-3.0)
        x = F.silu(self.read(levels.unflatten(1, (-1, self.stack)).flatten(2)))
        x = x + F.silu(self.mix(self.recurrent(x)[0]))
        gains = self.write(x).unflatten(2, (self.stack, -1)).flatten(1, 2)
        return gains[:, :frames].sigmoid().transpose(1, 2).unsqueeze(1)

    def forward(self, spectrograms, floor=None):
        """(batch, 2, bins, frames), the same shape out; ``floor`` replaces its own."""
        floor = self.floor if floor is None else floor
        return spectrograms * (floor + (1 - floor) * self.gains(spectrograms))
