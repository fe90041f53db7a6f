"""Cost and memory of training a recipe."""

import pytest
import torch

import recipes

BASE = "lafufu_mini_pre_enhancer_wham"  # something to train in each stage


@pytest.fixture
def tiny(tmp_path):
    from runs import write_tiny_recipe

    path = write_tiny_recipe(tmp_path / "tiny.yaml", tmp_path / "run", base=BASE)
    return recipes.load_recipe(path)[0]


@pytest.mark.parametrize("stage", recipes.STAGES)
def test_a_step_keeps_more_for_more_items_and_for_more_precision(tiny, stage):
    kept = {
        (batch, precision): recipes.kept_bytes(tiny, stage, batch, precision)
        for batch in (1, 2, 3)
        for precision in recipes.PRECISIONS
    }
    one, two, three = (kept[n, "fp32"] for n in (1, 2, 3))
    assert 0 < one < two
    assert three - two == pytest.approx(two - one, rel=0.01)
    assert kept[2, "bf16"] < two


@pytest.mark.parametrize("stage", recipes.STAGES)
def test_the_step_trains_its_network_and_no_other(tiny, stage):
    network = recipes.trained_network(tiny, stage)
    loss = recipes.step_loss(tiny, stage, 1)
    loss.backward()
    assert loss.dim() == 0 and torch.isfinite(loss)
    assert any(p.grad is not None for p in network.parameters())
    if stage == "score":
        assert all(p.grad is None for p in tiny["autoencoder"].parameters())


def test_tables_have_a_row_a_recipe_and_stage():
    stage = {"batch": 4, "crop_frames": 64, "precision": "bf16", "fixed": 2e9}
    stage["per_item"] = {"fp32": 1e9, "bf16": 5e8}
    cost = {"autoencoder_parameters": 0, "score_parameters": 4_000_000}
    cost |= {"call_macs": 8e9, "encoder_macs": 0, "decoder_macs": 0}
    results = {
        "rows": [{"recipe": "r", "cost": cost, "stages": {"score": stage}}],
        "measured": [{"recipe": "r", "stage": "score", "batch": 4, "bytes": 7e9}],
        "run": {"command": "python x", "torch": "2", "device": "a CPU"},
    }
    text = recipes.write_tables(results)
    assert "| `r` | 0.00 | 4.00 | 8.0 | 0.0 |" in text
    assert "| `r` | score | 4 x 64 | 2.0 | 1.0 | 0.50 | 6.0 | 4.0 | 7.0, bf16 |" in text
    assert recipes.draw(results).axes[0].lines
