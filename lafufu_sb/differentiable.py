"""Measures of restored waveforms that gradients pass through, for losses.

Those for reporting are in ``metrics``.
"""

import importlib
import warnings

import torch
from torch import nn
from torch.nn.functional import relu
from torchaudio.transforms import Resample

from lafufu_sb.lobes import dnsmos

# Root mean square of what is rated: -26 dBFS, usual in listening tests. DNSMOS depends
# on level.
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
        # One gain for both: the estimate's level is part of what is rated.
        gain = RATED_LEVEL / target.square().mean(dim=1, keepdim=True).sqrt()
        with torch.no_grad():
            reference = self.network(self.resample(gain * target))
        rated = self.network(self.resample(gain * estimate))
        return relu(reference - rated).mean(dim=1)


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
        raise ImportError(
            f"{option} needs {name} ({error}): pip install {name.replace('_', '-')}"
        ) from error
