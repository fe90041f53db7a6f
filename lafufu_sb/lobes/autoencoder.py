"""Encoder and decoder of the spectrogram autoencoder (Refusion, Luo et al. 2023)."""

import torch
import torch.nn.functional as F
from torch import nn

from lafufu_sb.errors import UsageError, real_number, whole_number, whole_numbers
from lafufu_sb.lobes.autoencoder_layers import DecoderLevel, DeepFilter, EncoderLevel

SPECTROGRAM_CHANNELS = 2  # real and imaginary part


class LatentEncoder(nn.Module):
    """Spectrogram to latent and skip tensors.

    Arguments
    ---------
    channels : int
        Width of the first level.
    multipliers : sequence of int
        One per level: the width that the level hands on, times ``channels``.
    latent_channels : int
        Channels of the latent.
    gain : float
        Fixed factor on the input. A compressed spectrogram has a standard deviation of
        about 0.07. Without a gain the blocks (no normalisation, SiLU) stay in their
        linear range and the decoder never learns to use the latent. 12 brings the
        input near one.
    patch : int
        Side of the squares of the spectrogram that become channels before the first
        convolution, and positions again after the last one. With 2 and one level fewer
        the same latent costs a fourth to a tenth of the time on a CPU, where the
        activations at full resolution cost most.
    filter_taps : int
        See ``LatentDecoder``; adds the padded spectrogram to the skips.
    skip_connections : bool
        Whether skips are returned.

    Attributes
    ----------
    reduction : int
        Rows and columns of the spectrogram for one of the latent.
    """

    def __init__(
        self,
        *,
        channels=64,
        multipliers=(1, 2, 4),
        latent_channels=4,
        gain=12.0,
        patch=1,
        filter_taps=0,
        skip_connections=True,
    ):
        super().__init__()
        whole_numbers("multipliers", multipliers, 1, 2**10, longest=12)
        whole_number("channels", channels, 1, 2**16)
        whole_number("latent_channels", latent_channels, 1, 2**16)
        whole_number("filter_taps", filter_taps, 0, 255)
        self.gain = real_number("gain", gain, 1e-6, 1e6)
        self.patch = whole_number("patch", patch, 1, 64)
        self.skip_connections = skip_connections
        self.filters = filter_taps > 0
        widths = [channels] + [channels * m for m in multipliers]
        last = len(multipliers) - 1
        self.reduction = patch * 2**last
        patched = SPECTROGRAM_CHANNELS * patch**2
        self.stem = nn.Conv2d(patched, channels, 3, padding=1, bias=False)
        self.levels = nn.ModuleList(
            EncoderLevel(widths[i], widths[i + 1], deepest=i == last)
            for i in range(last + 1)
        )
        self.to_latent = nn.Conv2d(widths[-1], latent_channels, 1, bias=False)

    def forward(self, spectrograms):
        """Encode.

        Arguments
        ---------
        spectrograms : torch.Tensor
            (batch, 2, bins, frames). Sizes that are no multiple of ``reduction`` are
            padded at the end by repeating the edge.

        Returns
        -------
        latent : torch.Tensor
            (batch, latent_channels, ceil(bins / reduction), ceil(frames / reduction)).
        skips : tuple of torch.Tensor
            Empty without skip connections.
        size : tuple of int
            (bins, frames).
        """
        size = tuple(spectrograms.shape[-2:])
        below, right = (-s % self.reduction for s in size)
        padded = F.pad(spectrograms, (0, right, 0, below), mode="replicate")
        x = self.gain * padded
        x = F.pixel_unshuffle(x.to(self.stem.weight.dtype), self.patch)
        x = self.stem(x)  # (batch, channels, h, w)
        skips = [x]
        for level in self.levels:
            x, pair = level(x)
            skips.extend(pair)
        if self.filters:
            skips.append(padded)
        return self.to_latent(x), tuple(skips) if self.skip_connections else (), size


class LatentDecoder(nn.Module):
    """Latent and skip tensors to spectrogram. Arguments as ``LatentEncoder``, and:

    Arguments
    ---------
    filter_taps : int
        Frames, an odd number, of a filter that the decoder estimates for each bin and
        frame: complex weights of the neighbouring frames of the distorted spectrogram.
        Their sum is added to the decoder's result (deep filtering, Mack and Habets
        2019), so that clean parts need not be rebuilt. It starts at zero, and stage
        one leaves it there: otherwise the distorted spectrogram could pass without the
        latent. 0 means no filter. Needs skip connections.
    filter_inputs : int
        Spectrograms that are filtered: that of the source of the skips, and others
        (``Representation.join``).
    gated : bool
        Whether the result is blended into the spectrogram ``s`` of the source of the
        skips: ``s + gate * (decoded - s)``, with a gate that is estimated for each bin
        and frame. It starts at zero, so that an untrained decoder returns its source.
        Stage one opens it (``open_gate``). Needs a filter.

    Raises
    ------
    UsageError
        For an even number of taps, taps without skip connections, or several inputs or
        a gate without taps.
    """

    def __init__(
        self,
        *,
        channels=64,
        multipliers=(1, 2, 4),
        latent_channels=4,
        gain=12.0,
        patch=1,
        filter_taps=0,
        filter_inputs=1,
        gated=False,
        skip_connections=True,
    ):
        super().__init__()
        if not filter_taps and (gated or filter_inputs > 1):
            raise UsageError("gated and filter_inputs need filter_taps")
        if filter_taps and not (skip_connections and filter_taps % 2):
            raise UsageError(
                f"filter_taps must be odd, got {filter_taps}, and needs skip "
                "connections"
            )
        self.gain = gain
        self.patch = patch
        self.skip_connections = skip_connections
        widths = [channels] + [channels * m for m in multipliers]
        last = len(multipliers) - 1
        self.from_latent = nn.Conv2d(latent_channels, widths[-1], 1, bias=False)
        self.levels = nn.ModuleList(
            DecoderLevel(
                widths[i + 1],
                widths[i],
                deepest=i == last,
                top=i == 0,
                skips=skip_connections,
            )
            for i in range(last + 1)
        )
        patched = SPECTROGRAM_CHANNELS * patch**2
        self.head = nn.Conv2d(channels, patched, 3, padding=1)
        self.filter = None
        if filter_taps:
            self.filter = DeepFilter(channels, patch, filter_taps, filter_inputs)
        self.gate = None
        if gated:
            self.gate = nn.Conv2d(channels, patch**2, 3, padding=1)
            self.close_gate()
        self.register_load_state_dict_pre_hook(_fit_filter)

    def open_gate(self):
        """Let the decoder's result through as it is, if there is a gate."""
        if self.gate is not None:
            nn.init.zeros_(self.gate.weight)
            nn.init.ones_(self.gate.bias)

    def close_gate(self):
        """Return the source of the skips, if there is a gate."""
        if self.gate is not None:
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)

    def forward(self, latent, skips=(), size=None):
        """Decode.

        Arguments
        ---------
        latent : torch.Tensor
            (batch, latent_channels, height, width), times ``gain``.
        skips : tuple of torch.Tensor
            Those of the encoder.
        size : tuple of int, optional
            (bins, frames) of the output, by default all.

        Returns
        -------
        torch.Tensor
            (batch, 2, bins, frames).

        Raises
        ------
        ValueError
            If skips are missing, or given to a decoder without skip connections.
        """
        expected = 1 + 2 * len(self.levels) if self.skip_connections else 0
        expected += self.filter is not None
        if len(skips) != expected:
            raise ValueError(
                f"decode needs {expected} skip tensors, got {len(skips)}: pass the "
                "skips that encode returned for the distorted input"
            )
        x = self.from_latent(latent.to(self.from_latent.weight.dtype))
        for i in reversed(range(len(self.levels))):
            x = self.levels[i](x, skips[1 + 2 * i : 3 + 2 * i])
        if self.skip_connections:
            x = x + skips[0]
        decoded = F.pixel_shuffle(self.head(x), self.patch)
        if self.filter is not None:
            decoded = decoded + self.filter(x, skips[-1])
        decoded = decoded / self.gain
        if self.gate is not None:
            source = skips[-1][:, :SPECTROGRAM_CHANNELS]
            gate = F.pixel_shuffle(self.gate(x), self.patch).to(source.dtype)
            decoded = source + gate * (decoded - source)
        return decoded if size is None else decoded[..., : size[0], : size[1]]


def _fit_filter(decoder, state, prefix, *_):
    """Let weights with a zero filter fit a decoder without one, and the reverse.

    Weights without a gate fit a decoder with one, which starts closed.
    """
    if decoder.gate is not None:
        own = decoder.gate.state_dict(prefix=f"{prefix}gate.")
        for name, weight in own.items():
            state.setdefault(name, torch.zeros_like(weight))
    if decoder.filter is not None:
        own = decoder.filter.state_dict(prefix=f"{prefix}filter.")
        for name, weight in own.items():
            state.setdefault(name, torch.zeros_like(weight))
        return
    stored = [name for name in state if name.startswith(f"{prefix}filter.")]
    if not any(state[name].any() for name in stored):
        for name in stored:
            del state[name]
