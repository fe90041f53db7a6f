"""Representations: what the diffusion works on, with encoder and decoder."""

from lafufu_sb.lobes.representations.base import Encoded, Representation
from lafufu_sb.lobes.representations.latent import LatentRepresentation, Reconstructions
from lafufu_sb.lobes.representations.spectrogram import SpectrogramRepresentation

__all__ = [
    "Encoded",
    "LatentRepresentation",
    "Reconstructions",
    "Representation",
    "SpectrogramRepresentation",
]
