"""The inference path: levels, batches, noise, windows, phase averages, bound."""

import pytest
import torch
from small import (
    STRIDE,
    WINDOW,
    Half,
    NoChange,
    Scaled,
    entangled,
    restorer,
    spectrogram_representation,
    speech,
)

from lafufu_sb.diffusion.objectives import ScoreMatching
from lafufu_sb.diffusion.processes import OUVESDE
from lafufu_sb.errors import UsageError
from lafufu_sb.lobes.representations import (
    LatentRepresentation,
    SpectrogramRepresentation,
)
from lafufu_sb.lobes.score_network import ScoreNetwork
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram

LENGTHS = [1, 20, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + STRIDE, 1000]


def latent_representation():
    torch.manual_seed(0)
    spectrogram = CompressedSpectrogram(62, 16)
    return LatentRepresentation(spectrogram, channels=4, latent_channels=2)


@pytest.mark.parametrize("samples", LENGTHS)
def test_network_that_changes_nothing_returns_the_input(samples):
    wavs = speech(min(2, samples), samples)
    torch.testing.assert_close(restorer().restore(wavs), wavs, atol=1e-5, rtol=0)


def test_windows_of_the_paper_return_the_input():
    model = restorer(
        representation=SpectrogramRepresentation(CompressedSpectrogram()),
        window_frames=256,
        overlap_frames=32,
    )
    assert model.plan.window == 97920
    wavs = speech(1, 100001).diff()  # nothing below 20 Hz
    torch.testing.assert_close(model.restore(wavs), wavs, atol=1e-5, rtol=0)


class PointMass(ScoreNetwork):
    """Raw output whose score is exact if the condition is the clean latent."""

    def forward(self, x_t, condition, t):
        variance = OUVESDE().std(t).square().reshape(-1, 1, 1, 1)
        return (x_t - condition) / variance


def test_score_models_take_the_same_path():
    model = restorer(
        representation=spectrogram_representation(factor=50.0),
        score_model=PointMass(),
        process=OUVESDE(),
        objective=ScoreMatching(),
        sampler="predictor_corrector",
        sampler_options={"num_steps": 10},
    )
    wavs = speech(1, 300)
    torch.testing.assert_close(model.restore(wavs), wavs, atol=0.01, rtol=0)


def test_silence_gives_exact_zeros_without_a_call_of_the_network():
    wavs = speech(3, 100)
    wavs[1:] = 0
    model = restorer(score_model=Scaled())
    restored = model.restore(wavs)
    assert restored[0].abs().max() > 0 and not restored[1:].any()
    assert [batch for *_, batch in model.score_model.seen] == [1]
    assert not model.restore(wavs[1:]).any()
    assert len(model.score_model.seen) == 1


@pytest.mark.parametrize("windows_per_batch", [1, 4, 100])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 1, 4, 0, 2]])
def test_an_item_is_restored_the_same_alone_and_in_a_batch(windows_per_batch, order):
    samples = [700, 30, WINDOW, 433, 250]
    wavs = [speech(1, n, seed=n)[0] for n in samples]
    batch = torch.full((5, 800), 9.0)  # padding has no influence either
    for row, item in enumerate(order):
        batch[row, : samples[item]] = wavs[item]
    lengths = torch.tensor([samples[item] / 800 for item in order])
    model = entangled(windows_per_batch=windows_per_batch)
    together = model.restore(batch, lengths)
    for row, item in enumerate(order):
        alone = model.restore(wavs[item][None])[0]
        actual = together[row, : samples[item]]
        torch.testing.assert_close(actual, alone, atol=1e-5, rtol=0)
        assert not together[row, samples[item] :].any()


class Shrink(ScoreNetwork):
    """Odd in its input, so that polarity is kept as well as level."""

    def forward(self, x_t, condition, t):
        level = condition.abs().mean(dim=(1, 2, 3), keepdim=True)
        return -0.5 * condition * torch.tanh(level)


@pytest.mark.parametrize("gain", [1e-6, 1 / 64, 3.0, -1.0, 1e6])
def test_level_of_the_input_is_the_level_of_the_output(gain):
    wavs, model = speech(2, 300), restorer(score_model=Shrink())
    restored = model.restore(gain * wavs) / gain
    torch.testing.assert_close(restored, model.restore(wavs), atol=1e-5, rtol=0)


def test_level_is_kept_when_noise_is_involved():
    wavs, model = speech(2, 300), entangled()
    assert torch.equal(model.restore(0.125 * wavs), 0.125 * model.restore(wavs))


def test_items_keep_their_own_levels():
    wavs = speech(1, 300)
    both = restorer(score_model=Shrink()).restore(torch.cat([wavs, 100 * wavs]))
    torch.testing.assert_close(both[1], 100 * both[0], atol=1e-3, rtol=0)


def test_seed_decides_the_noise():
    wavs, model = speech(1, 300), entangled()
    first, other = model.with_settings(seed=1), model.with_settings(seed=2)
    restored = first.restore(wavs)
    assert torch.equal(first.restore(wavs), restored)
    assert not torch.allclose(other.restore(wavs), restored, atol=1e-3)


def test_global_generator_and_input_are_left_alone():
    wavs, model, state = speech(1, 300), entangled(), torch.get_rng_state()
    kept = wavs.clone()
    model.restore(wavs)
    assert torch.equal(wavs, kept)
    assert torch.equal(torch.get_rng_state(), state)


def test_result_has_no_gradient_and_can_be_used_in_training():
    restored = restorer(score_model=Scaled()).restore(speech(1, 100).requires_grad_())
    assert not restored.requires_grad
    scale = torch.ones(1, requires_grad=True)
    (restored * scale).sum().backward()
    assert scale.grad is not None


def test_windows_are_computed_in_batches_of_the_given_size():
    model = restorer(score_model=Scaled(), windows_per_batch=3)
    model.restore(speech(2, WINDOW + STRIDE))  # two windows each
    assert [batch for *_, batch in model.score_model.seen] == [3, 1]


# Bound and times -------------------------------------------------------------


def test_bound_is_the_clean_signal_where_nothing_is_lost():
    distorted, clean = speech(2, 500), speech(2, 500, seed=1)
    bound = restorer().autoencoder_bound(distorted, clean)
    torch.testing.assert_close(bound, clean, atol=1e-5, rtol=0)


def test_bound_decodes_the_clean_latent_with_the_distorted_skips():
    representation = latent_representation()
    model = restorer(representation=representation, window_frames=16, overlap_frames=4)
    distorted, clean = speech(1, 15 * 16), speech(1, 15 * 16, seed=1)
    peak = distorted.abs().max()
    with torch.no_grad():
        y = representation.encode(representation.features(distorted / peak))
        x = representation.encode(representation.features(clean / peak))
        decoded = representation.decode(x.latent, y.skips, y.size)
    expected = representation.waveforms(decoded, 15 * 16) * peak
    actual = model.autoencoder_bound(distorted, clean)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_parts_are_timed_within_the_block_alone():
    model, wavs = restorer(), speech(1, 300)
    with model.timed() as timer:
        model.restore(wavs)
        assert set(timer.seconds) == {"encoder", "sampler", "decoder"}
        assert min(timer.seconds.values()) >= 0
        timer.reset()
        assert not timer.seconds
    model.restore(wavs)
    assert not timer.seconds


# Refusals --------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(100,), (1, 2, 100), (1, 0)])
def test_waveforms_of_another_shape_are_refused(shape):
    with pytest.raises(UsageError, match=r"shape \(batch, time\)"):
        restorer().restore(torch.ones(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_waveforms_that_are_not_finite_are_refused(value):
    wavs = speech(2, 100)
    wavs[1, 50] = value
    with pytest.raises(UsageError, match="NaN or infinite"):
        restorer().restore(wavs)


@pytest.mark.parametrize("lengths", [[1.0], [1.0, 1.0, 1.0], [[1.0, 1.0]]])
def test_lengths_of_another_batch_are_refused(lengths):
    with pytest.raises(UsageError, match="expected 2 relative lengths"):
        restorer().restore(speech(2, 100), torch.tensor(lengths))


@pytest.mark.parametrize(
    ("window", "overlap", "message"),
    [
        (8, 0, "overlap_frames must divide window_frames"),
        (8, -2, "overlap_frames must divide window_frames"),
        (8, 3, "overlap_frames must divide window_frames"),
        (8, 8, "stride must lie between half of the window and the window"),
        (8, 16, "overlap_frames must divide window_frames"),
        (0, 2, "window_frames must be a positive multiple of 1,"),
        (-8, 2, "window_frames must be a positive multiple of 1,"),
        (1, 2, "overlap_frames must divide window_frames"),
    ],
)
def test_windows_that_do_not_fit_are_refused(window, overlap, message):
    with pytest.raises(UsageError, match=message):
        restorer(window_frames=window, overlap_frames=overlap)


def test_window_must_suit_the_grid_of_the_networks():
    network = NoChange()
    network.grid = 4
    parts = {"representation": latent_representation(), "score_model": network}
    restorer(**parts, window_frames=32, overlap_frames=4)
    with pytest.raises(UsageError, match="multiple of 16.*got 24"):
        restorer(**parts, window_frames=24, overlap_frames=4)
    with pytest.raises(UsageError, match="overlap_frames.*multiple of 4, got 2"):
        restorer(**parts, window_frames=32, overlap_frames=2)


# Dry share and phase averages ------------------------------------------------


@pytest.mark.parametrize("dry", [0.0, 0.3, 1.0])
def test_dry_is_the_share_of_the_input(dry):
    wavs, lengths, model = speech(2, 500), torch.tensor([1.0, 0.5]), entangled()
    wavs[1] *= 20
    restored = model.restore(wavs, lengths)
    mixed = model.with_settings(dry=dry).restore(wavs, lengths)
    wavs[1, 250:] = 0
    wanted = dry * wavs + (1 - dry) * restored
    torch.testing.assert_close(mixed, wanted, atol=1e-4, rtol=0)


class Lopsided(ScoreNetwork):
    """Its result depends on the phase of its input."""

    def forward(self, x_t, condition, t):
        return torch.relu(condition) - 0.3 * condition


def lopsided(phase_averages):
    model = restorer(score_model=Lopsided())
    return model.with_settings(phase_averages=phase_averages)


def test_average_is_over_the_results_of_each_turn():
    wavs = speech(1, WINDOW)
    wavs = wavs / wavs.abs().max()
    representation = spectrogram_representation()
    features = representation.features(wavs)

    def once(quarters):
        turned = representation.turn(features, quarters)
        changed = turned + Lopsided()(None, turned, None)
        return representation.waveforms(representation.turn(changed, -quarters), WINDOW)

    for averages in (1, 2, 3):
        expected = sum(once(quarters) for quarters in range(averages)) / averages
        restored = lopsided(averages).restore(wavs)
        torch.testing.assert_close(restored, expected, atol=1e-5, rtol=0)


def test_average_over_all_turns_keeps_the_sign_of_the_input():
    wavs = speech(2, 500)
    one, four = lopsided(1), lopsided(4)
    assert (one.restore(-wavs) + one.restore(wavs)).abs().max() > 0.01
    turned = -four.restore(-wavs)
    torch.testing.assert_close(turned, four.restore(wavs), atol=1e-5, rtol=0)


@pytest.mark.parametrize("phase_averages", [2, 3, 4])
def test_averages_change_nothing_for_an_equivariant_network(phase_averages):
    wavs, model = speech(1, 500), restorer(score_model=Half())
    averaged = model.with_settings(phase_averages=phase_averages).restore(wavs)
    torch.testing.assert_close(averaged, model.restore(wavs), atol=1e-5, rtol=0)


def test_each_turn_draws_noise_of_its_own():
    """Otherwise the mean over the turns would keep all of its variance."""
    wavs, model = speech(1, 500), entangled()

    def change(averages):
        settings = {"phase_averages": averages}
        one, two = (model.with_settings(seed=s, **settings) for s in (1, 2))
        return (one.restore(wavs) - two.restore(wavs)).norm()

    assert 0 < change(4) < 0.7 * change(1)
