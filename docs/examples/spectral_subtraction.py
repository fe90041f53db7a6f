"""Spectral subtraction: on the features of a window, and on a whole recording."""

import torch

from lafufu_sb.lobes.pre_enhancer import PreEnhancer, SignalPreEnhancer


def subtraction_gains(magnitudes, excess, floor, quantile):
    """Gains of spectral subtraction, the shape of ``magnitudes`` (..., frames).

    The noise of a bin is a low quantile of its magnitudes over the frames. ``excess``
    times as much is subtracted. Source: Berouti et al. 1979.
    """
    rank = 1 + int(quantile * (magnitudes.shape[-1] - 1))
    noise = magnitudes.kthvalue(rank, dim=-1, keepdim=True).values
    return (1 - excess * noise / magnitudes.clamp(min=1e-8)).clamp(min=floor)


class WindowSubtraction(PreEnhancer):
    """Spectral subtraction on the features of a window. Nothing to train.

    Arguments
    ---------
    excess, floor, quantile : float
        See ``subtraction_gains``.
    """

    def __init__(self, excess=1.5, floor=0.25, quantile=0.1):
        super().__init__()
        self.settings = {"excess": excess, "floor": floor, "quantile": quantile}

    def forward(self, features):
        """(batch, 2, bins, frames), the same shape out."""
        magnitudes = features.square().sum(dim=1, keepdim=True).sqrt()
        return features * subtraction_gains(magnitudes, **self.settings)


class RecordingSubtraction(SignalPreEnhancer):
    """The same with the noise of the whole recording, which no window contains.

    Arguments
    ---------
    n_fft : int
        Samples of the Hann window; frames are a quarter of it apart.
    excess, floor, quantile : float
        See ``subtraction_gains``.
    """

    def __init__(self, n_fft=1024, excess=1.5, floor=0.1, quantile=0.1):
        super().__init__()
        self.n_fft = n_fft
        self.settings = {"excess": excess, "floor": floor, "quantile": quantile}

    def enhance(self, signal, sample_rate):
        """(samples,) to (samples,), aligned to the sample."""
        window = torch.hann_window(self.n_fft)
        spectrum = torch.stft(
            signal,
            self.n_fft,
            window=window,
            pad_mode="constant",  # signals may be shorter than the window
            return_complex=True,
        )
        spectrum = spectrum * subtraction_gains(spectrum.abs(), **self.settings)
        return torch.istft(spectrum, self.n_fft, window=window, length=len(signal))
