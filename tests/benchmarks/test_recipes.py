"""Cost and memory of training a recipe."""

import json

import pytest
import torch

import recipes
from common import ROOT

BASE = "lafufu_mini_pre_enhancer_wham"  # something to train in each stage


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from runs import write_tiny_recipe

    folder = tmp_path_factory.mktemp("recipe")
    path = write_tiny_recipe(folder / "tiny.yaml", folder / "run", base=BASE)
    return recipes.load_recipe(path)[0]


@pytest.mark.parametrize("stage", recipes.STAGES)
def test_a_step_keeps_more_for_more_items_and_for_more_precision(
    tiny, stage, monkeypatch
):
    monkeypatch.setitem(tiny, "score_decoded_loss", None)  # a minute of its own
    one = recipes.kept_bytes(tiny, stage, 1, "fp32")
    two = recipes.kept_bytes(tiny, stage, 2, "fp32")
    assert 0 < recipes.kept_bytes(tiny, stage, 2, "bf16") < two
    assert one < two < 2.01 * one


@pytest.mark.parametrize("stage", recipes.STAGES)
def test_the_step_trains_its_network_and_no_other(tiny, stage):
    network = recipes.trained_network(tiny, stage)
    tiny["restorer"].zero_grad(set_to_none=True)
    loss = recipes.step_loss(tiny, stage, 1)
    loss.backward()
    assert loss.dim() == 0 and torch.isfinite(loss)
    assert any(p.grad is not None for p in network.parameters())
    if stage == "score":
        assert all(p.grad is None for p in tiny["representation"].parameters())


def test_the_documented_tables_are_those_of_the_documented_measurements():
    results = json.loads((ROOT / "docs/benchmarks/recipes.json").read_text())
    documented = (ROOT / "docs/benchmarks/recipes.md").read_text()
    assert recipes.write_tables(results) + "\n" == documented
