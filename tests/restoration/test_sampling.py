"""Samplers by name and by preset: what is chosen, changed, refused."""

import pytest
import torch
from small import entangled, restorer, speech


def test_sampler_can_be_exchanged():
    model = entangled()
    wavs = speech(1, 300)
    before = model.restore(wavs)
    model.set_sampler("bridge_ode", num_steps=2)
    assert (model.sampler_name, model.sampler_options) == (
        "bridge_ode",
        {"num_steps": 2},
    )
    assert not torch.allclose(model.restore(wavs), before, atol=1e-3)


def test_sampler_of_another_process_is_refused():
    with pytest.raises(ValueError, match="does not fit this model"):
        restorer(sampler="predictor_corrector")
    with pytest.raises(ValueError, match="num_steps"):
        restorer(sampler_options={"num_steps": 0})


PRESETS = {
    "fast": {"sampler": "bridge_ode", "num_steps": 1},
    "slow": {"sampler": "bridge_sde", "num_steps": 5, "spacing": "quadratic"},
}


def sampling(model):
    return model.preset, model.sampler_name, model.sampler_options


def test_preset_is_a_name_for_sampler_and_options():
    model = entangled(
        sampler=None, sampler_options=None, presets=PRESETS, preset="slow"
    )
    options = {"num_steps": 5, "spacing": "quadratic"}
    assert sampling(model) == ("slow", "bridge_sde", options)
    by_hand = entangled(sampler="bridge_sde", sampler_options=options)
    wavs = speech(1, 300)
    assert torch.equal(model.restore(wavs), by_hand.restore(wavs))
    model.set_preset("fast")
    assert sampling(model) == ("fast", "bridge_ode", {"num_steps": 1})
    assert not torch.equal(model.restore(wavs), by_hand.restore(wavs))


def test_options_given_beside_a_preset_win():
    options = {"sampler": None, "presets": PRESETS, "preset": "slow"}
    model = entangled(**options, sampler_options={"num_steps": 2})
    changed = {"num_steps": 2, "spacing": "quadratic"}
    assert sampling(model) == (None, "bridge_sde", changed)
    model.set_preset("slow", num_steps=2)
    assert sampling(model) == (None, "bridge_sde", changed)
    assert model.presets == PRESETS
    model = entangled(presets=PRESETS, preset="fast", sampler="bridge_sde")
    assert model.sampler_name == "bridge_sde" and model.preset is None


def test_changed_sampler_keeps_what_is_not_given_unless_it_is_another():
    model = entangled(presets=PRESETS)
    model.set_preset("slow")
    model.change_sampler(num_steps=3)
    kept = {"num_steps": 3, "spacing": "quadratic"}
    assert sampling(model) == (None, "bridge_sde", kept)
    model.change_sampler("bridge_sde", num_steps=4)
    assert sampling(model) == (None, "bridge_sde", kept | {"num_steps": 4})
    model.change_sampler("bridge_ode")
    assert sampling(model) == (None, "bridge_ode", {})


def test_sampling_is_described_by_what_was_chosen():
    model = entangled(presets=PRESETS)
    model.set_preset("slow")
    assert model.describe_sampling() == "preset slow, 5 calls"
    model.change_sampler("bridge_ode", num_steps=1)
    assert model.describe_sampling() == "bridge_ode, 1 call"


def test_the_overlap_of_a_preset_does_not_outlive_its_sampler():
    wide = {"wide": {"sampler": "bridge_sde", "num_steps": 5, "overlap_frames": 16}}
    model = entangled(presets=wide, overlap_frames=4, window_frames=32)
    model.set_preset("wide")
    model.adjust(num_steps=3)
    assert model.overlap_frames == 16
    model.adjust(sampler="bridge_ode")
    assert model.overlap_frames == 4
    seconds = 8 * model.spectrogram.hop_length / model.sample_rate
    model.adjust(overlap=seconds)
    model.adjust(sampler="bridge_sde")
    assert model.overlap_frames == 8  # what was asked for stays


def test_a_preset_may_have_an_overlap_of_its_own():
    wide = {"wide": {"sampler": "bridge_sde", "num_steps": 5, "overlap_frames": 16}}
    model = entangled(presets=PRESETS | wide, overlap_frames=4, window_frames=32)
    model.set_preset("wide")
    assert model.overlap_frames == 16
    model.set_preset("fast")
    assert model.overlap_frames == 4
    model.set_preset("wide", num_steps=2)
    assert model.overlap_frames == 16
    seconds = model.spectrogram.hop_length / model.sample_rate
    model.set_windows(window=16 * seconds)
    assert (model.window_frames, model.overlap_frames) == (16, 8)
    model.set_preset("fast")
    assert model.overlap_frames == 4
    model = entangled(presets=PRESETS | wide, overlap_frames=4, window_frames=32)
    assert model.preset is None and model.overlap_frames == 4


def test_a_preset_may_have_rotations_which_end_with_its_sampler():
    turned = {"turned": {"sampler": "bridge_sde", "num_steps": 5, "phase_averages": 2}}
    model = entangled(presets=PRESETS | turned)
    assert model.phase_averages == 1
    model.set_preset("turned")
    assert model.describe_sampling() == "preset turned, 5 calls, 2 phase_averages"
    model.adjust(num_steps=3)
    assert model.describe_sampling() == "bridge_sde, 3 calls, 2 phase_averages"
    model.adjust(sampler="bridge_ode", num_steps=1)
    assert model.describe_sampling() == "bridge_ode, 1 call"
    model.set_preset("turned")
    model.set_preset("fast")
    assert model.describe_sampling() == "preset fast, 1 call"
    model.adjust(phase_averages=4)
    assert model.describe_sampling() == "bridge_ode, 1 call, 4 phase_averages"
    model.set_preset("slow")
    assert model.phase_averages == 4  # what was asked for stays
    model.adjust(sampler="bridge_ode", num_steps=1, phase_averages=3)
    assert model.describe_sampling() == "bridge_ode, 1 call, 3 phase_averages"


@pytest.mark.parametrize("phase_averages", [0, 5, 1.5, "2"])
def test_rotations_that_there_are_not_are_refused(phase_averages):
    model = entangled(presets=PRESETS)
    with pytest.raises(
        ValueError, match="phase_averages must be a whole number from 1 to"
    ):
        model.set_phase_averages(phase_averages)
    assert model.phase_averages == 1
    broken = PRESETS["fast"] | {"phase_averages": phase_averages}
    with pytest.raises(
        ValueError, match="phase_averages must be a whole number from 1 to"
    ):
        entangled(presets={"x": broken})


def test_unknown_preset_is_refused_with_those_there_are():
    model = entangled(presets=PRESETS)
    before = sampling(model)
    with pytest.raises(ValueError, match="no preset 'best': this model has fast, slow"):
        model.set_preset("best")
    with pytest.raises(ValueError, match="'fast': this model has none, choose a samp"):
        entangled().set_preset("fast")
    assert sampling(model) == before


def test_broken_preset_is_refused_when_the_model_is_made():
    with pytest.raises(ValueError, match="preset 'x' names no sampler"):
        entangled(presets={"x": {"num_steps": 3}})
    with pytest.raises(ValueError, match="has no option snr"):
        entangled(presets={"x": {"sampler": "bridge_ode", "snr": 0.5}})
    with pytest.raises(ValueError, match="spacing must be"):
        entangled(presets={"x": {"sampler": "bridge_ode", "spacing": "even"}})


def test_restorer_needs_a_sampler_or_a_preset():
    with pytest.raises(ValueError, match="neither a sampler nor a preset"):
        entangled(sampler=None, sampler_options=None)
