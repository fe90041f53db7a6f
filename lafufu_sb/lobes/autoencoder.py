"""The autoencoder whose latent the diffusion runs in.

``LatentAutoencoder`` is the U-Net of Refusion (Luo et al. 2023) with two halvings,
as LAFUFU uses it: the decoder receives, beside the latent, the skip tensors of
the encoder ("skip connections"). At restoration these always come from the
DISTORTED input, while the latent has been replaced by the restored one.
"""

from collections import namedtuple

import torch
import torch.nn.functional as F
from torch import nn

from lafufu_sb.lobes.autoencoder_layers import DecoderLevel, DeepFilter, EncoderLevel

Encoded = namedtuple("Encoded", ["latent", "skips", "size"])
Encoded.__doc__ = """What an encoder gives.

latent : torch.Tensor
    (batch, latent_channels, height, width), scaled by ``latent_scale``.
skips : tuple of torch.Tensor
    Encoder activations for the decoder, and the padded spectrogram if it filters
    that; empty without skip connections.
size : tuple of int
    (bins, frames) of the input, so that ``decode`` can cut its padding off.
"""

Reconstructions = namedtuple(
    "Reconstructions", ["distorted", "clean", "distorted_latent", "clean_latent"]
)
Reconstructions.__doc__ = """What a training step of the autoencoder needs.

distorted : torch.Tensor
    decode(distorted latent, distorted skips).
clean : torch.Tensor
    decode(CLEAN latent, DISTORTED skips): with this decoder the best there can be.
distorted_latent, clean_latent : torch.Tensor
    The latents, on the scale that the regulariser of the paper sees.
"""


class _RescaledLatent(nn.Module):
    """Keeps a factor on the latent that the diffusion sees, and the predictor."""

    def __init__(self, predictor=None):
        super().__init__()
        self.predictor = nn.Identity() if predictor is None else predictor
        self.register_buffer("latent_scale", torch.ones(()))

    @property
    def predicts(self):
        """Whether there is a predictor with weights."""
        return any(True for _ in self.predictor.parameters())

    def reset_latent_scale(self):
        """Go back to the scale of training, on which the regulariser works."""
        self.latent_scale.fill_(1.0)

    @torch.no_grad()
    def set_latent_std(self, measured, wanted):
        """Rescale the latent from its measured standard deviation to a wanted one."""
        self.latent_scale.mul_(wanted / measured)


class LatentAutoencoder(_RescaledLatent):
    """U-Net autoencoder with skip connections (Refusion, two halvings).

    The latent has ``patch * 2**halvings`` times fewer rows and columns than the
    spectrogram: 16 times fewer positions with three levels, or with two and
    patches of two.

    Arguments
    ---------
    data_channels : int
        Channels of the spectrogram: real and imaginary part.
    channels : int
        Width of the first level.
    multipliers : sequence of int
        One per level: the width that the level hands on, times ``channels``.
        ``len(multipliers) - 1`` halvings.
    latent_channels : int
        Channels of the latent.
    skip_connections : bool
        Whether the decoder sees the encoder's skip tensors (the ablation of the
        paper trains without).
    gain : float
        Fixed factor on the way in, divided out again on the latent and on the
        output. A compressed spectrogram has a standard deviation of about 0.07; fed
        as it is, the blocks (no normalisation, SiLU) stay in their linear range and
        the decoder never learns to use the latent. 12 brings it near one.
    patch : int
        Side of the squares of the spectrogram that become channels before the first
        convolution, and positions again after the last one. With 2 and one level
        fewer the same latent costs a fourth to a tenth of the time on a CPU, where
        the activations at full resolution cost most.
    filter_taps : int
        Frames, an odd number, of a filter that the decoder estimates for each bin and
        frame: complex weights of the distorted spectrogram's frames around, whose sum
        is added to what the decoder gives (deep filtering: Mack and Habets 2019). It
        need not rebuild so what it can let through. It begins at nothing; stage one
        leaves it there, for the distorted spectrogram could be let through without a
        latent. 0: no filter. Needs skip connections.
    predictor : torch.nn.Module, optional
        What distorted spectrograms go through before ``encode`` (``GainPredictor``). It
        is kept here because latent and skips are of what it gives.

    Raises
    ------
    ValueError
        For an even number of taps, or taps without skip connections or with other
        than two data channels.

    Attributes
    ----------
    latent_scale : torch.Tensor
        Factor on the latent that the diffusion sees, one until it is measured
        (``set_latent_std``) after training; travels with the weights.

    Example
    -------
    >>> autoencoder = LatentAutoencoder(channels=8, latent_channels=4)
    >>> spec = torch.randn(1, 2, 768, 64)
    >>> latent, skips, size = autoencoder.encode(spec)
    >>> latent.shape
    torch.Size([1, 4, 192, 16])
    >>> autoencoder.decode(latent, skips, size).shape
    torch.Size([1, 2, 768, 64])
    """

    follows_weights = True  # computes in their type and layout, see ``Twin``
    decodes_with = ("from_latent", "decoder", "head", "filter")  # see ``LatentDecoder``

    def __init__(
        self,
        *,
        data_channels=2,
        channels=64,
        multipliers=(1, 2, 4),
        latent_channels=4,
        skip_connections=True,
        gain=12.0,
        patch=1,
        filter_taps=0,
        predictor=None,
    ):
        super().__init__(predictor)
        filters = data_channels == 2 and skip_connections and filter_taps % 2
        if filter_taps and not filters:
            raise ValueError(
                f"filter_taps must be odd, got {filter_taps}, with skip connections "
                "and two data channels"
            )
        self.data_channels = data_channels
        self.latent_channels = latent_channels
        self.skip_connections = skip_connections
        self.gain = gain
        self.patch = patch
        self.reduction = patch * 2 ** (len(multipliers) - 1)
        widths = [channels] + [channels * m for m in multipliers]
        last = len(multipliers) - 1
        patched = data_channels * patch**2
        self.stem = nn.Conv2d(patched, channels, 3, padding=1, bias=False)
        self.encoder = nn.ModuleList(
            EncoderLevel(widths[i], widths[i + 1], deepest=i == last)
            for i in range(last + 1)
        )
        self.to_latent = nn.Conv2d(widths[-1], latent_channels, 1, bias=False)
        self.from_latent = nn.Conv2d(latent_channels, widths[-1], 1, bias=False)
        self.decoder = nn.ModuleList(
            DecoderLevel(
                widths[i + 1],
                widths[i],
                deepest=i == last,
                top=i == 0,
                skips=skip_connections,
            )
            for i in range(last + 1)
        )
        self.head = nn.Conv2d(channels, patched, 3, padding=1)
        self.filter = None
        if filter_taps:
            self.filter = DeepFilter(channels, patch, filter_taps)
        self.register_load_state_dict_pre_hook(_fit_filter)

    def encode(self, spectrograms):
        """Spectrogram to latent.

        Arguments
        ---------
        spectrograms : torch.Tensor
            (batch, data_channels, bins, frames); sizes that are no multiple of
            ``reduction`` are padded on the right by repeating the edge.

        Returns
        -------
        Encoded
            latent (batch, latent_channels, ceil(bins/reduction),
            ceil(frames/reduction)), skips, size.
        """
        size = tuple(spectrograms.shape[-2:])
        below, right = (-s % self.reduction for s in size)
        padded = F.pad(spectrograms, (0, right, 0, below), mode="replicate")
        x = self.gain * padded
        x = F.pixel_unshuffle(x.to(self.stem.weight.dtype), self.patch)
        x = self.stem(x)  # (batch, channels, h, w)
        skips = [x]
        for level in self.encoder:
            x, pair = level(x)
            skips.extend(pair)
        if self.filter is not None:
            skips.append(padded)
        latent = self.to_latent(x) * (self.latent_scale / self.gain)
        return Encoded(latent, tuple(skips) if self.skip_connections else (), size)

    def decode(self, latent, skips=(), size=None):
        """Latent to spectrogram.

        Arguments
        ---------
        latent : torch.Tensor
            (batch, latent_channels, height, width), as ``encode`` scales it.
        skips : tuple of torch.Tensor
            Those of the distorted input's ``encode``.
        size : tuple of int, optional
            (bins, frames) of the output; by default all of it.

        Returns
        -------
        torch.Tensor
            (batch, data_channels, bins, frames).

        Raises
        ------
        ValueError
            If the skips are missing, or given to a decoder that has none.
        """
        expected = 1 + 2 * len(self.decoder) if self.skip_connections else 0
        expected += self.filter is not None
        if len(skips) != expected:
            raise ValueError(
                f"decode needs {expected} skip tensors, got {len(skips)}: pass the "
                "skips that encode returned for the distorted input"
            )
        x = latent * (self.gain / self.latent_scale)
        x = self.from_latent(x.to(self.from_latent.weight.dtype))
        for i in reversed(range(len(self.decoder))):
            x = self.decoder[i](x, skips[1 + 2 * i : 3 + 2 * i])
        if self.skip_connections:
            x = x + skips[0]
        decoded = F.pixel_shuffle(self.head(x), self.patch)
        if self.filter is not None:
            decoded = decoded + self.filter(x, skips[-1])
        decoded = decoded / self.gain
        return decoded if size is None else decoded[..., : size[0], : size[1]]

    def forward(self, distorted, clean):
        """Both reconstructions of a training step, in one call so that DDP sees it.

        Arguments
        ---------
        distorted, clean : torch.Tensor
            (batch, data_channels, bins, frames).

        Returns
        -------
        Reconstructions
        """
        y, x = self.encode(distorted), self.encode(clean)
        return Reconstructions(
            self.decode(y.latent, y.skips, y.size),
            self.decode(x.latent, y.skips, y.size),
            y.latent,
            x.latent,
        )


def _fit_filter(autoencoder, state, prefix, *_):
    """A filter at nothing is none: such weights fit without one, others with one."""
    if autoencoder.filter is not None:
        own = autoencoder.filter.state_dict(prefix=f"{prefix}filter.")
        for name, weight in own.items():
            state.setdefault(name, torch.zeros_like(weight))
        return
    stored = [name for name in state if name.startswith(f"{prefix}filter.")]
    if not any(state[name].any() for name in stored):
        for name in stored:
            del state[name]


class LatentDecoder(nn.Module):
    """The decoder of an autoencoder alone, to be trained where its encoder is not.

    With the same weights, as a module of its own: so averages and checkpoints hold
    nothing of the encoder, and distributed training sees its calls.

    Arguments
    ---------
    autoencoder : LatentAutoencoder or IdentityAutoencoder
        Whose decoder it is.

    Example
    -------
    >>> autoencoder = LatentAutoencoder(channels=8, latent_channels=4)
    >>> decoder = LatentDecoder(autoencoder)
    >>> decoder(*autoencoder.encode(torch.randn(1, 2, 768, 64))).shape
    torch.Size([1, 2, 768, 64])
    """

    def __init__(self, autoencoder):
        super().__init__()
        for name in autoencoder.decodes_with:
            self.add_module(name, getattr(autoencoder, name))
        self._autoencoder = [autoencoder]  # a list hides the encoder from nn.Module

    def forward(self, latent, skips=(), size=None):
        """See ``LatentAutoencoder.decode``."""
        return self._autoencoder[0].decode(latent, skips, size)


class IdentityAutoencoder(_RescaledLatent):
    """No autoencoder: the diffusion runs on the spectrogram itself (SGMSE+).

    Nothing to train, but the spectrogram can be rescaled for the diffusion as a latent
    is (``latent_scale``; one in SGMSE+ as published).

    Example
    -------
    >>> identity = IdentityAutoencoder()
    >>> latent, skips, size = identity.encode(torch.randn(1, 2, 768, 64))
    >>> identity.decode(latent, skips, size).shape
    torch.Size([1, 2, 768, 64])
    """

    reduction = 1
    decodes_with = ()
    filter = None

    def __init__(self, data_channels=2, predictor=None):
        super().__init__(predictor)
        self.latent_channels = data_channels

    def encode(self, spectrograms):
        """Give the spectrogram as its own latent, without skips."""
        latent = spectrograms * self.latent_scale
        return Encoded(latent, (), tuple(spectrograms.shape[-2:]))

    def decode(self, latent, skips=(), size=None):
        """Give the latent as the spectrogram."""
        return latent / self.latent_scale
