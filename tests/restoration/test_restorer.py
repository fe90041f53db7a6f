"""The way of the data, with networks that are small enough to think about."""

import pytest
import torch
from small import STRIDE, WINDOW, Half, NoChange, entangled, restorer, speech
from torch import nn

from lafufu_sb.diffusion.objectives import ScoreMatching
from lafufu_sb.diffusion.sde import OUVESDE
from lafufu_sb.lobes.autoencoder import IdentityAutoencoder, LatentAutoencoder
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram

LENGTHS = [1, 20, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + STRIDE, 1000]


@pytest.mark.parametrize("samples", LENGTHS)
def test_what_the_network_leaves_alone_comes_back(samples):
    wavs = speech(2, samples)
    restored = restorer().restore(wavs)
    torch.testing.assert_close(restored, wavs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("samples", [4000, 97920, 200000])
def test_what_the_network_leaves_alone_comes_back_in_windows_of_the_paper(samples):
    model = restorer(
        spectrogram=CompressedSpectrogram(), window_frames=256, overlap_frames=32
    )
    wavs = speech(1, samples)
    assert model.plan.window == 97920
    torch.testing.assert_close(model.restore(wavs), wavs, atol=1e-5, rtol=0)


def test_score_models_go_the_same_way():
    """A score that is exact for the distorted latent gives it back."""
    sde = OUVESDE()

    class PointMass(nn.Module):
        grid = 1

        def forward(self, x_t, y, t):
            return (x_t - y) / sde.std(t).square().reshape(-1, 1, 1, 1)

    model = restorer(
        score_model=PointMass(),
        sde=sde,
        objective=ScoreMatching(),
        sampler="predictor_corrector",
        sampler_options={"num_steps": 10},
        spectrogram=CompressedSpectrogram(62, 16, factor=50.0),
    )
    wavs = speech(1, 300)
    torch.testing.assert_close(model.restore(wavs), wavs, atol=0.01, rtol=0)


def test_silence_gives_exact_zeros():
    wavs = speech(3, 500)
    wavs[1] = 0
    restored = entangled().restore(wavs)
    assert restored[1].abs().max() == 0
    assert restored[[0, 2]].abs().amax(dim=1).min() > 0


def test_silence_costs_no_call_of_the_network():
    wavs = speech(3, 100)
    wavs[1:] = 0
    model = restorer(score_model=Scaled())
    model.restore(wavs)
    assert [shape for *_, shape in model.score_model.seen] == [(1,)]
    assert model.restore(wavs[1:]).abs().max() == 0
    assert len(model.score_model.seen) == 1


def test_padding_gives_exact_zeros():
    wavs = speech(2, 500)
    restored = entangled().restore(wavs, torch.tensor([1.0, 0.5]))
    assert restored[1, 250:].abs().max() == 0
    assert restored[1, :250].abs().max() > 0


@pytest.mark.parametrize("windows_per_batch", [1, 4, 100])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 1, 4, 0, 2]])
def test_an_item_is_restored_the_same_alone_and_in_a_batch(windows_per_batch, order):
    samples = [700, 30, WINDOW, 433, 250]
    wavs = [speech(1, n, seed=n)[0] for n in samples]
    batch = torch.full((5, 800), 9.0)  # padding must not be heard either
    for row, item in enumerate(order):
        batch[row, : samples[item]] = wavs[item]
    lengths = torch.tensor([samples[item] / 800 for item in order])
    model = entangled(windows_per_batch=windows_per_batch)
    together = model.restore(batch, lengths)
    for row, item in enumerate(order):
        alone = model.restore(wavs[item][None])[0]
        actual = together[row, : samples[item]]
        torch.testing.assert_close(actual, alone, atol=1e-5, rtol=0)
        assert together[row, samples[item] :].abs().sum() == 0


@pytest.mark.parametrize("gain", [1e-6, 1 / 64, 3.0, -1.0, 1e6])
def test_level_of_the_input_is_the_level_of_the_output(gain):
    wavs, model = speech(2, 300), restorer(score_model=Shrink())
    expected = gain * model.restore(wavs)
    torch.testing.assert_close(
        model.restore(gain * wavs) / abs(gain),
        expected / abs(gain),
        atol=1e-5,
        rtol=0,
    )


class Shrink(nn.Module):
    """Odd in its input, so that polarity is kept as well as level."""

    grid = 1

    def forward(self, x_t, y, t):
        return -0.5 * y * torch.tanh(y.abs().mean(dim=(1, 2, 3), keepdim=True))


def test_level_is_kept_when_noise_is_involved():
    wavs, model = speech(2, 300), entangled()
    restored = model.restore(wavs)
    assert torch.equal(model.restore(0.125 * wavs), 0.125 * restored)


def test_items_keep_their_own_levels():
    wavs = speech(1, 300)
    both = restorer(score_model=Shrink()).restore(torch.cat([wavs, 100 * wavs]))
    torch.testing.assert_close(both[1], 100 * both[0], atol=1e-3, rtol=0)


def test_seed_decides_the_noise():
    wavs, model = speech(1, 300), entangled()
    first = model.restore(wavs, seed=1)
    assert torch.equal(model.restore(wavs, seed=1), first)
    assert not torch.allclose(model.restore(wavs, seed=2), first, atol=1e-3)


def test_global_generator_and_input_are_left_alone():
    wavs, model, state = speech(1, 300), entangled(), torch.get_rng_state()
    kept = wavs.clone()
    model.restore(wavs)
    assert torch.equal(wavs, kept)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_gradient_is_kept():
    model = restorer(score_model=Scaled())
    assert not model.restore(speech(1, 100).requires_grad_()).requires_grad


class Scaled(nn.Module):
    """With a parameter and a convolution, whose output shows the arithmetic."""

    grid = 1

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.seen = []

    def forward(self, x_t, y, t):
        out = self.conv(y)
        self.seen.append((out.dtype, x_t.dtype, tuple(t.shape)))
        return out


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision_is_that_of_the_networks_alone(precision, dtype):
    model = restorer(score_model=Scaled(), precision=precision)
    restored = model.restore(speech(1, 100))
    assert restored.dtype == torch.float32
    assert model.score_model.seen == [(dtype, torch.float32, (1,))]


def test_windows_are_computed_in_batches_of_the_given_size():
    model = restorer(score_model=Scaled(), windows_per_batch=3)
    model.restore(speech(2, WINDOW + STRIDE))  # two windows each
    assert [shape for *_, shape in model.score_model.seen] == [(3,), (1,)]


def test_oracle_is_the_clean_signal_where_nothing_is_lost():
    distorted, clean = speech(2, 500), speech(2, 500, seed=1)
    restored = restorer().autoencoder_bound(distorted, clean)
    torch.testing.assert_close(restored, clean, atol=1e-5, rtol=0)


class Quieter(torch.nn.Module):
    """A predictor: half of the compressed spectrogram."""

    def forward(self, spectrograms):
        return 0.5 * spectrograms


def test_distorted_signals_go_through_the_predictor_and_clean_ones_do_not():
    model = restorer(autoencoder=IdentityAutoencoder(predictor=Quieter()))
    distorted, clean = speech(2, 500), speech(2, 500, seed=1)
    lengths = torch.tensor([1.0, 0.6])
    predicted = model.predict(distorted, lengths)
    expected = 0.5 ** (1 / model.spectrogram.exponent) * distorted
    expected[1, 300:] = 0.0
    torch.testing.assert_close(predicted, expected, atol=1e-5, rtol=0)
    # This model leaves everything as it is.
    restored = model.restore(distorted, lengths)
    torch.testing.assert_close(restored, predicted, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        model.autoencoder_bound(distorted, clean), clean, atol=1e-5, rtol=0
    )


def test_oracle_decodes_with_the_distorted_skips():
    torch.manual_seed(0)
    autoencoder = LatentAutoencoder(channels=4, latent_channels=2)
    spectrogram = CompressedSpectrogram(62, 16)
    model = restorer(
        autoencoder=autoencoder,
        spectrogram=spectrogram,
        window_frames=16,
        overlap_frames=4,
    )
    distorted, clean = speech(1, 15 * 16), speech(1, 15 * 16, seed=1)
    peak = distorted.abs().max()
    with torch.no_grad():
        y = autoencoder.encode(spectrogram(distorted / peak))
        x = autoencoder.encode(spectrogram(clean / peak))
        decoded = autoencoder.decode(x.latent, y.skips, y.size)
    expected = spectrogram.inverse(decoded, 15 * 16) * peak
    actual = model.autoencoder_bound(distorted, clean)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(100,), (1, 2, 100), (1, 0)])
def test_waveforms_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"shape \(batch, time\)"):
        restorer().restore(torch.ones(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_waveforms_that_are_not_finite_are_refused(value):
    wavs = speech(2, 100)
    wavs[1, 50] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        restorer().restore(wavs)


@pytest.mark.parametrize("lengths", [[1.0], [1.0, 1.0, 1.0], [[1.0, 1.0]]])
def test_lengths_of_another_batch_are_refused(lengths):
    with pytest.raises(ValueError, match="expected 2 relative lengths"):
        restorer().restore(speech(2, 100), torch.tensor(lengths))


@pytest.mark.parametrize("overlap", [0, -2, 3, 8, 16])
def test_overlap_that_does_not_fit_is_refused(overlap):
    with pytest.raises(ValueError):
        restorer(overlap_frames=overlap)


@pytest.mark.parametrize("window", [0, -8, 1])
def test_window_that_is_none_is_refused(window):
    with pytest.raises(ValueError):
        restorer(window_frames=window)


def test_window_must_suit_the_grid_of_the_networks():
    network = NoChange()
    network.grid = 4
    autoencoder = LatentAutoencoder(channels=4, latent_channels=2)
    options = {"autoencoder": autoencoder, "score_model": network}
    restorer(**options, window_frames=32, overlap_frames=4)
    with pytest.raises(ValueError, match="multiple of 16.*got 24"):
        restorer(**options, window_frames=24, overlap_frames=4)
    with pytest.raises(ValueError, match="overlap_frames.*multiple of 4, got 2"):
        restorer(**options, window_frames=32, overlap_frames=2)


@pytest.mark.parametrize("windows_per_batch", [0, -1])
def test_batches_of_no_windows_are_refused(windows_per_batch):
    with pytest.raises(ValueError):
        model = restorer(windows_per_batch=windows_per_batch)
        model.restore(speech(1, 100))


@pytest.mark.parametrize("precision", ["half", "float32", 16])
def test_unknown_precision_is_refused(precision):
    with pytest.raises(ValueError, match="precision must be one of fp32, bf16, fp16"):
        restorer(precision=precision)


@pytest.mark.parametrize("dry", [0.0, 0.3, 1.0])
def test_dry_is_the_share_of_the_input(dry):
    wavs, lengths, model = speech(2, 500), torch.tensor([1.0, 0.5]), entangled()
    wavs[1] *= 20
    restored = model.restore(wavs, lengths)
    mixed = model.restore(wavs, lengths, dry=dry)
    wavs[1, 250:] = 0
    wanted = dry * wavs + (1 - dry) * restored
    torch.testing.assert_close(mixed, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dry", [-0.1, 1.1, float("nan")])
def test_dry_that_is_no_share_is_refused(dry):
    with pytest.raises(ValueError, match="dry must lie between 0 .* and 1"):
        restorer().restore(speech(1, 100), dry=dry)


class Lopsided(nn.Module):
    """Estimates what depends on where the phase is zero."""

    grid = 1

    def forward(self, x_t, y, t):
        return torch.relu(y) - 0.3 * y


def lopsided(phase_averages):
    model = restorer(score_model=Lopsided())
    model.set_phase_averages(phase_averages)
    return model


def test_rotations_average_what_becomes_of_each():
    wavs = speech(1, WINDOW)
    wavs = wavs / wavs.abs().max()
    model = lopsided(2)
    s = model.spectrogram(wavs)
    real, imaginary = s.unbind(1)
    turned = torch.stack([-imaginary, real], dim=1)

    def once(spectrogram):
        return model.spectrogram.inverse(
            spectrogram + Lopsided()(None, spectrogram, None), WINDOW
        )

    real, imaginary = (turned + Lopsided()(None, turned, None)).unbind(1)
    back = model.spectrogram.inverse(torch.stack([imaginary, -real], dim=1), WINDOW)
    torch.testing.assert_close(
        model.restore(wavs), (once(s) + back) / 2, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(lopsided(1).restore(wavs), once(s), atol=1e-5, rtol=0)


def test_with_all_rotations_the_sign_of_the_input_is_that_of_the_output():
    wavs = speech(2, 500)
    one, all_of_them = lopsided(1), lopsided(4)
    assert (one.restore(-wavs) + one.restore(wavs)).abs().max() > 0.01
    turned = -all_of_them.restore(-wavs)
    torch.testing.assert_close(turned, all_of_them.restore(wavs), atol=1e-5, rtol=0)


@pytest.mark.parametrize("phase_averages", [2, 3, 4])
def test_rotations_change_nothing_for_a_network_that_follows_them(phase_averages):
    wavs, model = speech(1, 500), restorer(score_model=Half())
    once = model.restore(wavs)
    model.set_phase_averages(phase_averages)
    torch.testing.assert_close(model.restore(wavs), once, atol=1e-5, rtol=0)


def test_rotations_draw_noise_of_their_own():
    """Or the mean over them would keep all of its variance."""
    wavs, model = speech(1, 500), entangled()

    def change():
        return (model.restore(wavs, seed=1) - model.restore(wavs, seed=2)).norm()

    once = change()
    model.set_phase_averages(4)
    assert 0 < change() < 0.7 * once


def test_windows_are_chosen_by_seconds():
    model = restorer(sample_rate=1600)  # 100 frames a second
    model.set_windows(window=0.13)
    assert (model.window_frames, model.overlap_frames) == (13, 1)
    model.set_windows(window=0.16, overlap=0.05)
    assert (model.window_frames, model.overlap_frames) == (16, 4)
    model.set_windows(overlap=0.08)
    assert (model.window_frames, model.overlap_frames) == (16, 8)
    model.set_windows(window=0.08)
    assert (model.window_frames, model.overlap_frames) == (8, 4)
    wavs = speech(1, 500)
    torch.testing.assert_close(model.restore(wavs), wavs, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="choices are 0.01, 0.02, 0.04, got 0.05"):
        model.set_windows(overlap=0.05)
    assert (model.window_frames, model.overlap_frames) == (8, 4)


def test_adjusted_restorer_leaves_the_first_as_it_is():
    model, wavs = entangled(), speech(1, 300)
    before = model.restore(wavs)
    changes = {"sampler": "bridge_ode", "num_steps": 2, "precision": "bf16"}
    other = model.adjusted(**changes, overlap=0.001)
    assert other.describe_sampling() == "bridge_ode, 2 calls"
    assert (other.precision, other.overlap_frames) == ("bf16", 2)
    assert other.score_model is model.score_model
    assert model.describe_sampling() == "bridge_sde, 3 calls"
    assert model.precision == "fp32"
    assert torch.equal(model.restore(wavs), before)
