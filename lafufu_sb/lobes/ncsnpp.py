"""Noise-conditional score U-Net (NCSN++) for spectrograms and latents.

One class serves full band (SGMSE+: ``data_channels=2``, the real and imaginary part of
a compressed 48-kHz spectrogram) and latents (LAFUFU: the latent's channels,
``output_layer=False``). It knows nothing of SDEs: the sign and scale of a score belong
to the objective that uses it.

Sources: Song et al., "Score-based generative modeling through stochastic differential
equations", ICLR 2021 (NCSN++); Richter et al., "EARS", Interspeech 2024 (the 48-kHz
form: no image pyramids, attention in the bottleneck only, six halvings).
"""

import torch
import torch.nn.functional as F
from torch import nn

from lafufu_sb.errors import UsageError, whole_number, whole_numbers
from lafufu_sb.lobes.ncsnpp_layers import (
    Attention,
    ResidualBlock,
    Tail,
    TimeEmbedding,
    conv,
)
from lafufu_sb.lobes.score_network import ScoreNetwork


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

    def forward(self, h, shifts):
        """(batch, in, f, l) -> (batch, width, f', l') and the list of all maps.

        Takes the ``shift`` of each of its blocks off the iterator.
        """
        maps = []
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            h = attention(block(h, next(shifts)))  # (batch, width, f, l)
            maps.append(h)
        if self.resample is not None:
            h = self.resample(h, next(shifts))  # (batch, width, f / 2, l / 2)
            maps.append(h)
        return h, maps


class DecoderLevel(Level):
    """Level whose blocks each join one encoder map, the latest first."""

    def forward(self, h, shifts, maps):
        """(batch, in, f, l) -> (batch, width, f', l').

        Takes what it uses off ``shifts`` and ``maps``.
        """
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            h = torch.cat([h, maps.pop()], dim=1)  # (batch, in + skip, f, l)
            h = attention(block(h, next(shifts)))  # (batch, width, f, l)
        return h if self.resample is None else self.resample(h, next(shifts))


class Bottleneck(nn.Module):
    """Residual block, attention, residual block at the lowest resolution."""

    def __init__(self, channels, **block_args):
        super().__init__()
        self.block_in = ResidualBlock(channels, channels, **block_args)
        self.attention = Attention(channels)
        self.block_out = ResidualBlock(channels, channels, **block_args)

    def forward(self, h, shifts):
        """(batch, channels, f, l) -> same shape; takes two off ``shifts``."""
        h = self.attention(self.block_in(h, next(shifts)))
        return self.block_out(h, next(shifts))


class NCSNpp(ScoreNetwork):
    """Noise-conditional score U-Net, NCSN++ in its 48-kHz SGMSE+ form.

    Source: Song et al., ICLR 2021; Richter et al., Interspeech 2024 (``ncsnpp_48k``).

    Arguments
    ---------
    data_channels : int
        Channels of the state: 2 (real, imaginary) or the latent channels.
    condition_channels : int, optional
        Channels of the condition, ``data_channels`` for each of its names; by default
        one name. 0 for an unconditional network.
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
    UsageError
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

    computes_in_weight_dtype = True
    compiled_functions = ("step",)

    def __init__(
        self,
        *,
        data_channels=2,
        condition_channels=None,
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
        multipliers = whole_numbers("multipliers", multipliers, 1, 2**10, longest=12)
        last = len(multipliers) - 1
        whole_number("blocks_per_level", blocks_per_level, 1, 64)
        if not set(attention_levels) <= set(range(last + 1)):
            raise UsageError(
                f"attention_levels {attention_levels} must be level indices 0 to {last}"
            )
        if condition_channels is None:
            condition_channels = data_channels
        whole_number("condition_channels", condition_channels, 0, 2**16)
        base_channels = whole_number("base_channels", base_channels, 1, 2**16)
        self.data_channels = whole_number("data_channels", data_channels, 1, 2**16)
        self.condition_channels = condition_channels
        self.multipliers = multipliers
        self.attention_levels = tuple(attention_levels)
        self.divide_by_time = divide_by_time

        shared = {"emb_features": 4 * base_channels, "dropout": dropout}
        widths = [base_channels * multiplier for multiplier in multipliers]
        self.time_embedding = TimeEmbedding(base_channels, fourier_scale)
        self.stem = conv(data_channels + condition_channels, base_channels, 3)

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
        blocks = self._residual_blocks()
        self._shift_widths = [block.time.out_features for block in blocks]

    @property
    def grid(self):
        """Multiple that freq and frames must have: one factor 2 per halving."""
        return 2 ** (len(self.multipliers) - 1)

    def forward(self, x, condition, t):
        """See ``ScoreNetwork``. One time expanded to all items is embedded once."""
        return self.bind(condition)(x, t)

    def bind(self, condition, memo=None):
        """Compute the condition's share of the stem once; see ``ScoreNetwork``.

        Returns
        -------
        BoundNCSNpp
        """
        return BoundNCSNpp(self, condition, memo)

    def condition(self, condition):
        """Share of the condition in the stem, (batch, base_channels, freq, frames).

        Without a condition it is the bias alone, (base_channels, 1, 1).
        """
        if condition is None:
            return self.stem.bias[:, None, None]
        weight = self.stem.weight[:, self.data_channels :]
        return F.conv2d(self.enter(condition), weight, self.stem.bias, padding=1)

    def time_shifts(self, t):
        """Shifts of all residual blocks side by side, the last axis of the result."""
        emb = self.time_embedding(t.reshape(-1))  # (times, 4 * base_channels)
        emb = emb.to(self.stem.weight.dtype)
        shifts = [block.time(emb) for block in self._residual_blocks()]
        return torch.cat(shifts, dim=1).reshape(*t.shape, -1)

    def step(self, x, condition, t, shifts=None):
        """The work that is new at each step of a sampler.

        Arguments
        ---------
        x : torch.Tensor
            (batch, data_channels, freq, frames), in the weights' dtype.
        condition : torch.Tensor
            As ``condition`` returns it.
        t : torch.Tensor
            Times, (batch,) or ().
        shifts : torch.Tensor, optional
            ``time_shifts(t)``, if known.

        Returns
        -------
        torch.Tensor
            Undivided output, shape of ``x``.
        """
        shifts = self.time_shifts(t) if shifts is None else shifts
        shifts = iter(shifts.split(self._shift_widths, dim=-1))
        weight = self.stem.weight[:, : self.data_channels]
        h = F.conv2d(x, weight, padding=1) + condition
        maps = [h]  # (batch, base_channels, freq, frames)
        for level in self.encoder:
            h, level_maps = level(h, shifts)  # (batch, width, freq / 2^n, frames / 2^n)
            maps += level_maps
        h = self.bottleneck(h, shifts)  # (batch, width, freq / grid, frames / grid)
        for level in self.decoder:
            h = level(h, shifts, maps)  # (batch, width, freq / 2^n, frames / 2^n)
        return self.tail(h)  # (batch, data_channels, freq, frames)

    def enter(self, x):
        """Give data the dtype and memory format of the weights."""
        weight = self.stem.weight
        channels_last = weight.is_contiguous(memory_format=torch.channels_last)
        memory_format = (
            torch.channels_last if channels_last else torch.contiguous_format
        )
        return x.to(weight.dtype, memory_format=memory_format)

    def _residual_blocks(self):
        """In the order of their computation, which is that of their registration."""
        return [block for block in self.modules() if isinstance(block, ResidualBlock)]


class BoundNCSNpp:
    """An ``NCSNpp`` with its condition; see ``NCSNpp.bind``.

    Example
    -------
    >>> net = NCSNpp(data_channels=4, base_channels=8, multipliers=(1, 2))
    >>> bound = net.bind(torch.rand(2, 4, 12, 6))
    >>> bound(torch.rand(2, 4, 12, 6), torch.tensor(0.3).expand(2)).shape
    torch.Size([2, 4, 12, 6])
    """

    def __init__(self, network, condition, memo=None):
        self.network = network
        self.condition = network.condition(condition)
        self.memo = memo

    def __call__(self, x, t):
        """(batch, data_channels, freq, frames) and (batch,) to the shape of ``x``."""
        freq, frames = x.shape[-2:]
        if freq % self.network.grid or frames % self.network.grid:
            raise ValueError(
                f"freq {freq} and frames {frames} must be multiples of "
                f"{self.network.grid}"
            )
        if t.stride(0) == 0 or t.shape[0] == 1:  # one time, found without reading
            t = t[0]
        entered, shifts = self.network.enter(x), self._known_shifts(t)
        out = self.network.step(entered, self.condition, t, shifts).to(x.dtype)
        if self.network.divide_by_time:
            out = out / t.to(x.dtype).reshape(-1, 1, 1, 1)
        return out

    def _known_shifts(self, t):
        # Reading a time would make an accelerator's queue wait.
        if self.memo is None or t.device.type != "cpu":
            return None
        key = (t.shape, *t.reshape(-1).tolist())
        if key not in self.memo:
            self.memo[key] = self.network.time_shifts(t)
        return self.memo[key]
