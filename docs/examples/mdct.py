"""The modified discrete cosine transform (MDCT) as a representation."""

import math

import torch
from speechbrain.utils.autocast import fwd_default_precision
from torch.nn.functional import conv1d, conv_transpose1d, pad

from lafufu_sb.lobes.representations import Encoded, Representation


class MDCT(Representation):
    """Features: real coefficients of an orthonormal lapped transform, sine window.

    Latent: the signed square root of the coefficients, which narrows their range.
    Source: Princen & Bradley 1986, time-domain aliasing cancellation.

    Arguments
    ---------
    bands : int
        Coefficients of a frame, and samples from one frame to the next.
    """

    latent_channels = 1

    def __init__(self, bands=384):
        super().__init__()
        self.hop_length = bands
        n = torch.arange(2 * bands, dtype=torch.float64)
        k = torch.arange(bands, dtype=torch.float64)[:, None]
        window = torch.sin(math.pi / (2 * bands) * (n + 0.5))
        cosines = torch.cos(math.pi / bands * (n + 0.5 + bands / 2) * (k + 0.5))
        basis = math.sqrt(2 / bands) * window * cosines
        self.register_buffer("basis", basis[:, None].float(), persistent=False)

    @fwd_default_precision(cast_inputs=torch.float32)
    def features(self, wavs):
        """(batch, samples) to (batch, 1, bands, frames)."""
        hop = self.hop_length
        wavs = pad(wavs, (hop, hop + -wavs.shape[-1] % hop))
        return conv1d(wavs[:, None], self.basis, stride=hop)[:, None]

    @fwd_default_precision(cast_inputs=torch.float32)
    def waveforms(self, features, samples):
        """Inverse of ``features``: the transform's transpose."""
        hop = self.hop_length
        wavs = conv_transpose1d(features[:, 0], self.basis, stride=hop)
        return wavs[:, 0, hop : hop + samples]

    def samples(self, frames):
        """Samples of a signal that fills so many frames."""
        return (frames - 1) * self.hop_length

    def encode_features(self, features):
        """Signed square roots, without skips."""
        return Encoded(features.sign() * features.abs().sqrt())

    def decode_features(self, latent, skips=(), size=None):
        """Signed squares."""
        return latent * latent.abs()
