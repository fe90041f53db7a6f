"""The contract of a representation: scale, phase turns, training step."""

import pytest
import torch
from small import spectrogram_representation
from torch import nn

from lafufu_sb.lobes.fingerprint import fingerprint
from lafufu_sb.lobes.representations import (
    Encoded,
    LatentRepresentation,
    Representation,
    SpectrogramRepresentation,
)
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram


def latent(seed=0, **options):
    torch.manual_seed(seed)
    return LatentRepresentation(CompressedSpectrogram(62, 16), channels=4, **options)


class Samples(Representation):
    """The waveform itself in blocks of four, as small as a representation can be."""

    latent_channels = 1
    hop_length = 1
    grid = 4

    def encode_features(self, features):
        return Encoded(features.unflatten(1, (-1, 4)).transpose(1, 2)[:, None])

    def decode_features(self, latent, skips, size):
        return latent[:, 0].transpose(1, 2).flatten(1)


KINDS = {
    "latent": latent,
    "spectrogram": spectrogram_representation,
    "samples": Samples,
}
kinds = pytest.mark.parametrize("kind", KINDS)


def noise(*shape, seed=1):
    return 0.07 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@kinds
@torch.no_grad()
def test_shapes_are_those_that_the_attributes_promise(kind):
    model = KINDS[kind]()
    wavs = noise(2, model.samples(8))
    encoded = model.encode(model.features(wavs))
    assert encoded.latent.shape[:2] == (2, model.latent_channels)
    assert encoded.latent.shape[-1] == 8 // model.grid
    decoded = model.decode(*encoded)
    assert model.waveforms(decoded, wavs.shape[1]).shape == wavs.shape


@pytest.mark.parametrize("kind", ["spectrogram", "samples"])
def test_fixed_representations_give_the_waveform_back(kind):
    model = KINDS[kind]()
    wavs = noise(2, model.samples(8))
    encoded = model.encode(model.features(wavs))
    back = model.waveforms(model.decode(*encoded), wavs.shape[1])
    torch.testing.assert_close(back, wavs, atol=1e-6, rtol=0)


@kinds
@torch.no_grad()
def test_scale_reaches_the_wanted_deviation_and_cancels_in_the_decoder(kind):
    model = KINDS[kind]()
    features = model.features(noise(2, model.samples(8)))
    before = model.encode(features)
    decoded = model.decode(*before)
    model.set_latent_std(float(before.latent.std()), 0.5)
    after = model.encode(features)
    assert float(after.latent.std()) == pytest.approx(0.5)
    torch.testing.assert_close(model.decode(*after), decoded, atol=1e-5, rtol=1e-5)
    model.set_latent_std(0.5, 2.0)
    assert float(model.encode(features).latent.std()) == pytest.approx(2.0)
    model.reset_latent_scale()
    assert torch.equal(model.encode(features).latent, before.latent)


def test_scale_is_saved_with_the_weights():
    trained, fresh = latent(seed=0), latent(seed=1)
    trained.set_latent_std(measured=0.5, wanted=2.0)
    fresh.load_state_dict(trained.state_dict())
    assert float(fresh.latent_scale) == 4
    features = noise(1, 2, 32, 8)
    assert torch.equal(fresh.encode(features).latent, trained.encode(features).latent)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3, 4])
def test_turns_multiply_by_powers_of_the_imaginary_unit(quarters):
    model, features = spectrogram_representation(), noise(1, 2, 5, 7)
    turned = torch.complex(*model.turn(features, quarters).unbind(1))
    wanted = 1j**quarters * torch.complex(*features.unbind(1))
    torch.testing.assert_close(turned, wanted)
    assert torch.equal(model.turn(model.turn(features, quarters), -quarters), features)


@torch.no_grad()
def test_training_step_decodes_both_latents_with_the_distorted_skips():
    model = latent()
    distorted, clean = noise(2, 2, 32, 8), noise(2, 2, 32, 8, seed=2)
    result = model(distorted, clean)
    y, x = model.encode(distorted), model.encode(clean)
    assert torch.equal(result.distorted_latent, y.latent)
    assert torch.equal(result.clean_latent, x.latent)
    assert torch.equal(result.distorted, model.decode(*y))
    assert torch.equal(result.clean, model.decode(x.latent, y.skips, y.size))


@torch.no_grad()
def test_gain_acts_on_the_input_of_the_encoder_alone():
    """The latent is as large as the spectrogram makes it, whatever the gain."""
    model = latent(gain=12.0)
    features = noise(1, 2, 32, 8)
    raw = model.encode_features(features).latent
    torch.testing.assert_close(model.encode(features).latent, raw / 12)


@torch.no_grad()
def test_skips_are_a_flat_tuple_of_tensors_and_the_spectrogram_has_none():
    skips = latent().encode(noise(1, 2, 32, 8)).skips
    assert isinstance(skips, tuple) and all(torch.is_tensor(s) for s in skips)
    assert spectrogram_representation().encode(noise(1, 2, 32, 8)).skips == ()


def test_fingerprint_tells_weights_apart_and_not_their_precision():
    mark = fingerprint(latent())
    assert mark == fingerprint(latent()) == fingerprint(latent().half())
    assert mark != fingerprint(latent(seed=1))
    renamed = nn.ModuleDict({"other": latent()})
    assert mark != fingerprint(renamed)


def test_representation_without_its_methods_cannot_be_built():
    with pytest.raises(TypeError, match="abstract"):
        Representation()


class Weighted(SpectrogramRepresentation):
    """Decodes with a weight, and has no training step of its own."""

    def __init__(self, spectrogram):
        super().__init__(spectrogram)
        self.weight = torch.nn.Parameter(torch.tensor(2.0))

    def decode_features(self, latent, skips=(), size=None):
        return self.weight * latent


def test_any_representation_has_a_training_step():
    representation = Weighted(CompressedSpectrogram(n_fft=62, hop_length=16))
    distorted, clean = torch.randn(2, 1, 2, 32, 8)
    result = representation(distorted, clean)
    torch.testing.assert_close(result.distorted, 2 * distorted)
    torch.testing.assert_close(result.clean, 2 * clean)
    assert torch.equal(result.clean_latent, clean)
    result.clean.sum().backward()
    assert representation.weight.grad is not None
