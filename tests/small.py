"""Restorers with networks of known behaviour, and signals for them."""

import torch
from torch import nn

from lafufu_sb.diffusion.objectives import DataPrediction
from lafufu_sb.diffusion.processes import SchroedingerBridge
from lafufu_sb.lobes.pre_enhancer import PreEnhancer, SignalPreEnhancer
from lafufu_sb.lobes.representations import SpectrogramRepresentation
from lafufu_sb.lobes.score_network import ScoreNetwork
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram
from lafufu_sb.restoration.restorer import Restorer

WINDOW = 7 * 16  # samples of the windows of ``restorer``
STRIDE = 6 * 16
HALVED = 0.5 ** (1 / 0.667)  # of a waveform whose compressed spectrogram is halved


class NoChange(ScoreNetwork):
    """Data prediction of the end of the process: restores nothing."""

    def forward(self, x_t, condition, t):
        return torch.zeros_like(x_t)


class Half(ScoreNetwork):
    """Removes half of the condition."""

    def forward(self, x_t, condition, t):
        return -0.5 * condition


class Entangled(ScoreNetwork):
    """Every output depends on state, condition, time and the whole window."""

    def forward(self, x_t, condition, t):
        energy = x_t.square().mean(dim=(1, 2, 3), keepdim=True)
        change = torch.tanh(x_t - condition) * (0.5 + energy)
        return change * t.reshape(-1, 1, 1, 1) - 0.3 * condition


class Notes(list):
    """A list that the copies of a network share."""

    def __deepcopy__(self, memo):
        return self


class Scaled(ScoreNetwork):
    """Has parameters, and notes output dtype, input dtype and batch of each call."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.seen = Notes()

    def forward(self, x_t, condition, t):
        out = self.conv(condition)
        self.seen.append((out.dtype, x_t.dtype, len(t)))
        return out


class Quieter(PreEnhancer):
    """Half of the compressed spectrogram."""

    def forward(self, features):
        return 0.5 * features


class QuieterSignal(SignalPreEnhancer):
    """The same on whole signals; notes shape and rate of what it is given."""

    def __init__(self):
        super().__init__()
        self.given = Notes()

    def enhance(self, signal, sample_rate):
        self.given.append((tuple(signal.shape), sample_rate))
        return HALVED * signal


def spectrogram_representation(**changes):
    return SpectrogramRepresentation(CompressedSpectrogram(62, 16, **changes))


def restorer(**changes):
    """Restores nothing, unless changed; any ``Restorer`` argument can be changed."""
    options = {
        "representation": spectrogram_representation(),
        "score_model": NoChange(),
        "process": SchroedingerBridge(),
        "objective": DataPrediction(),
        "sampler": "bridge_ode",
        "window_frames": 8,
        "overlap_frames": 2,
    }
    return Restorer(**options | changes)


def entangled(**changes):
    """A restorer whose result depends on everything, noise included."""
    options = {
        "score_model": Entangled(),
        "sampler": "bridge_sde",
        "sampler_options": {"num_steps": 3},
    }
    return restorer(**options | changes)


def speech(batch, samples, seed=0):
    """Noise with an envelope, its peak away from one."""
    wavs = torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))
    return 0.2 * wavs * (1.5 + torch.sin(torch.arange(samples) / 40))


def small_model(**changes):
    """``EnhanceLatent`` around ``restorer``; restores nothing unless changed."""
    from lafufu_sb import EnhanceLatent

    modules = {"restorer": restorer(**changes)}
    return EnhanceLatent(modules, hparams={"sample_rate": 48000, "modules": modules})


def lively(network):
    """Fill a network with random weights of a visible scale."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.ndim > 1 and not name.endswith("gain"):
                value.normal_(0, value[0].numel() ** -0.5)
            elif not name.endswith("frequencies"):
                value.add_(torch.randn_like(value), alpha=0.1)
    return network
