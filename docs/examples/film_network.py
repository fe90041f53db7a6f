"""A small convolutional network that is told the time by FiLM."""

import torch
from torch import nn

from lafufu_sb.lobes.score_network import ScoreNetwork


class FiLMBlock(nn.Module):
    """Residual block whose channels are scaled and shifted by the time (FiLM).

    Source: Perez et al. 2018, "FiLM: visual reasoning with a general conditioning
    layer".
    """

    def __init__(self, width):
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.film = nn.Linear(width, 2 * width)
        self.conv_in = nn.Conv2d(width, width, 3, padding=1)
        self.conv_out = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x, embedding):
        """(batch, width, height, columns), the same shape out."""
        scale, shift = self.film(embedding)[..., None, None].chunk(2, dim=1)
        h = (1 + scale) * self.norm(x) + shift
        h = nn.functional.silu(self.conv_in(nn.functional.silu(h)))
        return x + self.conv_out(h)


class FiLMNetwork(ScoreNetwork):
    """A stem, residual blocks at full resolution, and a head that starts at zero.

    Arguments
    ---------
    data_channels : int
        Channels of the state.
    condition_channels : int, optional
        Channels of the condition, by default those of the state.
    width : int
        Channels of the blocks, an even number.
    blocks : int
        Number of blocks.
    """

    def __init__(self, data_channels, condition_channels=None, width=64, blocks=4):
        super().__init__()
        if condition_channels is None:
            condition_channels = data_channels
        self.register_buffer("frequencies", 2.0 ** torch.linspace(0, 8, width // 2))
        self.embed = nn.Sequential(nn.Linear(width, width), nn.SiLU())
        self.stem = nn.Conv2d(data_channels + condition_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(FiLMBlock(width) for _ in range(blocks))
        self.head = nn.Conv2d(width, data_channels, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x_t, condition, t):
        """See ``ScoreNetwork``."""
        phases = t[:, None] * self.frequencies
        embedding = self.embed(torch.cat([phases.sin(), phases.cos()], dim=1))
        inputs = x_t if condition is None else torch.cat([x_t, condition], dim=1)
        h = self.stem(inputs)
        for block in self.blocks:
            h = block(h, embedding)
        return self.head(h).to(x_t.dtype)
