"""What a recipe is refused for before anything is trained."""

import pytest
import torch
from runs import RECIPE, write_tiny_recipe

from lafufu_sb.errors import UsageError
from lafufu_sb.training.cost import step_cost, warn_of_cost
from lafufu_sb.training.losses import SpectrogramLoss
from lafufu_sb.training.recipe import load_recipe
from lafufu_sb.training.settings import check_settings


@pytest.fixture
def recipe(tmp_path):
    """Objects of a tiny recipe whose run folder is ``tmp_path / "run"``."""

    def load(base="lafufu_mini_wham", **overrides):
        path = write_tiny_recipe(tmp_path / "tiny.yaml", tmp_path / "run", base=base)
        return load_recipe(path, overrides)[0]

    return load


def test_a_decoded_loss_on_scores_is_refused_and_what_fits_is_named(recipe, tmp_path):
    hparams = recipe("lafufu_mini_ouve_wham")
    check_settings(hparams, tmp_path / "run")
    hparams["score_decoded_loss"] = SpectrogramLoss()
    fits = "ScoreMatching compares the score.*to null.*objective to DataPrediction"
    with pytest.raises(UsageError, match=fits):
        check_settings(hparams, tmp_path / "run")


def test_step_cost_counts_multiplications_and_kept_activations():
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.Tanh())
    operations, memory = step_cost(layers, (2, 3, 8, 8))
    assert operations == 3 * 2 * (9 * 3 * 5) * (2 * 8 * 8)
    assert memory == 4 * 2 * 8 * 8 * (3 + 5)  # input and output of the Tanh


def test_a_cpu_is_told_what_a_full_size_recipe_costs(tmp_path, caplog):
    full, _ = load_recipe(
        RECIPE / "hparams" / "sgmse_64_wham.yaml", {"output_folder": str(tmp_path)}
    )
    warn_of_cost(full, tmp_path, "cuda")
    assert "WARNING" not in caplog.text
    warn_of_cost(full, tmp_path, "cpu")
    assert " GB a step (score)" in caplog.text
    assert "lafufu_mini_wham.yaml" in caplog.text


def test_a_cpu_is_told_nothing_of_a_mini_recipe(tmp_path, caplog):
    mini, _ = load_recipe(
        RECIPE / "hparams" / "lafufu_mini_reverb.yaml",
        {"output_folder": str(tmp_path), "score_decoded_loss": None},
    )
    warn_of_cost(mini, tmp_path, "cpu")
    assert "WARNING" not in caplog.text


def test_a_decoder_is_only_trained_where_there_is_one(recipe, tmp_path):
    hparams = recipe("sgmse_mini_wham")
    check_settings(hparams, tmp_path / "run")
    hparams["train_decoder"] = True
    with pytest.raises(UsageError, match="SpectrogramRepresentation does not have"):
        check_settings(hparams, tmp_path / "run")
