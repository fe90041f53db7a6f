"""What stages start from, which are due, and what they refuse."""

import shutil

import pytest
import torch
from runs import write_tiny_recipe

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.weights import read_weights, save_weights
from lafufu_sb.training.recipe import load_recipe
from lafufu_sb.training.settings import check_settings
from lafufu_sb.training.stages import (
    Stage,
    begin_few_step,
    due_stages,
    epochs_left,
    learns,
    taken_stages,
)

FEW_STEP = {"stage": "few_step", "few_step_epochs": 1}


@pytest.fixture
def recipe(tmp_path):
    """Objects of a tiny recipe whose run folder is ``tmp_path / "run"``."""

    def load(base="lafufu_mini_wham", **overrides):
        path = write_tiny_recipe(tmp_path / "tiny.yaml", tmp_path / "run", base=base)
        return load_recipe(path, FEW_STEP | overrides)[0]

    return load


@pytest.fixture
def finished(tiny_run, tmp_path):
    """A copy of a run that has finished its score stage, one epoch."""
    return shutil.copytree(tiny_run, tmp_path / "run")


def fill(hparams, name, file):
    hparams[name].load_state_dict(read_weights(file))


def assert_weights(module, file):
    state = read_weights(file)
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())


def test_few_step_begins_with_the_best_averaged_score_weights(recipe, finished):
    hparams = recipe()
    fill(hparams, "representation", finished / "representation.safetensors")
    stage = begin_few_step(hparams, finished)
    exported = finished / "model" / "score_model.safetensors"
    assert_weights(hparams["score_model"], exported)
    with torch.no_grad():
        for parameter in hparams["score_model"].parameters():
            if parameter.requires_grad:
                parameter.zero_()
    with stage.ema.averaged():
        assert_weights(hparams["score_model"], exported)


def test_begun_stage_is_left_as_it_is(recipe, finished):
    hparams = recipe()
    Stage("few_step", hparams).checkpointer.save_checkpoint()
    before = [p.detach().clone() for p in hparams["score_model"].parameters()]
    begin_few_step(hparams, finished)
    after = hparams["score_model"].parameters()
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_unfinished_score_stage_is_refused_or_accepted_by_name(recipe, finished):
    hparams = recipe(score_epochs=3)
    fill(hparams, "representation", finished / "representation.safetensors")
    with pytest.raises(
        UsageError, match="1 of 3 epochs.*--stage score.*score_epochs=1"
    ):
        begin_few_step(hparams, finished)


def test_missing_score_stage_is_refused(recipe, tmp_path):
    hparams = recipe()
    with pytest.raises(UsageError, match="no checkpoint of a validated.*--stage score"):
        begin_few_step(hparams, tmp_path / "run")


def test_score_stage_of_another_autoencoder_is_refused(recipe, finished):
    hparams = recipe()  # its autoencoder is untrained
    with pytest.raises(UsageError, match="latent of another representation"):
        begin_few_step(hparams, finished)


def test_autoencoder_stage_waits_for_its_pre_enhancer(recipe, tmp_path):
    base = "lafufu_mini_pre_enhancer_wham"
    hparams = recipe(base, stage="autoencoder", few_step_epochs=0)
    with pytest.raises(FileNotFoundError, match="run --stage pre_enhancer first"):
        check_settings(hparams, tmp_path / "run")
    (tmp_path / "run").mkdir(exist_ok=True)
    save_weights(hparams["pre_enhancer"], tmp_path / "run" / "pre_enhancer.safetensors")
    check_settings(hparams, tmp_path / "run")


def test_best_of_a_stage_without_checkpoint_is_none(recipe):
    assert Stage("few_step", recipe()).load_best() is False


@pytest.mark.parametrize(
    "overrides, message",
    [
        ({"few_step_epochs": 0}, "few_step_epochs is 0"),
        ({"stage": "score", "score_epochs": 0}, "give the model to take as init_from"),
        ({"stage": "all", "init_parts": ["score_model"]}, "needs init_from"),
        (
            {"init_from": "m", "init_parts": ["score_model"]},
            "add representation to init_parts",
        ),
        ({"init_from": "m", "init_parts": "all"}, "list of representation, score_m"),
        (
            {"stage": "all", "init_from": "m", "ae_epochs": 3},
            "another latent than that of the score model",
        ),
        (
            {"stage": "all", "init_from": "m", "score_epochs": 0, "few_step_epochs": 0},
            "nothing is left to train",
        ),
        (
            {"stage": "all", "train_score_model": False, "few_step_epochs": 0},
            "give the model whose score model to keep",
        ),
        (
            {"init_from": "m", "train_score_model": False, "train_decoder": False},
            "needs train_decoder and a decoded loss",
        ),
    ],
)
def test_contradictions_are_refused(recipe, tmp_path, overrides, message):
    with pytest.raises(UsageError, match=message):
        check_settings(recipe(**overrides), tmp_path)


@pytest.mark.parametrize("stage", ["all", "few_step"])
def test_stages_that_begin_with_a_model_folder_need_no_autoencoder(
    recipe, tmp_path, stage
):
    hparams = recipe(stage=stage, init_from="model")
    check_settings(hparams, tmp_path)
    assert taken_stages(hparams, tmp_path) == ["autoencoder"]
    later = ["score", "few_step"] if stage == "all" else ["few_step"]
    assert due_stages(hparams, tmp_path) == later


def test_test_stage_does_not_begin_anything(recipe, tmp_path):
    hparams = recipe(stage="test", init_from="model")
    with pytest.raises(FileNotFoundError, match="run --stage autoencoder first"):
        check_settings(hparams, tmp_path)


def test_epochs_left_are_those_without_a_result(recipe, finished):
    hparams = recipe(stage="all", ae_epochs=3, score_epochs=5)
    assert epochs_left(hparams, finished) == {"score": 4, "few_step": 1}
    (finished / "representation.safetensors").unlink()
    assert epochs_left(hparams, finished)["autoencoder"] == 2


def test_the_decoder_alone_learns_with_the_score_model_frozen(recipe):
    hparams = recipe(init_from="model", train_score_model=False)
    stage = Stage("score", hparams)
    trained = {n for n, m in stage.modules.items() if learns(m)}
    assert trained == {"decoder"}
