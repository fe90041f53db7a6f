"""Noise-conditional score U-Net (NCSN++) for spectrograms and latents.

One class serves full band (SGMSE+: ``data_channels=2``, the real and imaginary part of
a compressed 48-kHz spectrogram) and latents (LAFUFU: the latent's channels,
``output_layer=False``). It knows nothing of SDEs: the sign and scale of a score belong
to the objective that uses it.

Sources: Song et al., "Score-based generative modeling through stochastic differential
equations", ICLR 2021 (NCSN++); Richter et al., "EARS", Interspeech 2024 (the 48-kHz
form: no image pyramids, attention in the bottleneck only, six halvings).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

# Stands for "start at zero" where a weight still needs a direction (Song et al. 2021).
NEAR_ZERO = 1e-10

# Sums of two branches of equal variance are brought back to that variance.
RESIDUAL_SCALE = 1 / math.sqrt(2)


def _init(layer, scale=1.0):
    """Variance-scaling uniform weights (fan average) and zero bias, in place."""
    # Xavier with gain g has variance g^2 * 2 / (fan_in + fan_out).
    nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(scale))
    nn.init.zeros_(layer.bias)
    return layer


def _conv(in_channels, out_channels, kernel_size, scale=1.0):
    """Convolution that keeps freq and frames."""
    layer = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    return _init(layer, scale)


def _norm(channels):
    """GroupNorm with min(channels // 4, 32) groups, or the next fewer that divide."""
    groups = max(1, min(channels // 4, 32))
    while channels % groups:  # never for the published widths; 48 base channels need it
        groups -= 1
    return nn.GroupNorm(groups, channels, eps=1e-6)


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
        taps = torch.tensor([0.25, 0.5, 0.25])
        # A constant, (1, 1, 3, 3), so it is neither trained nor saved.
        self.register_buffer("kernel", taps.outer(taps)[None, None], persistent=False)

    def _smooth(self, x):
        kernel = self.kernel.expand(x.shape[1], 1, 3, 3)
        return F.conv2d(x, kernel, padding=1, groups=x.shape[1])

    def forward(self, x):
        """(batch, channels, freq, frames) -> the same with halved or doubled sides."""
        if self.direction == "down":
            return F.avg_pool2d(self._smooth(x), 2)
        return self._smooth(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class TimeEmbedding(nn.Module):
    """Gaussian Fourier features of log t, then two linear layers.

    Computed in float32 even under autocast: with frequencies up to about 50, half
    precision would lose the phase. ``scale`` is the frequencies' standard deviation.

    Example
    -------
    >>> TimeEmbedding(16, scale=16.0)(torch.rand(3) + 0.1).shape
    torch.Size([3, 64])
    """

    def __init__(self, features, scale):
        super().__init__()
        frequencies = torch.randn(features) * scale
        # Frozen, yet no buffer: published checkpoints and parameter counts include it.
        self.frequencies = nn.Parameter(frequencies, requires_grad=False)
        self.linear_in = _init(nn.Linear(2 * features, 4 * features))
        self.linear_out = _init(nn.Linear(4 * features, 4 * features))

    def forward(self, t):
        """(batch,) diffusion times > 0 -> (batch, 4 * features)."""
        with torch.autocast(device_type=t.device.type, enabled=False):
            phase = torch.log(t.float())[:, None] * self.frequencies.float()
            phase = 2 * math.pi * phase  # (batch, features)
            emb = torch.cat([phase.sin(), phase.cos()], dim=1)  # (batch, 2 * features)
            emb = self.linear_in(emb.to(self.linear_in.weight.dtype))
            emb = self.linear_out(F.silu(emb))
            # Every residual block starts with this activation: done once here.
            return F.silu(emb)  # (batch, 4 * features)


class ResidualBlock(nn.Module):
    """BigGAN residual block with time conditioning and optional resampling.

    ``resample``: "down", "up" or None. Source: Brock et al., BigGAN, ICLR 2019.

    Example
    -------
    >>> block = ResidualBlock(8, 16, emb_features=32, resample="down")
    >>> block(torch.rand(2, 8, 16, 4), torch.rand(2, 32)).shape
    torch.Size([2, 16, 8, 2])
    """

    def __init__(
        self, in_channels, out_channels, *, emb_features, resample=None, dropout=0.0
    ):
        super().__init__()
        self.norm_in = _norm(in_channels)
        self.resample = FIRResample(resample) if resample else nn.Identity()
        self.conv_in = _conv(in_channels, out_channels, 3)
        self.time = _init(nn.Linear(emb_features, out_channels))
        self.norm_out = _norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = _conv(out_channels, out_channels, 3, scale=NEAR_ZERO)
        self.shortcut = nn.Identity()
        if resample or in_channels != out_channels:
            self.shortcut = _conv(in_channels, out_channels, 1)

    def forward(self, x, emb):
        """(batch, in_channels, f, l), (batch, emb_features) -> (batch, out, f', l')."""
        h = self.resample(F.silu(self.norm_in(x)))  # (batch, in, f', l')
        h = self.conv_in(h) + self.time(emb)[:, :, None, None]  # (batch, out, f', l')
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
        self.norm = _norm(channels)
        self.query, self.key, self.value = (
            _conv(channels, channels, 1, scale=0.1) for _ in range(3)
        )
        self.out = _conv(channels, channels, 1, scale=NEAR_ZERO)

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


class Level(nn.Module):
    """Blocks of widths in_widths[i] -> width, then the resampling block (if any)."""

    def __init__(self, in_widths, width, attention, resample, **block_args):
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(in_width, width, **block_args) for in_width in in_widths
        )
        self.attentions = nn.ModuleList(
            Attention(width) if attention else nn.Identity() for _ in in_widths
        )
        self.resample = None
        if resample:
            self.resample = ResidualBlock(width, width, resample=resample, **block_args)


class EncoderLevel(Level):
    """Level that also returns each of its feature maps for the decoder."""

    def forward(self, h, emb):
        """(batch, in, f, l) -> (batch, width, f', l') and the list of all maps."""
        maps = []
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            h = attention(block(h, emb))  # (batch, width, f, l)
            maps.append(h)
        if self.resample is not None:
            h = self.resample(h, emb)  # (batch, width, f / 2, l / 2)
            maps.append(h)
        return h, maps


class DecoderLevel(Level):
    """Level whose blocks each join one encoder map, the latest first."""

    def forward(self, h, emb, maps):
        """(batch, in, f, l) -> (batch, width, f', l'); takes what it uses off maps."""
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            h = torch.cat([h, maps.pop()], dim=1)  # (batch, in + skip, f, l)
            h = attention(block(h, emb))  # (batch, width, f, l)
        return h if self.resample is None else self.resample(h, emb)


class Bottleneck(nn.Module):
    """Residual block, attention, residual block at the lowest resolution."""

    def __init__(self, channels, **block_args):
        super().__init__()
        self.block_in = ResidualBlock(channels, channels, **block_args)
        self.attention = Attention(channels)
        self.block_out = ResidualBlock(channels, channels, **block_args)

    def forward(self, h, emb):
        """(batch, channels, f, l) -> same shape."""
        return self.block_out(self.attention(self.block_in(h, emb)), emb)


class Tail(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution near zero, optional 1x1 output layer."""

    def __init__(self, channels, data_channels, output_layer):
        super().__init__()
        width = 2 * data_channels if output_layer else data_channels
        self.norm = _norm(channels)
        self.conv = _conv(channels, width, 3, scale=NEAR_ZERO)
        self.output = nn.Identity()
        if output_layer:  # with PyTorch's default initialisation, as in SGMSE+
            self.output = nn.Conv2d(width, data_channels, 1)

    def forward(self, h):
        """(batch, channels, freq, frames) -> (batch, data_channels, freq, frames)."""
        return self.output(self.conv(F.silu(self.norm(h))))


class NCSNpp(nn.Module):
    """Noise-conditional score U-Net, NCSN++ in its 48-kHz SGMSE+ form.

    Source: Song et al., ICLR 2021; Richter et al., Interspeech 2024 (``ncsnpp_48k``).

    Arguments
    ---------
    data_channels : int
        Channels of ``x`` and of ``y``: 2 (real, imaginary) or the latent channels.
    base_channels : int
        Width of the first level (``nf``, the "128" of LAFUFU_128).
    multipliers : sequence of int
        Width of each level over ``base_channels``; one halving between levels.
    blocks_per_level : int
        Residual blocks per encoder level (the decoder has one more).
    attention_levels : sequence of int
        Indices (0 = full resolution) of levels with extra attention after each block,
        in encoder and decoder. The bottleneck always has attention.
    fourier_scale : float
        Standard deviation of the frozen time-embedding frequencies.
    dropout : float
        Dropout probability in the residual blocks.
    output_layer : bool
        Whether the tail is 3x3 to ``2 * data_channels`` and 1x1 to ``data_channels``
        (SGMSE+), or 3x3 straight to ``data_channels`` (LAFUFU).
    divide_by_time : bool
        Whether the output is divided by ``t``.

    Raises
    ------
    ValueError
        If there is no level, no block or no such attention level.

    Example
    -------
    >>> net = NCSNpp(data_channels=4, base_channels=8, multipliers=(1, 2))
    >>> z = torch.rand(2, 4, 12, 6)
    >>> net(z, z, torch.tensor([0.3, 1.0])).shape
    torch.Size([2, 4, 12, 6])
    >>> net.grid
    2
    """

    def __init__(
        self,
        *,
        data_channels=2,
        base_channels=128,
        multipliers=(1, 1, 2, 2, 2, 2, 2),
        blocks_per_level=2,
        attention_levels=(),
        fourier_scale=16.0,
        dropout=0.0,
        output_layer=True,
        divide_by_time=True,
    ):
        super().__init__()
        last = len(multipliers) - 1
        if last < 0 or blocks_per_level < 1:
            raise ValueError("multipliers and blocks_per_level: at least one of each")
        if not set(attention_levels) <= set(range(last + 1)):
            raise ValueError(
                f"attention_levels {attention_levels} must be level indices 0 to {last}"
            )
        self.data_channels = data_channels
        self.multipliers = tuple(multipliers)
        self.attention_levels = tuple(attention_levels)
        self.divide_by_time = divide_by_time

        shared = {"emb_features": 4 * base_channels, "dropout": dropout}
        widths = [base_channels * multiplier for multiplier in multipliers]
        self.time_embedding = TimeEmbedding(base_channels, fourier_scale)
        self.stem = _conv(2 * data_channels, base_channels, 3)

        self.encoder = nn.ModuleList()
        skips = [base_channels]  # widths of the joined maps, in order of appearance
        for level, width in enumerate(widths):
            inputs = [skips[-1]] + [width] * (blocks_per_level - 1)
            attention = level in attention_levels
            down = "down" if level < last else None
            self.encoder.append(EncoderLevel(inputs, width, attention, down, **shared))
            skips += [width] * (blocks_per_level + (level < last))

        self.bottleneck = Bottleneck(widths[-1], **shared)

        self.decoder = nn.ModuleList()  # from the bottom up
        below = widths[-1]
        for level, width in reversed(list(enumerate(widths))):
            inputs = [w + skips.pop() for w in [below] + [width] * blocks_per_level]
            attention = level in attention_levels
            up = "up" if level > 0 else None
            self.decoder.append(DecoderLevel(inputs, width, attention, up, **shared))
            below = width

        self.tail = Tail(below, data_channels, output_layer)

    @property
    def grid(self):
        """Multiple that freq and frames must have: one factor 2 per halving."""
        return 2 ** (len(self.multipliers) - 1)

    def forward(self, x, y, t):
        """Estimate from the diffused state and its condition.

        Arguments
        ---------
        x, y : torch.Tensor
            Diffused state x_t and condition (the distorted spectrogram or latent),
            both (batch, data_channels, freq, frames).
        t : torch.Tensor
            Diffusion times, (batch,), greater than 0.

        Returns
        -------
        torch.Tensor
            Raw network output, shape and dtype of ``x``.

        Raises
        ------
        ValueError
            If freq or frames is not a multiple of ``grid``.
        """
        freq, frames = x.shape[-2:]
        if freq % self.grid or frames % self.grid:
            raise ValueError(
                f"pad freq {freq} and frames {frames} to multiples of {self.grid}"
            )
        emb = self.time_embedding(t)  # (batch, 4 * base_channels)
        h = self.stem(torch.cat([x, y], dim=1))  # (batch, base_channels, freq, frames)
        maps = [h]
        for level in self.encoder:
            h, level_maps = level(h, emb)  # (batch, width, freq / 2^n, frames / 2^n)
            maps += level_maps
        h = self.bottleneck(h, emb)  # (batch, width, freq / grid, frames / grid)
        for level in self.decoder:
            h = level(h, emb, maps)  # (batch, width, freq / 2^n, frames / 2^n)
        out = self.tail(h).to(x.dtype)  # (batch, data_channels, freq, frames)
        if self.divide_by_time:
            out = out / t.to(x.dtype)[:, None, None, None]
        return out
