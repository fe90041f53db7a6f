"""A recipe with a predictor trains it first and keeps it with the autoencoder."""

import shutil

import pytest
import torch
from runs import train, weights, write_tiny_recipe


@pytest.fixture(scope="module")
def predictor_run(tmp_path_factory):
    """Run folder of a tiny model with a predictor."""
    run = tmp_path_factory.mktemp("predictor") / "run"
    recipe = write_tiny_recipe(f"{run}.yaml", run, base="lafufu_mini_pre_enhancer_wham")
    process = train(recipe)
    assert process.returncode == 0, process.stderr[-3000:]
    return run


def test_predictor_stays_as_its_own_stage_left_it(predictor_run):
    assert "PredictorBrain" in (predictor_run / "train_log.txt").read_text()
    own = torch.load(predictor_run / "predictor.ckpt", weights_only=True)
    assert len(own) > 10
    for state in weights(predictor_run)[:2]:
        for name, tensor in own.items():
            assert torch.equal(state[f"predictor.{name}"], tensor), name


def test_autoencoder_without_a_predictor_is_taken_as_it_is(
    tiny_run, predictor_run, tmp_path
):
    """Latent scale and all, where stage one has no epochs."""
    given = torch.load(tiny_run / "autoencoder.ckpt", weights_only=True)
    given["latent_scale"] = torch.tensor(3.0)
    torch.save(given, tmp_path / "given.ckpt")
    (tmp_path / "run").mkdir()
    shutil.copy(predictor_run / "predictor.ckpt", tmp_path / "run")
    base = "lafufu_mini_pre_enhancer_wham"
    process = train(
        write_tiny_recipe(tmp_path / "a.yaml", tmp_path / "run", base=base),
        f"--ae_init={tmp_path / 'given.ckpt'}",
        *["--ae_epochs=0", "--stage=autoencoder"],
    )
    assert process.returncode == 0, process.stderr[-3000:]
    taken = torch.load(tmp_path / "run" / "autoencoder.ckpt", weights_only=True)
    own = torch.load(predictor_run / "predictor.ckpt", weights_only=True)
    expected = given | {f"predictor.{name}": tensor for name, tensor in own.items()}
    assert taken.keys() == expected.keys()
    assert all(torch.equal(taken[name], expected[name]) for name in taken)
