"""The contract of a representation."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import nn


class Encoded(NamedTuple):
    """What an encoder returns.

    latent : torch.Tensor
        (batch, latent_channels, ..., columns), scaled for the diffusion.
    skips : tuple of torch.Tensor
        What the decoder needs beside the latent, batch first. At restoration they come
        from the distorted (or pre-enhanced) input. Empty if there are none.
    size : tuple of int
        Size of the features, so that ``decode`` can cut padding off.
    """

    latent: torch.Tensor
    skips: tuple = ()
    size: tuple = ()


class Reconstructions(NamedTuple):
    """What a training step of a representation with weights needs.

    distorted : torch.Tensor
        decode(distorted latent, distorted skips).
    clean : torch.Tensor
        decode(CLEAN latent, DISTORTED skips): the best result that this decoder allows.
    distorted_latent, clean_latent : torch.Tensor
        The latents, on the scale that the regulariser of the paper sees.
    """

    distorted: torch.Tensor
    clean: torch.Tensor
    distorted_latent: torch.Tensor
    clean_latent: torch.Tensor


class Representation(nn.Module, ABC):
    """Waveform to latent and back, in two steps: features, then the latent.

    ``features`` is a fixed transform such as a spectrogram. Losses compare features,
    module pre-enhancers change them. ``encode`` and ``decode`` lead from features to
    the latent and back. A subclass defines ``latent_channels``, ``hop_length``,
    ``encode_features`` and ``decode_features``, and the transform unless its features
    are the waveform itself. It must not depend on a process.

    ``encode`` multiplies the latent by ``latent_scale / gain`` and ``decode`` undoes
    it. This is the only place where the latent is scaled.

    Attributes
    ----------
    latent_channels : int
        Channels of the latent.
    hop_length : int
        Samples from one feature frame to the next.
    grid : int
        Feature frames for one latent column. Windows are multiples of it.
    gain : float
        Factor that the encoder applies to its input, divided out of the latent again.
    phase_turns : int
        Quarter turns that ``turn`` can make: 4 for complex spectrograms, 1 for none.
    computes_in_weight_dtype : bool
        Whether ``encode`` and ``decode`` cast their input to the dtype and layout of
        the weights. Otherwise they compute under autocast.
    joined_inputs : int
        How many inputs ``join`` takes.
    compiled_functions : tuple of str
        Methods that are compiled where compilation is asked for.
    latent_scale : torch.Tensor
        (), factor on the latent. One until it is measured (``set_latent_std``) after
        training. It is saved with the weights.
    """

    latent_channels: int
    hop_length: int
    grid = 1
    gain = 1.0
    phase_turns = 1
    joined_inputs = 1
    computes_in_weight_dtype = False
    compiled_functions = ()

    def __init__(self):
        super().__init__()
        self.register_buffer("latent_scale", torch.ones(()))

    @abstractmethod
    def encode_features(self, features):
        """Features to ``Encoded``, the latent not yet scaled."""

    @abstractmethod
    def decode_features(self, latent, skips, size):
        """Undo ``encode_features``: latent (not scaled), skips and size to features."""

    def features(self, wavs):
        """(batch, samples) to features, frames on the last axis; differentiable."""
        return wavs

    def waveforms(self, features, samples):
        """Features to (batch, samples); differentiable."""
        return features[..., :samples]

    def samples(self, frames):
        """Samples of a signal that has so many feature frames."""
        return frames * self.hop_length

    def turn(self, features, quarters):
        """Turn the phase of features by quarters of a full turn.

        Only called with 0 unless ``phase_turns`` is larger than 1.
        """
        return features

    def encode(self, features):
        """Features to a latent on the scale of the diffusion.

        Arguments
        ---------
        features : torch.Tensor
            As ``features`` returns them.

        Returns
        -------
        Encoded
        """
        latent, skips, size = self.encode_features(features)
        return Encoded(latent * (self.latent_scale / self.gain), skips, size)

    def decode(self, latent, skips=(), size=None):
        """Latent on the scale of the diffusion to features.

        Arguments
        ---------
        latent : torch.Tensor
            (batch, latent_channels, ..., columns).
        skips : tuple of torch.Tensor
            Those that ``encode`` returned for the distorted input.
        size : tuple of int, optional
            That which ``encode`` returned; without it padding stays.

        Returns
        -------
        torch.Tensor
            Features.
        """
        if self.gain == 1.0:  # a division rounds once, a factor of 1 / scale twice
            latent = latent / self.latent_scale
        else:
            latent = latent * (self.gain / self.latent_scale)
        return self.decode_features(latent, skips, size)

    def join(self, sources):
        """What the decoder gets of the inputs that ``skips`` names.

        Arguments
        ---------
        sources : sequence of Encoded
            ``joined_inputs`` of them. The first one gives skips and size.

        Returns
        -------
        Encoded
        """
        return sources[0]

    def forward(self, distorted, clean):
        """Both reconstructions of a training step, in one call so that DDP sees it.

        Arguments
        ---------
        distorted, clean : torch.Tensor
            Features.

        Returns
        -------
        Reconstructions
        """
        y, x = self.encode(distorted), self.encode(clean)
        y = self.join([y] * self.joined_inputs)
        return Reconstructions(
            self.decode(*y),
            self.decode(x.latent, y.skips, y.size),
            y.latent,
            x.latent,
        )

    def begin_training(self):
        """Prepare for the stage that trains the representation itself."""

    def end_training(self):
        """Prepare for the stages after it."""

    def reset_latent_scale(self):
        """Set the scale to one, as it is during training of the representation."""
        self.latent_scale.fill_(1.0)

    @torch.no_grad()
    def set_latent_std(self, measured, wanted):
        """Rescale the latent from its measured standard deviation to a wanted one."""
        self.latent_scale.mul_(wanted / measured)
