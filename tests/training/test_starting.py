"""Starting with the weights of a model folder: what fits, what is refused and why."""

import shutil

import pytest
import torch
from runs import RECIPE, write_tiny_recipe

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.shipped import NAMES, shipped_model
from lafufu_sb.inference.weights import read_weights, save_weights
from lafufu_sb.training.recipe import load_recipe
from lafufu_sb.training.stages import Stage, begin_few_step, save_part
from lafufu_sb.training.starting import start_from_model, starts_from_model

RECIPES = dict(
    zip(
        sorted(NAMES),
        ("lafufu_dfn_wham", "lafufu_mini_wham", "lafufu_wpe_reverb"),
        strict=True,
    )
)


@pytest.fixture
def load(tmp_path):
    """Objects and text of a tiny recipe whose run folder is ``tmp_path / "run"``."""

    def load(base="lafufu_mini_wham", **overrides):
        path = write_tiny_recipe(tmp_path / "tiny.yaml", tmp_path / "run", base=base)
        return load_recipe(path, overrides)

    return load


def assert_weights(module, file):
    state = read_weights(file)
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())


def test_all_parts_are_taken_and_no_file_is_written(load, tiny_model, tmp_path):
    hparams, text = load(init_from=str(tiny_model))
    start_from_model(hparams, text, tmp_path / "run")
    # With the decoder that learnt along.
    assert_weights(hparams["representation"], tiny_model / "representation.safetensors")
    assert_weights(hparams["score_model"], tiny_model / "score_model.safetensors")
    assert not (tmp_path / "run").exists()


def test_averages_start_with_the_given_weights(load, tiny_model, tmp_path):
    given = {"init_from": str(tiny_model), "score_epochs": 0, "few_step_epochs": 1}
    hparams, text = load(**given)
    start_from_model(hparams, text, tmp_path / "run")
    stage = begin_few_step(hparams, tmp_path / "run")
    with stage.ema.averaged():
        assert_weights(hparams["score_model"], tiny_model / "score_model.safetensors")


def test_parts_that_are_not_asked_for_keep_their_own_weights(
    load, tiny_model, tmp_path
):
    changed = {"init_from": str(tiny_model), "init_parts": ["representation"]}
    hparams, text = load(**changed, score_model={"base_channels": 12})
    before = [p.clone() for p in hparams["score_model"].parameters()]
    start_from_model(hparams, text, tmp_path / "run")
    assert_weights(hparams["representation"], tiny_model / "representation.safetensors")
    after = hparams["score_model"].parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_run_that_has_begun_needs_no_model(load, tiny_model, tmp_path):
    hparams, text = load(init_from=str(tiny_model))
    start_from_model(hparams, text, tmp_path / "run")
    (tmp_path / "run").mkdir()
    save_part("representation", hparams, tmp_path / "run")
    assert starts_from_model(hparams, tmp_path / "run")
    Stage("score", hparams).checkpointer.save_checkpoint()
    assert not starts_from_model(hparams, tmp_path / "run")
    hparams["init_from"] = "/gone"
    start_from_model(hparams, text, tmp_path / "run")


@pytest.mark.parametrize(
    "base, overrides, message",
    [
        (
            "lafufu_mini_ouve_wham",
            {},
            "process is .*SchroedingerBridge in the model and .*OUVESDE in this recipe",
        ),
        ("lafufu_mini_wham", {"process": {"c": 0.4}}, "process.c is 10.0 in the model"),
        (
            "lafufu_mini_wham",
            {"score_model": {"base_channels": 12}},
            "score_model.base_channels is 8 in the model and 12 in this recipe. Use",
        ),
        (
            "lafufu_mini_wham",
            {"spectrogram": {"exponent": 0.5}},
            "representation.spectrogram.exponent is 0.667 in the model and 0.5",
        ),
        ("lafufu_mini_pre_enhancer_wham", {}, "condition is .*pre_enhancer is None in"),
    ],
)
def test_model_of_another_recipe_is_refused_with_what_differs(
    load, tiny_model, tmp_path, base, overrides, message
):
    hparams, text = load(base, init_from=str(tiny_model), **overrides)
    with pytest.raises(UsageError, match=message):
        start_from_model(hparams, text, tmp_path)


def test_a_pre_enhancer_is_put_before_parts_of_a_model(load, tiny_model, tmp_path):
    parts = ["representation", "score_model"]
    options = {"init_from": str(tiny_model), "init_parts": parts}
    hparams, text = load("lafufu_mini_pre_enhancer_wham", **options)
    assert hparams["pre_enhancer_epochs"] == 1 and hparams["ae_epochs"] == 0
    start_from_model(hparams, text, tmp_path)
    assert_weights(hparams["score_model"], tiny_model / "score_model.safetensors")


def test_run_with_another_autoencoder_is_not_overwritten(load, tiny_model, tmp_path):
    hparams, text = load(init_from=str(tiny_model))
    own = tmp_path / "representation.safetensors"
    save_weights(hparams["representation"], own)
    with pytest.raises(UsageError, match="choose another output_folder"):
        start_from_model(hparams, text, tmp_path)


def test_classes_of_a_model_folder_are_compared_and_not_imported(
    load, tiny_model, tmp_path
):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    file = model / "hyperparams.yaml"
    ours = "lafufu_sb.lobes.ncsnpp.NCSNpp"
    file.write_text(file.read_text().replace(ours, "antigravity.Network"))
    hparams, text = load(init_from=str(model))
    with pytest.raises(UsageError, match="score_model is antigravity.Network in the"):
        start_from_model(hparams, text, tmp_path / "run")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_shipped_models_fit_their_recipes(tmp_path, name):
    path = RECIPE / "hparams" / f"{RECIPES[name]}.yaml"
    losses = {"score_decoded_loss": None, "output_folder": str(tmp_path / "run")}
    hparams, text = load_recipe(path, {"init_from": name} | losses)
    start_from_model(hparams, text, tmp_path / "run")
    weights = shipped_model(name) / "score_model.safetensors"
    half = {k: v.half() for k, v in hparams["score_model"].state_dict().items()}
    assert all(torch.equal(half[k], v.half()) for k, v in read_weights(weights).items())
