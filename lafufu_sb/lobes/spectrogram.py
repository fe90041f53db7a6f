"""Waveform to compressed two-channel spectrogram and back.

Complex numbers stay in here: the networks see real tensors, so that export,
``channels_last`` and bfloat16 just work.
"""

import torch
from speechbrain.utils.autocast import fwd_default_precision
from torch import nn

from lafufu_sb.errors import real_number, whole_number


class CompressedSpectrogram(nn.Module):
    """Short-time Fourier transform with amplitude compression, and its inverse.

    Each coefficient ``c`` becomes ``factor * |c|**exponent * exp(i angle(c))``;
    real and imaginary parts are two channels. The defaults are those of the
    48-kHz SGMSE+ (Richter et al. 2024, "EARS"): periodic Hann window of 1534
    samples, hop 384, centred frames with reflected edges.

    Always computed in float32, whatever autocast is active around it.

    Arguments
    ---------
    n_fft : int
        Window and transform length in samples; ``n_fft // 2 + 1`` bins.
    hop_length : int
        Samples between frames.
    factor : float
        Multiplier of the compressed magnitude.
    exponent : float
        Power of the magnitude, in (0, 1].

    Example
    -------
    >>> spectrogram = CompressedSpectrogram()
    >>> spec = spectrogram(torch.randn(1, 97920))
    >>> spec.shape
    torch.Size([1, 2, 768, 256])
    >>> spectrogram.inverse(spec, length=97920).shape
    torch.Size([1, 97920])
    """

    def __init__(self, n_fft=1534, hop_length=384, factor=0.065, exponent=0.667):
        super().__init__()
        self.n_fft = whole_number("n_fft", n_fft, 2, 2**16)
        self.hop_length = whole_number("hop_length", hop_length, 1, n_fft)
        self.factor = real_number("factor", factor, 1e-6, 1e6)
        self.exponent = real_number("exponent", exponent, 0.01, 1)
        # On the meta device, where models are built first, it imports the compiler.
        window = torch.hann_window(n_fft, device="cpu")
        self.register_buffer("window", window, persistent=False)

    @property
    def bins(self):
        """Number of frequency bins, all of which are kept."""
        return self.n_fft // 2 + 1

    def frames(self, samples):
        """Number of frames of a signal of so many samples."""
        return 1 + samples // self.hop_length

    def samples(self, frames):
        """Fewest samples that give so many frames."""
        return (frames - 1) * self.hop_length

    @fwd_default_precision(cast_inputs=torch.float32)
    def forward(self, wavs):
        """Compress.

        Arguments
        ---------
        wavs : torch.Tensor
            (batch, time) waveforms; more than ``n_fft // 2`` samples long,
            which reflection at the edges needs.

        Returns
        -------
        torch.Tensor
            (batch, 2, bins, frames), real and imaginary parts.
        """
        spectra = torch.stft(
            wavs,
            self.n_fft,
            self.hop_length,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        channels = torch.view_as_real(spectra).permute(0, 3, 1, 2)
        power = channels.square().sum(dim=1, keepdim=True)
        # c * |c|^(e-1): |c|^(e-1) has no finite gradient at zero, hence the floor
        # (-120 dB of full scale), which leaves exact zeros zero.
        scale = power.clamp(min=1e-12).pow((self.exponent - 1) / 2)
        return self.factor * scale * channels

    @fwd_default_precision(cast_inputs=torch.float32)
    def inverse(self, spectrograms, length):
        """Expand and resynthesise.

        Arguments
        ---------
        spectrograms : torch.Tensor
            (batch, 2, bins, frames).
        length : int
            Samples of the output.

        Returns
        -------
        torch.Tensor
            (batch, length) waveforms.
        """
        channels = spectrograms / self.factor
        power = channels.square().sum(dim=1, keepdim=True)
        floor = 1e-12**self.exponent  # what the floor above becomes
        scale = power.clamp(min=floor).pow((1 / self.exponent - 1) / 2)
        spectra = torch.view_as_complex(
            (scale * channels).permute(0, 2, 3, 1).contiguous()
        )
        # The hop is not a quarter of the window, so the overlap of the windows is
        # not constant: istft divides by the summed squared windows.
        return torch.istft(
            spectra,
            self.n_fft,
            self.hop_length,
            window=self.window,
            center=True,
            length=length,
        )
