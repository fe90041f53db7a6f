"""Differentiable measures of restored waveforms, for losses.

The measures that are reported are in ``lafufu_sb.evaluation.metrics``.
"""

import importlib
import warnings

import torch
from torch import nn
from torch.nn.functional import relu
from torchaudio.transforms import Resample

from lafufu_sb.errors import MissingPackageError
from lafufu_sb.lobes import dnsmos

# Root mean square at which signals are judged: -26 dBFS, usual in listening tests. The
# networks that judge depend on level.
RATED_LEVEL = 0.05


class RatingShortfall(nn.Module):
    """By how much DNSMOS rates an estimate below its target.

    Arguments
    ---------
    sample_rate : int
        In Hz.

    Example
    -------
    >>> shortfall = RatingShortfall(48000)
    >>> wavs = torch.randn(2, 48000)
    >>> shortfall(wavs, wavs)
    tensor([0., 0.])
    """

    def __init__(self, sample_rate):
        super().__init__()
        self.resample = Resample(sample_rate, dnsmos.SAMPLE_RATE)
        for package in ("onnx", "speechmos"):
            _training_package(package, "dnsmos_weight")
        # In float32 it took a quarter of a training step of the mini models.
        self.network = dnsmos.DNSMOSNetwork(torch.bfloat16).requires_grad_(False)

    def forward(self, estimate, target):
        """Mean of the three ratings' shortfalls, raw, (batch,).

        Arguments
        ---------
        estimate, target : torch.Tensor
            (batch, time), the target not silent.
        """
        estimate, target = _at_rated_level(estimate, target)
        with torch.no_grad():
            reference = self.network(self.resample(target))
        rated = self.network(self.resample(estimate))
        return relu(reference - rated).mean(dim=1)


class RecognitionDistance(nn.Module):
    """How differently a recogniser's encoder hears an estimate and its target.

    Squared distance of the outputs of a Whisper encoder, relative to their variance
    over the target's frames: 0 for the target itself, about 1 for an unrelated signal.
    Enhancement can sound better and be recognised worse ("How bad are artifacts?",
    Iwamoto et al. 2022), and the encoder's output is all that the decoder sees.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    source : str
        Hub id or folder of a Whisper model.

    Raises
    ------
    MissingPackageError
        If transformers is not installed.
    """

    def __init__(self, sample_rate, source):
        super().__init__()
        _training_package("transformers", "recognition_weight")
        from huggingface_hub.constants import HF_HUB_CACHE
        from speechbrain.integrations.huggingface.whisper import SAMPLE_RATE, Whisper

        self.resample = Resample(sample_rate, SAMPLE_RATE)
        # Its own option to freeze would stop the gradient to the input too.
        self.whisper = Whisper(source, HF_HUB_CACHE, encoder_only=True)
        self.whisper.eval().requires_grad_(False)
        encoder = self.whisper.model.encoder
        self.register_buffer("positions", encoder.embed_positions.weight.detach())

    def forward(self, estimate, target):
        """Relative squared distance, (batch,).

        Arguments
        ---------
        estimate, target : torch.Tensor
            (batch, time), up to 30 s, the target not silent.
        """
        estimate, target = _at_rated_level(estimate, target)
        with torch.no_grad():
            reference = self.encoded(target)
        distance = (self.encoded(estimate) - reference).square().sum(dim=(1, 2))
        spread = reference - reference.mean(dim=1, keepdim=True)
        return distance / spread.square().sum(dim=(1, 2)).clamp(min=1e-6)

    def encoded(self, wavs):
        """(batch, frames of 20 ms, channels) of (batch, time) waveforms."""
        # One by one: Whisper clips the dynamic range of the whole batch together.
        mels = [self.whisper.log_mel_spectrogram(w[None]) for w in self.resample(wavs)]
        count = mels[0].shape[-1] // 2
        mels = torch.cat(mels)[..., : 2 * count]
        # Whisper pads to 30 s; shorter position tables save the time on silence.
        encoder = self.whisper.model.encoder
        encoder.config.max_source_positions = count
        encoder.embed_positions = nn.Embedding.from_pretrained(self.positions[:count])
        with torch.autocast(mels.device.type, torch.bfloat16):
            encoded = self.whisper.forward_encoder(mels)
        return encoded.float()


def _at_rated_level(estimate, target):
    estimate, target = estimate.float(), target.float()  # as the networks have it
    # One gain for both: the estimate's level is part of what is judged.
    gain = RATED_LEVEL / target.square().mean(dim=1, keepdim=True).sqrt()
    return gain * estimate, gain * target


def si_sdr(estimate, target):
    """Scale-invariant SDR in dB of (batch, time) signals that are not silent."""
    power = target.square().sum(dim=1, keepdim=True)
    projection = (estimate * target).sum(dim=1, keepdim=True) / power * target
    signal = projection.square().sum(dim=1)
    noise = (estimate - projection).square().sum(dim=1)
    floor = 1e-8 * power[:, 0]  # bounds the gradient at both ends
    return 10 * torch.log10((signal + floor) / (noise + floor))


def torch_pesq(sample_rate):
    """The disturbance of PESQ: zero and above, (batch,)."""
    package = _training_package("torch_pesq", "pesq_weight")
    return _fixed(package.PesqLoss(1.0, sample_rate=sample_rate))


def torch_estoi(sample_rate):
    """Minus the ESTOI, (batch,)."""
    package = _training_package("torch_stoi", "estoi_weight")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses an old name of a resampling filter
        return _fixed(package.NegSTOILoss(sample_rate=sample_rate, extended=True))


def _fixed(measure):
    return measure.double().requires_grad_(False)


def _training_package(name, option):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f'{option} needs {name} ({error}): pip install "lafufu_sb[train]"'
        ) from error
