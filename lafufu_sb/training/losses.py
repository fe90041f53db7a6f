"""Losses of the autoencoder stage, and of decoded estimates."""

import math

import torch
from speechbrain.utils.autocast import fwd_default_precision
from torch import nn
from torch.nn.functional import pad

from lafufu_sb.training.differentiable import (
    RatingShortfall,
    RecognitionDistance,
    si_sdr,
    torch_estoi,
    torch_pesq,
)

# Power below this is inaudible and has no stable logarithm or square root.
POWER_FLOOR = 1e-7

# Least length that PESQ (20 half-overlapping frames of 32 ms) and STOI (30 of 25.6 ms)
# pool over.
POOLED_SECONDS = 0.45

# Root mean square below which a waveform of full scale 1 is inaudible.
SILENCE = 1e-5


class MultiResolutionSTFTLoss(nn.Module):
    """Spectral convergence plus log-magnitude distance over several windows.

    Parallel WaveGAN (Yamamoto et al. 2020, eq. 4-6) with the windows of LAFUFU and
    hops of a quarter. Blind to phase.

    Arguments
    ---------
    windows : sequence of int
        Window and transform lengths in samples.

    Example
    -------
    >>> loss = MultiResolutionSTFTLoss()
    >>> wavs = torch.randn(2, 9600)
    >>> loss(wavs, wavs).item()
    0.0
    """

    def __init__(self, windows=(32, 64, 128, 256, 512, 1024, 1534, 2048)):
        super().__init__()
        self.windows = tuple(windows)
        for n in self.windows:
            self.register_buffer(f"window{n}", torch.hann_window(n), persistent=False)

    def magnitude(self, wavs, n_fft):
        """(batch, time) to (batch, bins, frames), floored."""
        spectra = torch.stft(
            wavs,
            n_fft,
            n_fft // 4,
            window=getattr(self, f"window{n_fft}"),
            return_complex=True,
        )
        power = torch.view_as_real(spectra).square().sum(dim=-1)
        return power.clamp(min=POWER_FLOOR).sqrt()

    @fwd_default_precision(cast_inputs=torch.float32)
    def forward(self, estimate, target):
        """Mean over windows of convergence + log magnitude, a scalar.

        Arguments
        ---------
        estimate, target : torch.Tensor
            (batch, time), longer than half the largest window.
        """
        total = 0.0
        for n_fft in self.windows:
            est, ref = self.magnitude(estimate, n_fft), self.magnitude(target, n_fft)
            # Norms per item: a loud item does not hide a quiet one.
            distance = torch.linalg.vector_norm(ref - est, dim=(1, 2))
            convergence = distance / torch.linalg.vector_norm(ref, dim=(1, 2))
            log_magnitude = (ref.log() - est.log()).abs().mean()
            total = total + convergence.mean() + log_magnitude
        return total / len(self.windows)


class RegLoss(nn.Module):
    """Ties the distorted latent's mean and deviation to the spectrogram's.

    ``|mean(z) - mean(s)| + |std(z) - 0.5 std(s)|`` over the whole batch (Refusion).

    Example
    -------
    >>> RegLoss()(torch.zeros(1, 4, 8, 8), torch.zeros(1, 2, 32, 32)).item()
    0.0
    """

    @fwd_default_precision(cast_inputs=torch.float32)
    def forward(self, latent, spectrogram):
        """A scalar from (batch, ...) tensors of any shapes."""
        shift = (latent.mean() - spectrogram.mean()).abs()
        spread = (latent.std() - 0.5 * spectrogram.std()).abs()
        return shift + spread


class SpectrogramLoss(nn.Module):
    """Absolute differences of compressed spectra, summed over an item's elements.

    Arguments
    ---------
    complex_weight : float
        Of the real and imaginary parts.
    magnitude_weight : float
        Of the magnitudes.
    magnitude_exponent : float
        Compresses the compressed magnitudes further. 0.5 makes them about the cube root
        of plain magnitudes, like loudness, so that faint parts and pauses count.

    Example
    -------
    >>> loss = SpectrogramLoss()
    >>> loss(torch.zeros(3, 2, 8, 4), torch.ones(3, 2, 8, 4)).shape
    torch.Size([])
    """

    def __init__(
        self, complex_weight=1.0, magnitude_weight=1.0, magnitude_exponent=1.0
    ):
        super().__init__()
        self.complex_weight = complex_weight
        self.magnitude_weight = magnitude_weight
        self.magnitude_exponent = magnitude_exponent

    def forward(self, estimate, target):
        """Mean over items of the sums, a scalar.

        Arguments
        ---------
        estimate, target : torch.Tensor
            (batch, 2, bins, frames) compressed spectrograms.
        """
        loss = self.complex_weight * (estimate - target).abs().sum()
        if self.magnitude_weight:
            exponent = self.magnitude_exponent
            difference = _magnitude(estimate, exponent) - _magnitude(target, exponent)
            loss = loss + self.magnitude_weight * difference.abs().sum()
        return loss / len(target)


class PerceptualLoss(SpectrogramLoss):
    """``SpectrogramLoss`` plus terms that judge the resynthesised waveform.

    They need the spectral terms beside them: alone they raise the measure and not the
    quality. PESQ is torch_pesq's (16 kHz, no time alignment), as in Richter et al.
    2025, "Investigating training objectives for generative speech enhancement"; ESTOI
    is torch_stoi's, the ratings are ``DNSMOSNetwork``'s. Items that are silent on
    either side do not count.

    Arguments
    ---------
    spectrogram : CompressedSpectrogram
        To resynthesise.
    sample_rate : int
        In Hz.
    waveform_weight : float
        Of the mean absolute difference of the samples.
    pesq_weight : float
        Of the PESQ disturbance, about 1.5 for noisy speech.
    estoi_weight : float
        Of minus the ESTOI, a number below one.
    si_sdr_weight : float
        Of minus the SI-SDR in dB.
    dnsmos_weight : float
        Of the shortfall of the DNSMOS ratings (signal, background, overall) below the
        target's, on average. Ratings above the target's earn nothing.
    recognition_weight : float
        Of the ``RecognitionDistance``, about 0.5 for noisy speech.
    recogniser : str
        Hub id or folder of the Whisper model.
    **weights
        Of ``SpectrogramLoss``.

    Example
    -------
    >>> from lafufu_sb.lobes.spectrogram import CompressedSpectrogram
    >>> spectrogram = CompressedSpectrogram()
    >>> loss = PerceptualLoss(spectrogram, 48000, si_sdr_weight=100.0)
    >>> clean = spectrogram(torch.randn(2, 9600))
    >>> loss(clean + 0.1, clean).shape
    torch.Size([])
    """

    def __init__(
        self,
        spectrogram,
        sample_rate,
        *,
        waveform_weight=0.0,
        pesq_weight=0.0,
        estoi_weight=0.0,
        si_sdr_weight=0.0,
        dnsmos_weight=0.0,
        recognition_weight=0.0,
        recogniser="openai/whisper-base",
        **weights,
    ):
        super().__init__(**weights)
        self.spectrogram = spectrogram
        self.pooled = math.ceil(POOLED_SECONDS * sample_rate)  # samples
        self.waveform_weight = waveform_weight
        self.pesq_weight = pesq_weight
        self.estoi_weight = estoi_weight
        self.si_sdr_weight = si_sdr_weight
        self.pesq = torch_pesq(sample_rate) if pesq_weight else None
        self.estoi = torch_estoi(sample_rate) if estoi_weight else None
        self.dnsmos_weight = dnsmos_weight
        self.shortfall = RatingShortfall(sample_rate) if dnsmos_weight else None
        self.recognition_weight = recognition_weight
        self.recognition = (
            RecognitionDistance(sample_rate, recogniser) if recognition_weight else None
        )

    @fwd_default_precision(cast_inputs=torch.float32)
    def forward(self, estimate, target):
        """Mean over items of the sums, a scalar.

        Arguments
        ---------
        estimate, target : torch.Tensor
            (batch, 2, bins, frames) compressed spectrograms.
        """
        loss = super().forward(estimate, target)
        samples = self.spectrogram.samples(target.shape[-1])
        wavs = [self.spectrogram.inverse(s, samples) for s in (estimate, target)]
        audible = torch.stack([w.detach().std(dim=1) for w in wavs]).amin(0) > SILENCE
        # Silence is replaced by equal tones, which do not count: shapes must not depend
        # on the data.
        tone = torch.sin(0.1 * torch.arange(samples, device=target.device))
        wavs = [torch.where(audible[:, None], w, tone) for w in wavs]
        # In single precision the gradient of near-silent bins was NaN. The padding also
        # copies, as torch_pesq fades its input in place.
        missing = max(self.pooled - samples, 1)
        est, ref = (pad(w.double(), (0, missing)) for w in wavs)
        counts = audible.double()
        measures = (
            (self.waveform_weight, lambda: (est - ref).abs().sum(dim=1) / samples),
            (self.si_sdr_weight, lambda: -si_sdr(est, ref)),
            (self.pesq_weight, lambda: self.pesq(ref, est)),
            (self.estoi_weight, lambda: self.estoi(est, ref)),
            (self.dnsmos_weight, lambda: self.shortfall(est, ref)),
            (self.recognition_weight, lambda: self.recognition(est, ref)),
        )
        extra = torch.zeros_like(counts[0])
        for weight, measure in measures:
            if weight:
                extra = extra + weight * counts @ measure().double()
        return loss + extra.to(loss) / len(audible)


class AutoencoderLoss(nn.Module):
    """Weighted sum of the autoencoder stage's terms.

    Compares each reconstruction (see ``Reconstructions``) with its target; the
    regulariser sees the distorted latent.

    Arguments
    ---------
    spectrogram : CompressedSpectrogram
        To resynthesise what is compared as a waveform.
    mrstft_weight : float
        Of ``MultiResolutionSTFTLoss``, the loss of the paper.
    complex_weight : float
        Mean absolute difference of the compressed real and imaginary parts, the only
        term that sees phase.
    magnitude_weight : float
        Mean absolute difference of the compressed magnitudes.
    reg_weight : float
        Of ``RegLoss``.
    distorted_weight : float
        Of the distorted input's reconstruction, relative to the clean one's.
    """

    def __init__(
        self,
        spectrogram,
        *,
        mrstft_weight=1.0,
        complex_weight=0.0,
        magnitude_weight=0.0,
        reg_weight=0.1,
        distorted_weight=1.0,
    ):
        super().__init__()
        self.spectrogram = spectrogram
        self.mrstft = MultiResolutionSTFTLoss()
        self.regulariser = RegLoss()
        self.mrstft_weight = mrstft_weight
        self.complex_weight = complex_weight
        self.magnitude_weight = magnitude_weight
        self.reg_weight = reg_weight
        self.distorted_weight = distorted_weight

    def reconstruction(self, estimate, target, wavs):
        """Distance of one reconstruction, a scalar.

        Arguments
        ---------
        estimate, target : torch.Tensor
            (batch, 2, bins, frames) compressed spectrograms.
        wavs : torch.Tensor
            (batch, time), the target as a waveform.
        """
        loss = 0.0
        if self.mrstft_weight:
            resynthesised = self.spectrogram.inverse(estimate, wavs.shape[-1])
            loss = loss + self.mrstft_weight * self.mrstft(resynthesised, wavs)
        if self.complex_weight:
            loss = loss + self.complex_weight * (estimate - target).abs().mean()
        if self.magnitude_weight:
            difference = _magnitude(estimate) - _magnitude(target)
            loss = loss + self.magnitude_weight * difference.abs().mean()
        return loss

    def forward(self, reconstructions, distorted, clean, distorted_wavs, clean_wavs):
        """Total loss, a scalar.

        Arguments
        ---------
        reconstructions : Reconstructions
            Output of ``LatentAutoencoder.forward``.
        distorted, clean : torch.Tensor
            (batch, 2, bins, frames), its inputs.
        distorted_wavs, clean_wavs : torch.Tensor
            (batch, time), the same as waveforms.
        """
        r = reconstructions
        loss = self.reconstruction(r.clean.float(), clean, clean_wavs)
        if self.distorted_weight:
            loss = loss + self.distorted_weight * self.reconstruction(
                r.distorted.float(), distorted, distorted_wavs
            )
        return loss + self.reg_weight * self.regulariser(r.distorted_latent, distorted)


def _magnitude(spectrogram, exponent=1.0):
    power = spectrogram.square().sum(dim=1)
    if exponent == 1.0:
        # The floor keeps the gradient finite where both channels are zero.
        return power.clamp(min=1e-10).sqrt()
    # A steeper root needs a softer floor, or silence would own the gradient.
    return (power + 1e-6) ** (exponent / 2)
