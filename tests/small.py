"""Restorers that are small enough to think about, and signals for them."""

import torch
from torch import nn

from lafufu_sb.diffusion.objectives import DataPrediction
from lafufu_sb.diffusion.sde import SchroedingerBridge
from lafufu_sb.lobes.autoencoder import IdentityAutoencoder
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram
from lafufu_sb.restoration.restorer import Restorer

WINDOW = 7 * 16  # samples of the small windows below
STRIDE = 6 * 16


class NoChange(nn.Module):
    """Predicts the distorted latent."""

    grid = 1

    def forward(self, x_t, y, t):
        return torch.zeros_like(y)


class Half(nn.Module):
    """Estimates a fixed share of what it is given: the same in every window."""

    grid = 1

    def forward(self, x_t, y, t):
        return -0.5 * y


class Entangled(nn.Module):
    """Every output depends on noise, time and all of the window."""

    grid = 1

    def forward(self, x_t, y, t):
        energy = x_t.square().mean(dim=(1, 2, 3), keepdim=True)
        return torch.tanh(x_t - y) * (0.5 + energy) * t.reshape(-1, 1, 1, 1) - 0.3 * y


def restorer(**changes):
    options = {
        "spectrogram": CompressedSpectrogram(n_fft=62, hop_length=16),
        "autoencoder": IdentityAutoencoder(),
        "score_model": NoChange(),
        "sde": SchroedingerBridge(),
        "objective": DataPrediction(),
        "sampler": "bridge_ode",
        "window_frames": 8,
        "overlap_frames": 2,
    }
    return Restorer(**options | changes)


def entangled(**changes):
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
    """``EnhanceLatent`` around a small restorer; by default it changes nothing."""
    from lafufu_sb import EnhanceLatent

    modules = {"restorer": restorer(**changes)}
    return EnhanceLatent(modules, hparams={"sample_rate": 48000, "modules": modules})
