"""Representations: what the diffusion works on, with encoder and decoder."""

from lafufu_sb.lobes.representations.base import (
    Encoded,
    Reconstructions,
    Representation,
)
from lafufu_sb.lobes.representations.latent import LatentRepresentation
from lafufu_sb.lobes.representations.spectrogram import SpectrogramRepresentation

__all__ = [
    "Encoded",
    "LatentRepresentation",
    "Reconstructions",
    "Representation",
    "SpectrogramRepresentation",
]
