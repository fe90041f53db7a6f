"""Settings and presets: what is chosen, what stays, and what is refused."""

import pickle
from dataclasses import FrozenInstanceError

import pytest
import torch
from small import entangled, restorer, speech

from lafufu_sb.diffusion.objectives import DataPrediction, ScoreMatching
from lafufu_sb.diffusion.processes import OUVESDE, SchroedingerBridge
from lafufu_sb.errors import UsageError
from lafufu_sb.restoration.settings import RestoreSettings

PRESETS = {
    "fast": {"sampler": "bridge_ode", "num_steps": 1},
    "slow": {"sampler": "bridge_sde", "num_steps": 5, "spacing": "quadratic"},
    "turned": {"sampler": "bridge_sde", "num_steps": 5, "phase_averages": 2},
    "exact": {"sampler": "bridge_ode", "num_steps": 1, "precision": "fp32"},
    "wide": {"sampler": "bridge_sde", "num_steps": 5, "overlap": 0.04},
}


def with_presets(**changes):
    options = {"presets": PRESETS, "sampler": None, "sampler_options": None}
    return entangled(**options | {"preset": "slow", "sample_rate": 1600} | changes)


def sampling(model):
    return model.settings.sampler, model.settings.sampler_options()


# The dataclass ---------------------------------------------------------------


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError, match="cannot assign"):
        RestoreSettings("bridge_ode").seed = 1


def test_names_that_are_no_fields_become_options_of_the_sampler():
    settings = RestoreSettings.from_preset(PRESETS["slow"])
    assert settings.options == {"spacing": "quadratic"}
    assert settings.sampler_options() == {"num_steps": 5, "spacing": "quadratic"}
    changed = settings.changed(network_time="new", seed=3)
    assert changed.options == {"spacing": "quadratic", "network_time": "new"}
    assert changed.seed == 3 and settings.seed == 0


def test_another_sampler_drops_steps_and_options_of_the_old_one():
    settings = RestoreSettings.from_preset(PRESETS["turned"] | {"spacing": "quadratic"})
    assert settings.changed(sampler="bridge_sde").num_steps == 5
    other = settings.changed(sampler="bridge_ode")
    assert (other.num_steps, other.options, other.phase_averages) == (None, {}, 2)
    other = settings.changed(sampler="bridge_ode", num_steps=2, method="multistep")
    assert (other.num_steps, other.options) == (2, {"method": "multistep"})


def test_none_leaves_a_field_unchanged():
    settings = RestoreSettings("bridge_ode", num_steps=3, dry=0.5)
    assert settings.changed(num_steps=None, dry=None, window=None) == settings


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("phase_averages", 0, "phase_averages must be a whole number from 1 to 4"),
        ("phase_averages", 1.5, "phase_averages must be a whole number from 1 to 4"),
        ("phase_averages", 5, "phase_averages must be a whole number from 1 to 4"),
        ("phase_averages", True, "phase_averages must be a whole number"),
        ("windows_per_batch", 0, "windows_per_batch must be a whole number"),
        ("windows_per_batch", "2", "windows_per_batch must be a whole number"),
        ("windows_per_batch", 10**6, "from 1 to 4096, got 1000000"),
        ("num_steps", 0, "num_steps must be a whole number from 1 to 10000, got 0"),
        ("num_steps", 10**9, "num_steps must be a whole number from 1 to 10000"),
        ("window", float("nan"), "window must be a number from 0 to 600, got nan"),
        ("window", float("inf"), "window must be a number from 0 to 600, got inf"),
        ("overlap", -0.5, "overlap must be a number from 0 to 600, got -0.5"),
        ("precision", "half", "precision must be one of fp32, bf16, fp16, got 'half'"),
        ("precision", 16, "precision must be one of fp32, bf16, fp16"),
        ("dry", -0.1, "dry must lie between 0 .* and 1"),
        ("dry", 1.1, "dry must lie between 0 .* and 1"),
        ("dry", float("nan"), "dry must lie between 0 .* and 1"),
    ],
)
def test_values_outside_their_range_are_refused(field, value, message):
    with pytest.raises(UsageError, match=message):
        RestoreSettings("bridge_ode", **{field: value})


# Presets ---------------------------------------------------------------------


def test_preset_is_a_name_for_settings():
    model, wavs = with_presets(), speech(1, 300)
    assert model.preset == "slow"
    assert sampling(model) == ("bridge_sde", {"num_steps": 5, "spacing": "quadratic"})
    options = {"num_steps": 5, "spacing": "quadratic"}
    by_hand = entangled(sampler_options=options, sample_rate=1600)
    assert torch.equal(model.restore(wavs), by_hand.restore(wavs))
    fast = model.with_settings(preset="fast")
    assert (fast.preset, fast.sampler.calls) == ("fast", 1)
    assert not torch.equal(fast.restore(wavs), by_hand.restore(wavs))
    assert model.preset == "slow"


def test_options_beside_a_preset_change_it():
    model = with_presets(sampler_options={"num_steps": 2})
    changed = "bridge_sde", {"num_steps": 2, "spacing": "quadratic"}
    assert model.preset is None and sampling(model) == changed
    assert sampling(with_presets().with_settings(preset="slow", num_steps=2)) == changed


def test_sampler_beside_a_preset_replaces_it():
    model = with_presets(preset="fast", sampler="bridge_sde")
    assert model.settings.sampler == "bridge_sde" and model.preset is None


def test_preset_restores_its_own_phase_averages_and_overlap():
    model = with_presets().with_settings(phase_averages=4, overlap=0.02)
    assert (model.settings.phase_averages, model.overlap_frames) == (4, 2)
    fast = model.with_settings(preset="fast")
    assert fast.settings.phase_averages == 1 and fast.preset == "fast"
    assert model.with_settings(preset="turned").settings.phase_averages == 2
    wide = model.with_settings(preset="wide")
    assert wide.overlap_frames == 4 and wide.with_settings(num_steps=2).settings.overlap
    assert wide.with_settings(preset="fast").overlap_frames == 2


def test_what_belongs_to_the_machine_or_the_call_outlives_a_preset():
    kept = {"precision": "bf16", "windows_per_batch": 2, "seed": 5, "dry": 0.5}
    model = with_presets().with_settings(**kept)
    fast = model.with_settings(preset="fast")
    assert {name: getattr(fast.settings, name) for name in kept} == kept
    assert fast.preset == "fast"
    exact = model.with_settings(preset="exact").settings
    assert (exact.precision, exact.seed) == ("fp32", 5)


def test_settings_are_described_in_one_line():
    model = with_presets()
    assert model.describe() == "preset slow, 5 calls"
    assert model.with_settings(phase_averages=3).describe() == (
        "bridge_sde, 5 calls, 3 phase averages"
    )
    one = model.with_settings(sampler="bridge_ode", num_steps=1)
    assert one.describe() == "preset fast, 1 call"
    two = model.with_settings(sampler="bridge_ode", num_steps=2)
    assert two.describe() == "bridge_ode, 2 calls"


def test_unknown_preset_is_refused_with_the_choice():
    with pytest.raises(UsageError, match="no preset 'best': this model has fast, slow"):
        with_presets().with_settings(preset="best")
    with pytest.raises(UsageError, match="'fast': this model has none, choose a samp"):
        entangled().with_settings(preset="fast")


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ({"num_steps": 3}, "names no sampler"),
        ({"sampler": "bridge_ode", "snr": 0.5}, "has no option snr"),
        ({"sampler": "bridge_ode", "spacing": "even"}, "spacing must be"),
        ({"sampler": "bridge_ode", "phase_averages": 5}, "phase_averages must be"),
        ({"sampler": "bridge_ode", "overlap": 9.0}, "overlap must be above 0"),
    ],
)
def test_broken_preset_is_refused_when_the_restorer_is_built(preset, message):
    with pytest.raises(UsageError, match=message):
        entangled(presets={"x": preset})


# Changes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1, "num_steps": 0}, "num_steps must be a whole number"),
        ({"precision": "bf16", "phase_averages": 5}, "phase_averages must be"),
        ({"dry": 0.5, "overlap": 9.0}, "overlap must be above 0 and at most half"),
        ({"window": 1e-9}, "window must be some seconds"),
        ({"num_steps": 2, "sampler": "predictor_corrector"}, "can use bridge_ode"),
        ({"sampler": "euler"}, "'euler' is unknown"),
        ({"spacing": "even"}, "spacing must be"),
        ({"rotations": 2}, "has no option rotations"),
        ({"preset": "fast", "dry": 2}, "dry must lie between"),
    ],
)
def test_refused_value_changes_nothing(changes, message):
    model = with_presets()
    before, sampler, plan = model.settings, model.sampler, model.plan
    with pytest.raises(UsageError, match=message):
        model.with_settings(**changes)
    assert model.settings is before and model.settings == model.presets["slow"]
    assert model.sampler is sampler and model.plan is plan


def test_other_settings_share_networks_and_leave_the_first_alone():
    model, wavs = entangled(), speech(1, 300)
    before = model.restore(wavs)
    other = model.with_settings(
        sampler="bridge_ode", num_steps=2, precision="bf16", overlap=1e-3
    )
    assert other.score_model is model.score_model
    assert (other.settings.precision, other.overlap_frames) == ("bf16", 2)
    assert other.describe() == "bridge_ode, 2 calls"
    assert model.describe() == "bridge_sde, 3 calls"
    assert torch.equal(model.restore(wavs), before)
    assert not torch.equal(other.restore(wavs), before)


def test_windows_are_chosen_in_seconds():
    model = restorer(sample_rate=1600)  # 100 frames a second
    for settings, frames in (
        ({"window": 0.13}, (13, 1)),
        ({"window": 0.16, "overlap": 0.05}, (16, 4)),
        ({"overlap": 0.04}, (8, 4)),
        ({"window": 0.03}, (3, 1)),
    ):
        other = model.with_settings(**settings)
        assert (other.window_frames, other.overlap_frames) == frames
        wavs = speech(1, 502).diff().diff()  # little below 20 Hz
        torch.testing.assert_close(other.restore(wavs), wavs, atol=1e-5, rtol=0)
    with pytest.raises(UsageError, match="choices are 0.01, 0.02, 0.04, got 0.05"):
        model.with_settings(overlap=0.05)


def test_restorer_needs_a_sampler_or_a_preset():
    with pytest.raises(UsageError, match="needs a sampler or a preset"):
        entangled(sampler=None, sampler_options=None)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"process": SchroedingerBridge(), "objective": ScoreMatching()},
            "ScoreMatching does not fit .*Bridge: use one of DataPrediction",
        ),
        (
            {"process": OUVESDE(), "objective": DataPrediction()},
            "'bridge_ode' does not fit this model.*estimates the data can use "
            "ancestral, predictor_corrector, probability_flow",
        ),
        (
            {"process": OUVESDE(), "objective": ScoreMatching()},
            "'bridge_ode' does not fit this model.*estimates the score can use "
            "ancestral, predictor_corrector, probability_flow",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused_with_what_fits(parts, message):
    with pytest.raises(UsageError, match=message):
        restorer(**parts)


def test_pickled_restorer_restores_the_same():
    model, wavs = with_presets().with_settings(seed=3, dry=0.1), speech(1, 300)
    expected = model.restore(wavs)
    again = pickle.loads(pickle.dumps(model))
    assert again.settings == model.settings and again.describe() == model.describe()
    assert torch.equal(again.restore(wavs), expected)
    fast = again.with_settings(preset="fast")
    assert torch.equal(
        fast.restore(wavs), model.with_settings(preset="fast").restore(wavs)
    )
