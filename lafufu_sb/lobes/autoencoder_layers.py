"""Layers of the latent autoencoder.

Sources: Luo et al., "Refusion", CVPR workshops 2023; Shen et al., "Efficient
attention", WACV 2021, for the attention; Mack and Habets, "Deep filtering", IEEE SPL
2019, for the filter.
"""

import torch
import torch.nn.functional as F
from torch import nn


class ResBlock(nn.Module):
    """conv, SiLU, conv, SiLU, plus a shortcut; no bias and no normalisation."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.SiLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.SiLU(),
        )
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1, bias=False)
        )

    def forward(self, x):
        """(batch, in_channels, h, w) to (batch, out_channels, h, w)."""
        return self.body(x) + self.shortcut(x)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position, with a gain."""

    def __init__(self, channels, eps=1e-5):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.eps = eps

    def forward(self, x):
        """(batch, channels, h, w), same shape out."""
        gain = self.gain.flatten()
        x = F.layer_norm(x.movedim(1, -1), gain.shape, gain, eps=self.eps)
        return x.movedim(-1, 1)


class LinearAttention(nn.Module):
    """Attention whose cost grows linearly with the number of positions.

    Softmax of the queries over features and of the keys over positions (Shen et
    al. 2021), normalised before, residual around.
    """

    def __init__(self, channels, heads=4, head_channels=32):
        super().__init__()
        self.heads = heads
        self.head_channels = head_channels
        width = heads * head_channels
        self.norm = ChannelNorm(channels)
        self.to_qkv = nn.Conv2d(channels, 3 * width, 1, bias=False)
        self.to_out = nn.Sequential(
            nn.Conv2d(width, channels, 1), ChannelNorm(channels)
        )

    def forward(self, x):
        """(batch, channels, h, w), same shape out."""
        batch, _, height, width = x.shape
        positions = height * width
        # Features last, as channels_last has them in memory.
        qkv = self.to_qkv(self.norm(x)).movedim(1, -1)
        qkv = qkv.reshape(batch, positions, 3, self.heads, self.head_channels)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (batch, heads, positions, head_ch)
        context = k.softmax(dim=-2).transpose(-1, -2) @ (v / positions)
        out = q.softmax(dim=-1) @ (context * self.head_channels**-0.5)
        out = out.transpose(1, 2).reshape(batch, height, width, -1)
        return x + self.to_out(out.movedim(-1, 1))


class EncoderLevel(nn.Module):
    """Two residual blocks, attention at the deepest level, then the way down."""

    def __init__(self, in_channels, out_channels, deepest):
        super().__init__()
        self.block1 = ResBlock(in_channels, in_channels)
        self.block2 = ResBlock(in_channels, in_channels)
        self.attention = LinearAttention(in_channels) if deepest else nn.Identity()
        self.down = (
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
            if deepest
            else nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1)
        )

    def forward(self, x):
        """Give the level's output and its two skip tensors."""
        first = self.block1(x)
        second = self.attention(self.block2(first))
        return self.down(second), (first, second)


class DecoderLevel(nn.Module):
    """Two residual blocks, each fed one skip tensor, then the way up."""

    def __init__(self, in_channels, out_channels, deepest, top, skips):
        super().__init__()
        extra = out_channels if skips else 0
        self.block1 = ResBlock(in_channels + extra, in_channels)
        self.block2 = ResBlock(in_channels + extra, in_channels)
        self.attention = LinearAttention(in_channels) if deepest else nn.Identity()
        conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.up = conv if top else nn.Sequential(nn.Upsample(scale_factor=2), conv)

    def forward(self, x, skips=()):
        """Undo the encoder level; ``skips`` is its pair, or empty."""
        first, second = skips or (None, None)
        x = self.block1(x if second is None else torch.cat([x, second], dim=1))
        x = self.block2(x if first is None else torch.cat([x, first], dim=1))
        return self.up(self.attention(x))


class DeepFilter(nn.Module):
    """Complex weights of neighbouring frames, estimated for each bin and frame.

    They begin at zero.

    Arguments
    ---------
    channels : int
        Channels of the features that the weights are estimated from.
    patch : int
        Bins, and frames, of the spectrogram per position of the features.
    taps : int
        Frames that a filter spans, its own in the middle; odd.
    inputs : int
        Spectrograms that are filtered, each with weights of its own, and summed.

    Example
    -------
    >>> weigh = DeepFilter(8, patch=2, taps=3, inputs=2)
    >>> weigh(torch.randn(1, 8, 6, 4), torch.randn(1, 4, 12, 8)).shape
    torch.Size([1, 2, 12, 8])
    """

    def __init__(self, channels, patch, taps, inputs=1):
        super().__init__()
        self.patch = patch
        self.taps = taps
        outputs = 2 * taps * inputs * patch**2
        self.weights = nn.Conv2d(channels, outputs, 3, padding=1)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)

    def forward(self, features, spectrograms):
        """Filter (batch, 2 * inputs, bins, frames), real and imaginary part of each
        input in turn, in the type that they have."""
        weights = F.pixel_shuffle(self.weights(features), self.patch)
        weights = weights.to(spectrograms.dtype)
        # (batch, inputs * taps, bins, frames)
        real, imaginary = weights.chunk(2, dim=1)
        side = self.taps // 2
        near = F.pad(spectrograms, (side, side)).unfold(-1, self.taps, 1)
        near = near.movedim(-1, 2).unflatten(1, (-1, 2))
        a, b = (part.flatten(1, 2) for part in near.unbind(2))  # like the weights
        filtered = real * a - imaginary * b, real * b + imaginary * a
        return torch.stack([part.sum(dim=1) for part in filtered], dim=1)
