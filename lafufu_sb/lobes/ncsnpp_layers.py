"""Layers of the score U-Net.

Sources: Song et al., "Score-based generative modeling through stochastic differential
equations", ICLR 2021 (NCSN++), and what it takes them from.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from lafufu_sb.errors import real_number

# Stands for "start at zero" where a weight still needs a direction (Song et al. 2021).
NEAR_ZERO = 1e-10

# Sums of two branches of equal variance are brought back to that variance.
RESIDUAL_SCALE = 1 / math.sqrt(2)

# Positions below which PyTorch's GroupNorm for channels_last on a CPU walks through
# memory in another order, up to ten times slower than from plain memory and back.
SMALL_MAP = 1024


def _init(layer, scale=1.0):
    """Variance-scaling uniform weights (fan average) and zero bias, in place."""
    # Xavier with gain g has variance g^2 * 2 / (fan_in + fan_out).
    nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(scale))
    nn.init.zeros_(layer.bias)
    return layer


def conv(in_channels, out_channels, kernel_size, scale=1.0):
    """Convolution that keeps freq and frames, its weights scaled at initialisation."""
    layer = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    return _init(layer, scale)


class Norm(nn.GroupNorm):
    """GroupNorm of min(channels // 4, 32) groups, or the next fewer that divide.

    Example
    -------
    >>> Norm(144)(torch.rand(1, 144, 4, 4)).shape
    torch.Size([1, 144, 4, 4])
    """

    def __init__(self, channels):
        groups = max(1, min(channels // 4, 32))
        while channels % groups:  # never for the published widths; 48 base channels do
            groups -= 1
        super().__init__(groups, channels, eps=1e-6)

    def forward(self, x):
        """(batch, channels, freq, frames) -> same shape and memory format."""
        small = x.shape[-2] * x.shape[-1] < SMALL_MAP and x.device.type == "cpu"
        if small and x.is_contiguous(memory_format=torch.channels_last):
            plain = super().forward(x.contiguous())
            return plain.contiguous(memory_format=torch.channels_last)
        return super().forward(x)


class FIRResample(nn.Module):
    """Halve ("down") or double ("up") freq and frames with the filter [1, 3, 3, 1] / 8.

    [1, 3, 3, 1] is [1, 1] convolved with [1, 2, 1], and [1, 1] is what average pooling
    and nearest-neighbour repetition do already. Smoothing then pooling, or repetition
    then smoothing, equal the zero-padded filter of NCSN++ (padding (1, 1) down, (2, 1)
    up), and the one 3x3 depthwise convolution left is fast forward and backward in
    every memory format, which a depthwise transposed convolution is not.

    Source: Karras et al., StyleGAN2, CVPR 2020.

    Example
    -------
    >>> FIRResample("up")(torch.rand(1, 8, 16, 6)).shape
    torch.Size([1, 8, 32, 12])
    """

    def __init__(self, direction):
        super().__init__()
        self.direction = direction
        taps = torch.tensor([0.25, 0.5, 0.25], device="cpu")
        # A constant, (1, 1, 3, 3), so it is neither trained nor saved.
        self.register_buffer("kernel", taps.outer(taps)[None, None], persistent=False)

    def _smooth(self, x):
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(x, kernel, padding=1, groups=x.shape[1])

    def forward(self, x):
        """(batch, channels, freq, frames) -> the same with halved or doubled sides."""
        if self.direction == "down":
            return F.avg_pool2d(self._smooth(x), 2)
        return self._smooth(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class TimeEmbedding(nn.Module):
    """Gaussian Fourier features of log t, then two linear layers.

    Computed in float32, under autocast and in a network of half precision too: with
    frequencies up to about 50 the phase would be lost. ``scale`` is the frequencies'
    standard deviation.

    Example
    -------
    >>> TimeEmbedding(16, scale=16.0)(torch.rand(3) + 0.1).shape
    torch.Size([3, 64])
    """

    full_precision = True  # see ``inference_copy``

    def __init__(self, features, scale):
        super().__init__()
        scale = real_number("fourier_scale", scale, 0, 1e6)
        frequencies = torch.empty(features)
        if not frequencies.is_meta:  # where normal_ imports the compiler
            frequencies.normal_().mul_(scale)
        # Frozen, yet no buffer: published checkpoints and parameter counts include it.
        self.frequencies = nn.Parameter(frequencies, requires_grad=False)
        self.linear_in = _init(nn.Linear(2 * features, 4 * features))
        self.linear_out = _init(nn.Linear(4 * features, 4 * features))

    def forward(self, t):
        """(batch,) diffusion times > 0 -> (batch, 4 * features)."""
        with torch.autocast(device_type=t.device.type, enabled=False):
            phase = torch.log(t.float())[:, None] * self.frequencies
            phase = 2 * math.pi * phase  # (batch, features)
            emb = torch.cat([phase.sin(), phase.cos()], dim=1)  # (batch, 2 * features)
            emb = self.linear_out(F.silu(self.linear_in(emb)))
            # Every residual block starts with this activation: done once here.
            return F.silu(emb)  # (batch, 4 * features)


class ResidualBlock(nn.Module):
    """BigGAN residual block with time conditioning and optional resampling.

    ``resample``: "down", "up" or None. Source: Brock et al., BigGAN, ICLR 2019.

    Example
    -------
    >>> block = ResidualBlock(8, 16, emb_features=32, resample="down")
    >>> shift = block.time(torch.rand(2, 32))
    >>> block(torch.rand(2, 8, 16, 4), shift).shape
    torch.Size([2, 16, 8, 2])
    """

    def __init__(
        self, in_channels, out_channels, *, emb_features, resample=None, dropout=0.0
    ):
        super().__init__()
        self.norm_in = Norm(in_channels)
        self.resample = FIRResample(resample) if resample else nn.Identity()
        self.conv_in = conv(in_channels, out_channels, 3)
        self.time = _init(nn.Linear(emb_features, out_channels))
        self.norm_out = Norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = conv(out_channels, out_channels, 3, scale=NEAR_ZERO)
        self.shortcut = nn.Identity()
        if resample or in_channels != out_channels:
            self.shortcut = conv(in_channels, out_channels, 1)

    def forward(self, x, shift):
        """(batch, in, f, l), ``time(emb)`` -> (batch, out, f', l').

        ``shift`` is (batch, out), or (out,) for one time of all items.
        """
        h = self.resample(F.silu(self.norm_in(x)))  # (batch, in, f', l')
        if shift.dim() == 1:  # part of the bias, which costs nothing
            h = F.conv2d(h, self.conv_in.weight, self.conv_in.bias + shift, padding=1)
        else:
            h = self.conv_in(h) + shift[:, :, None, None]  # (batch, out, f', l')
        h = self.dropout(F.silu(self.norm_out(h)))
        h = self.conv_out(h)  # (batch, out, f', l')
        return (self.shortcut(self.resample(x)) + h) * RESIDUAL_SCALE


class Attention(nn.Module):
    """Single-head self-attention over all positions: cost (freq * frames)^2.

    Example
    -------
    >>> Attention(8)(torch.rand(2, 8, 6, 4)).shape
    torch.Size([2, 8, 6, 4])
    """

    def __init__(self, channels):
        super().__init__()
        self.norm = Norm(channels)
        self.query, self.key, self.value = (
            conv(channels, channels, 1, scale=0.1) for _ in range(3)
        )
        self.out = conv(channels, channels, 1, scale=NEAR_ZERO)

    def forward(self, x):
        """(batch, channels, freq, frames) -> same shape."""
        batch, channels, freq, frames = x.shape
        h = self.norm(x)
        q, k, v = (
            layer(h).flatten(2).transpose(1, 2)[:, None]  # (batch, 1, positions, ch)
            for layer in (self.query, self.key, self.value)
        )
        h = F.scaled_dot_product_attention(q, k, v)[:, 0]  # (batch, positions, ch)
        h = h.transpose(1, 2).reshape(batch, channels, freq, frames)
        return (x + self.out(h)) * RESIDUAL_SCALE


class Tail(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution near zero, optional 1x1 output layer."""

    def __init__(self, channels, data_channels, output_layer):
        super().__init__()
        width = 2 * data_channels if output_layer else data_channels
        self.norm = Norm(channels)
        self.conv = conv(channels, width, 3, scale=NEAR_ZERO)
        self.output = nn.Identity()
        if output_layer:  # with PyTorch's default initialisation, as in SGMSE+
            self.output = nn.Conv2d(width, data_channels, 1)

    def forward(self, h):
        """(batch, channels, freq, frames) -> (batch, data_channels, freq, frames)."""
        return self.output(self.conv(F.silu(self.norm(h))))
