"""The latent of a small spectrogram autoencoder (LAFUFU)."""

import torch

from lafufu_sb.lobes.autoencoder import LatentDecoder, LatentEncoder
from lafufu_sb.lobes.representations.base import Encoded
from lafufu_sb.lobes.representations.spectrogram import SpectrogramFeatures


class LatentRepresentation(SpectrogramFeatures):
    """U-Net autoencoder with skip connections (Refusion, Luo et al. 2023).

    The decoder receives, beside the latent, tensors of the encoder ("hidden
    connections" in the paper). At restoration these always come from the distorted (or
    pre-enhanced) input, while the latent has been replaced by the restored one. The
    latent has ``patch * 2**halvings`` times fewer rows and columns than the
    spectrogram: 16 times fewer positions with three levels, or with two levels and
    patches of two.

    Arguments
    ---------
    spectrogram : CompressedSpectrogram
        See ``SpectrogramFeatures``.
    channels : int
        Width of the first level.
    multipliers : sequence of int
        One per level: the width that the level hands on, times ``channels``.
        ``len(multipliers) - 1`` halvings.
    latent_channels : int
        Channels of the latent.
    skip_connections : bool
        Whether the decoder sees the encoder's tensors (an ablation of the paper trains
        without).
    gain : float
        See ``LatentEncoder``.
    patch : int
        See ``LatentEncoder``.
    filter_taps, filter_inputs, gated
        See ``LatentDecoder``. They need skip connections.

    Attributes
    ----------
    encoder : LatentEncoder
    decoder : LatentDecoder

    Example
    -------
    >>> import torch
    >>> from lafufu_sb.lobes.spectrogram import CompressedSpectrogram
    >>> representation = LatentRepresentation(CompressedSpectrogram(), channels=8)
    >>> latent, skips, size = representation.encode(torch.randn(1, 2, 768, 64))
    >>> latent.shape
    torch.Size([1, 4, 192, 16])
    >>> representation.decode(latent, skips, size).shape
    torch.Size([1, 2, 768, 64])
    """

    computes_in_weight_dtype = True
    compiled_functions = ("encode_features", "decode_features")

    def __init__(
        self,
        spectrogram,
        channels=64,
        multipliers=(1, 2, 4),
        latent_channels=4,
        skip_connections=True,
        gain=12.0,
        patch=1,
        filter_taps=0,
        filter_inputs=1,
        gated=False,
    ):
        super().__init__(spectrogram)
        shared = {
            "channels": channels,
            "multipliers": tuple(multipliers),
            "latent_channels": latent_channels,
            "gain": gain,
            "patch": patch,
            "filter_taps": filter_taps,
            "skip_connections": skip_connections,
        }
        self.encoder = LatentEncoder(**shared)
        self.decoder = LatentDecoder(**shared, filter_inputs=filter_inputs, gated=gated)
        self.joined_inputs = filter_inputs
        self.latent_channels = latent_channels
        self.grid = self.encoder.reduction
        self.gain = gain

    def encode_features(self, features):
        """See ``LatentEncoder``."""
        return Encoded(*self.encoder(features))

    def begin_training(self):
        """Open the decoder's gate, past which it would learn nothing."""
        self.decoder.open_gate()

    def end_training(self):
        """Close the gate: estimated latents are to begin with the source."""
        self.decoder.close_gate()

    def join(self, sources):
        """See ``Representation``; the filter gets the spectrograms of all sources."""
        first, *others = sources
        if not others:
            return first
        spectrograms = [source.skips[-1] for source in sources]
        skips = (*first.skips[:-1], torch.cat(spectrograms, dim=1))
        return first._replace(skips=skips)

    def decode_features(self, latent, skips=(), size=None):
        """See ``LatentDecoder``."""
        return self.decoder(latent, skips, size)
