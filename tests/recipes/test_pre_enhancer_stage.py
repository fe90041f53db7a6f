"""A recipe with a pre-enhancer trains it first and exports it with the other parts."""

import pytest
import torch
from runs import train, write_tiny_recipe

from lafufu_sb import EnhanceLatent
from lafufu_sb.inference.weights import read_weights


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run folder of a tiny model with a pre-enhancer."""
    run = tmp_path_factory.mktemp("pre_enhancer") / "run"
    base = "lafufu_mini_pre_enhancer_wham"
    process = train(write_tiny_recipe(f"{run}.yaml", run, base=base))
    assert process.returncode == 0, process.stderr[-3000:]
    return run


def test_later_stages_leave_the_pre_enhancer_unchanged(run):
    assert "PreEnhancerBrain" in (run / "train_log.txt").read_text()
    own, exported = (
        read_weights(folder / "pre_enhancer.safetensors")
        for folder in (run, run / "model")
    )
    assert own.keys() == exported.keys() and len(own) > 10
    assert all(torch.equal(own[name], exported[name]) for name in own)


def test_the_exported_model_restores_what_the_pre_enhancer_enhanced(run):
    restorer = EnhanceLatent.from_hparams(source=run / "model").restorer
    assert restorer.conditioning.needed == ("enhanced",)
    wav = torch.randn(1, 9000, generator=torch.Generator().manual_seed(0))
    restored = restorer.restore(wav)
    with torch.no_grad():
        for parameter in restorer.pre_enhancer.parameters():
            parameter.zero_()
    restorer.prepare()
    assert not torch.equal(restored, restorer.restore(wav))
