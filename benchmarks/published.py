"""SGMSE+ as published: a baseline independent of the speed of ``NCSNpp``."""

import math

import torch
import torch.nn.functional as F

from lafufu_sb.lobes.score_network import ScoreNetwork


class PublishedNCSNpp(ScoreNetwork):
    """An ``NCSNpp``, computed layer by layer as its publication describes.

    PyTorch's default memory format, nothing kept between calls. Only the filters around
    a change of resolution are those of ``NCSNpp``.

    Arguments
    ---------
    network : NCSNpp
        Gives the layers and weights; goes to the default memory format.
    """

    def __init__(self, network):
        super().__init__()
        self.network = network.to(memory_format=torch.contiguous_format)

    @property
    def grid(self):
        """See ``NCSNpp``."""
        return self.network.grid

    def forward(self, x_t, condition, t):
        """See ``NCSNpp.forward``."""
        network = self.network
        emb = network.time_embedding(t)  # (batch, 4 * base_channels)
        h = network.stem(torch.cat([x_t.contiguous(), condition.contiguous()], dim=1))
        maps = [h]  # (batch, width, freq, frames) of every level
        for level in network.encoder:
            for block, attention in zip(level.blocks, level.attentions, strict=True):
                h = attention(_residual(block, h, emb))
                maps.append(h)
            if level.resample is not None:
                h = _residual(level.resample, h, emb)
                maps.append(h)
        h = network.bottleneck.attention(_residual(network.bottleneck.block_in, h, emb))
        h = _residual(network.bottleneck.block_out, h, emb)
        for level in network.decoder:
            for block, attention in zip(level.blocks, level.attentions, strict=True):
                h = torch.cat([h, maps.pop()], dim=1)
                h = attention(_residual(block, h, emb))
            if level.resample is not None:
                h = _residual(level.resample, h, emb)
        out = network.tail(h)
        return out / t[:, None, None, None] if network.divide_by_time else out


def _residual(block, x, emb):
    h = block.resample(F.silu(block.norm_in(x)))
    h = block.conv_in(h) + block.time(emb)[:, :, None, None]
    h = block.conv_out(F.silu(block.norm_out(h)))
    return (block.shortcut(block.resample(x)) + h) / math.sqrt(2)
