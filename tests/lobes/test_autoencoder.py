"""Encoder and decoder of the latent: shapes, skips, deep filter."""

import pytest
import torch

from lafufu_sb.errors import UsageError
from lafufu_sb.lobes.autoencoder_layers import ChannelNorm, DeepFilter, LinearAttention
from lafufu_sb.lobes.representations import LatentRepresentation
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram


def autoencoder(seed=0, **options):
    torch.manual_seed(seed)
    options = {"channels": 4, "latent_channels": 4} | options
    return LatentRepresentation(CompressedSpectrogram(), **options).eval()


def noise(*shape, seed=1):
    return 0.07 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def small():
    return autoencoder()


@pytest.mark.parametrize("multipliers", [(2,), (1, 2), (1, 2, 4), (4, 8, 8, 16)])
def test_every_level_gives_two_skips_and_the_stem_one(multipliers):
    encoded = autoencoder(multipliers=multipliers).encode(noise(1, 2, 16, 8))
    halvings = len(multipliers) - 1
    assert len(encoded.skips) == 1 + 2 * len(multipliers)
    assert encoded.latent.shape == (1, 4, 16 >> halvings, 8 >> halvings)
    assert encoded.skips[0].shape == (1, 4, 16, 8)


@pytest.mark.parametrize("latent_channels", [2, 4, 8])
@torch.no_grad()
def test_latent_of_a_training_crop(latent_channels):
    model = autoencoder(channels=1, latent_channels=latent_channels)
    encoded = model.encode(torch.zeros(1, 2, 768, 256))
    assert encoded.latent.shape == (1, latent_channels, 192, 64)
    assert encoded.size == (768, 256)
    assert model.grid == 4


@pytest.mark.parametrize("size", [(32, 16), (33, 16), (30, 21), (7, 5), (1, 1)])
def test_any_size_keeps_its_shape(small, size):
    latent, skips, encoded_size = small.encode(noise(2, 2, *size))
    assert latent.shape == (2, 4, -(-size[0] // 4), -(-size[1] // 4))
    assert small.decode(latent, skips, encoded_size).shape == (2, 2, *size)


def test_edges_are_repeated_on_the_right_and_below(small):
    spec = noise(1, 2, 30, 21)
    padded = torch.nn.functional.pad(spec, (0, 3, 0, 2), mode="replicate")
    assert torch.equal(small.encode(spec).latent, small.encode(padded).latent)


def test_without_size_the_padding_stays(small):
    latent, skips, size = small.encode(noise(1, 2, 30, 21))
    whole = small.decode(latent, skips)
    assert whole.shape == (1, 2, 32, 24)
    assert torch.equal(small.decode(latent, skips, size), whole[..., :30, :21])


def test_two_sizes_can_be_interleaved(small):
    first, second = noise(1, 2, 30, 21), noise(1, 2, 17, 9, seed=2)
    expected = small.decode(*small.encode(first))
    kept = small.encode(first)
    other = small.encode(second)
    assert torch.equal(small.decode(*kept), expected)
    assert small.decode(*other).shape == second.shape


def test_items_do_not_see_each_other(small):
    batch = noise(3, 2, 16, 12)
    alone = torch.cat([small.decode(*small.encode(item[None])) for item in batch])
    together = small.decode(*small.encode(batch))
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_skip_connections_can_be_left_out(small):
    bare = autoencoder(skip_connections=False)
    assert parameters(bare) < parameters(small)
    latent, skips, size = bare.encode(noise(1, 2, 30, 21))
    assert skips == ()
    assert bare.decode(latent, skips, size).shape == (1, 2, 30, 21)
    assert torch.equal(bare.decode(latent), bare.decode(latent, ()))


def test_decode_refuses_skips_that_do_not_belong():
    small, bare = autoencoder(), autoencoder(skip_connections=False)
    latent, skips, size = small.encode(noise(1, 2, 16, 8))
    with pytest.raises(ValueError, match="needs 7 skip tensors, got 0"):
        small.decode(latent)
    with pytest.raises(ValueError, match="needs 7 skip tensors, got 6"):
        small.decode(latent, skips[:-1], size)
    with pytest.raises(ValueError, match="needs 0 skip tensors, got 7"):
        bare.decode(latent, skips, size)


def test_decoder_uses_every_skip_and_the_latent(small):
    latent, skips, size = small.encode(noise(1, 2, 16, 8))
    reference = small.decode(latent, skips, size)
    assert not torch.equal(small.decode(latent + 1, skips, size), reference)
    for i in range(len(skips)):
        changed = [h + 1 if i == j else h for j, h in enumerate(skips)]
        assert not torch.equal(small.decode(latent, changed, size), reference)


def test_forward_decodes_both_latents_with_the_distorted_skips(small):
    distorted, clean = noise(2, 2, 16, 8), noise(2, 2, 16, 8, seed=2)
    result = small(distorted, clean)
    y, x = small.encode(distorted), small.encode(clean)
    assert torch.equal(result.distorted_latent, y.latent)
    assert torch.equal(result.clean_latent, x.latent)
    assert torch.equal(result.distorted, small.decode(*y))
    assert torch.equal(result.clean, small.decode(x.latent, y.skips, y.size))


def test_autoencoder_of_the_paper_has_6_15_million_parameters():
    with torch.device("meta"):
        model = autoencoder(channels=64, multipliers=(1, 2, 4))
    assert parameters(model) == pytest.approx(6.15e6, abs=5e3)


def test_encoder_and_decoder_share_no_weight_and_are_all_there_is(small):
    names = {name.partition(".")[0] for name, _ in small.named_parameters()}
    assert names == {"encoder", "decoder"}
    model = autoencoder()
    latent, skips, size = model.encode(noise(1, 2, 32, 16))
    skips = tuple(skip.detach() for skip in skips)
    model.decode(latent.detach(), skips, size).square().mean().backward()
    used = {name for name, p in model.named_parameters() if p.grad is not None}
    own = {f"decoder.{name}" for name, _ in model.decoder.named_parameters()}
    assert used == own


def test_new_filter_is_zero_and_weights_without_one_fit(small):
    model = autoencoder(filter_taps=5)
    torch.nn.init.ones_(model.decoder.filter.weights.weight)
    model.load_state_dict(small.state_dict())
    spectrogram = noise(2, 2, 30, 21)
    latent, skips, size = model.encode(spectrogram)
    assert torch.equal(skips[-1][..., :30, :21], spectrogram)
    expected = small.decode(latent, skips[:-1], size)
    assert torch.equal(model.decode(latent, skips, size), expected)


def test_weights_of_a_zero_filter_fit_a_decoder_without_one():
    model, bare = autoencoder(filter_taps=3), autoencoder(seed=1)
    bare.load_state_dict(model.state_dict())
    encoded = model.encode(noise(1, 2, 30, 21))
    skips = encoded.skips[:-1]
    assert torch.equal(bare.decode(encoded.latent, skips), model.decode(*encoded[:2]))
    torch.nn.init.ones_(model.decoder.filter.weights.bias)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*filter\.weights"):
        bare.load_state_dict(model.state_dict())


@torch.no_grad()
@pytest.mark.parametrize("patch, multipliers", [(1, (1, 2, 4)), (2, (1, 2))])
def test_filter_lets_the_distorted_spectrogram_through(patch, multipliers):
    """A weight of one for its own frame, where nothing else is decoded."""
    model = autoencoder(filter_taps=3, patch=patch, multipliers=multipliers)
    for weight in model.decoder.head.parameters():
        weight.zero_()
    weights = model.decoder.filter.weights.bias.unflatten(0, (2, 3, patch**2))
    weights[0, 1] = model.gain
    spectrogram = noise(1, 2, 30, 21)
    torch.testing.assert_close(model.decode(*model.encode(spectrogram)), spectrogram)


@pytest.mark.parametrize(
    "options",
    [
        {"filter_taps": 4},
        {"filter_taps": 3, "skip_connections": False},
    ],
)
def test_impossible_filters_are_refused(options):
    with pytest.raises(UsageError, match="filter_taps must be odd"):
        autoencoder(**options)


@torch.no_grad()
def test_filter_is_a_sum_over_frames_of_complex_products():
    weigh = DeepFilter(4, patch=1, taps=3)
    weigh.weights.weight.normal_(generator=torch.Generator().manual_seed(0))
    features, spectrograms = noise(2, 4, 5, 7), noise(2, 2, 5, 7, seed=2)
    weights = torch.complex(*weigh.weights(features).chunk(2, dim=1))
    spectra = torch.complex(*spectrograms.unbind(1))
    expected = torch.zeros_like(spectra)
    for frame in range(7):
        for tap in range(3):
            if 0 <= frame + tap - 1 < 7:
                product = weights[:, tap, :, frame] * spectra[:, :, frame + tap - 1]
                expected[:, :, frame] += product
    result = torch.complex(*weigh(features, spectrograms).unbind(1))
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("size", [(32, 16), (33, 17), (1, 1)])
def test_patches_replace_a_halving(size):
    model = autoencoder(patch=2, multipliers=(1, 2))
    latent, skips, encoded_size = model.encode(noise(2, 2, *size))
    assert model.grid == 4
    assert latent.shape == (2, 4, -(-size[0] // 4), -(-size[1] // 4))
    assert skips[0].shape[-2:] == tuple(2 * s for s in latent.shape[-2:])
    assert model.decode(latent, skips, encoded_size).shape == (2, 2, *size)


memory_formats = pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last]
)


@memory_formats
@torch.no_grad()
def test_channels_are_normalised_at_each_position(memory_format):
    norm = ChannelNorm(6)
    norm.gain.copy_(torch.arange(6.0).reshape(1, 6, 1, 1))
    x = (1 + 10 * noise(2, 6, 5, 4)).contiguous(memory_format=memory_format)
    centred = x - x.mean(dim=1, keepdim=True)
    deviation = (centred.square().mean(dim=1, keepdim=True) + norm.eps).sqrt()
    torch.testing.assert_close(norm(x), norm.gain * centred / deviation)


@memory_formats
@torch.no_grad()
def test_attention_is_that_of_its_formula(memory_format):
    torch.manual_seed(0)
    attention = LinearAttention(6, heads=2, head_channels=3)
    x = noise(2, 6, 5, 4).contiguous(memory_format=memory_format)
    qkv = attention.to_qkv(attention.norm(x)).reshape(2, 3, 2, 3, 20)
    query, key, value = qkv.unbind(1)  # (batch, heads, features, positions)
    query, key = query.softmax(dim=2) / 3**0.5, key.softmax(dim=3)
    context = torch.einsum("bhdn,bhen->bhde", key, value / 20)
    out = torch.einsum("bhde,bhdn->bhen", context, query).reshape(2, 6, 5, 4)
    torch.testing.assert_close(attention(x), x + attention.to_out(out))


def gated(**options):
    usual = {"filter_taps": 3, "filter_inputs": 2, "gated": True}
    shape = {"channels": 8, "multipliers": (1, 2), "latent_channels": 4, "patch": 2}
    spectrogram = CompressedSpectrogram(62, 16)
    return LatentRepresentation(spectrogram, **shape | usual | options)


def test_an_untrained_gate_returns_the_source_of_the_skips():
    torch.manual_seed(0)
    representation = gated()
    source, other = torch.randn(2, 2, 2, 32, 8)
    encoded = [representation.encode(features) for features in (source, other)]
    joined = representation.join(encoded)
    latent = torch.randn_like(joined.latent)
    assert torch.equal(representation.decode(latent, joined.skips, joined.size), source)


def test_stage_one_trains_past_an_open_gate():
    torch.manual_seed(0)
    representation = gated(filter_inputs=1)
    plain = gated(filter_inputs=1, gated=False)
    plain.load_state_dict(
        {k: v for k, v in representation.state_dict().items() if "gate" not in k}
    )
    features = torch.randn(1, 2, 32, 8)
    encoded = representation.encode(features)
    representation.begin_training()
    torch.testing.assert_close(representation.decode(*encoded), plain.decode(*encoded))
    representation.end_training()
    torch.testing.assert_close(representation.decode(*encoded), features)


def test_the_filter_weighs_each_input_by_its_own():
    torch.manual_seed(0)
    both = DeepFilter(4, patch=1, taps=3, inputs=2)
    torch.nn.init.normal_(both.weights.weight)
    features, inputs = torch.randn(1, 4, 6, 5), torch.randn(1, 4, 6, 5)
    weights = both.weights.weight.detach()
    total = 0.0
    for number in range(2):
        one = DeepFilter(4, patch=1, taps=3)
        rows = weights.unflatten(0, (2, 2, 3))[:, number].flatten(0, 1)
        one.weights.weight.data.copy_(rows)
        total = total + one(features, inputs[:, 2 * number : 2 * number + 2])
    torch.testing.assert_close(both(features, inputs), total)
