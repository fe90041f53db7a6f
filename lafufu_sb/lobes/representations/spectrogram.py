"""The compressed spectrogram as representation (SGMSE+)."""

import torch

from lafufu_sb.lobes.representations.base import Encoded, Representation

QUARTER_TURNS = 4  # of a full turn of the phase


class SpectrogramFeatures(Representation):
    """Base of the representations whose features are a compressed spectrogram.

    Arguments
    ---------
    spectrogram : CompressedSpectrogram
        The transform: (batch, samples) to (batch, 2, bins, frames).
    """

    phase_turns = QUARTER_TURNS

    def __init__(self, spectrogram):
        super().__init__()
        self.spectrogram = spectrogram
        self.hop_length = spectrogram.hop_length

    def features(self, wavs):
        """Compressed spectrogram, (batch, 2, bins, frames)."""
        return self.spectrogram(wavs)

    def waveforms(self, features, samples):
        """Inverse of ``features``, (batch, samples)."""
        return self.spectrogram.inverse(features, samples)

    def samples(self, frames):
        """Fewest samples that give so many frames."""
        return self.spectrogram.samples(frames)

    def turn(self, features, quarters):
        """Turn the phase by quarters of a full turn: an exact exchange of channels.

        Example
        -------
        >>> from lafufu_sb.lobes.spectrogram import CompressedSpectrogram
        >>> representation = SpectrogramRepresentation(CompressedSpectrogram())
        >>> representation.turn(torch.tensor([[1.0, 2.0]]), 1)
        tensor([[-2.,  1.]])
        """
        for _ in range(quarters % QUARTER_TURNS):
            real, imaginary = features.unbind(1)
            features = torch.stack([-imaginary, real], dim=1)
        return features


class SpectrogramRepresentation(SpectrogramFeatures):
    """Diffusion on the compressed spectrogram itself (SGMSE+).

    Nothing to train. The spectrogram can be rescaled for the diffusion like a latent;
    SGMSE+ as published keeps ``latent_scale`` at one.

    Arguments
    ---------
    spectrogram : CompressedSpectrogram
        See ``SpectrogramFeatures``.

    Example
    -------
    >>> from lafufu_sb.lobes.spectrogram import CompressedSpectrogram
    >>> representation = SpectrogramRepresentation(CompressedSpectrogram())
    >>> representation.encode(torch.randn(1, 2, 768, 64)).latent.shape
    torch.Size([1, 2, 768, 64])
    """

    latent_channels = 2

    def encode_features(self, features):
        """The spectrogram, without skips."""
        return Encoded(features, (), tuple(features.shape[-2:]))

    def decode_features(self, latent, skips=(), size=None):
        """The latent."""
        return latent
