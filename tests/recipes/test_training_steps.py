"""Every recipe makes training steps in both stages, as the other options have it too.

In this process, on tiny networks: what a whole run does is in ``test_train.py``.
"""

import importlib.util

import pytest
import speechbrain as sb
import torch
from runs import RECIPE, write_tiny_recipe

from lafufu_sb.inference.weights import read_weights
from lafufu_sb.training.recipe import load_recipe, read_recipe
from lafufu_sb.training.stages import Stage, learns, trains_pre_enhancer


def distinct_recipes():
    """Names of the recipes, once those that differ in task, width or PESQ alone."""
    names = {}
    for path in sorted((RECIPE / "hparams").glob("*.yaml"), reverse=True):
        recipe = read_recipe(path)
        del recipe["output_folder"], recipe["task"]
        recipe["score_model"]["base_channels"] = 8  # as the tiny ones have
        loss = recipe["score_decoded_loss"]
        if loss and "pesq_weight" in loss:
            loss["pesq_weight"] = 1.0
        names[repr(recipe)] = path.stem
    return sorted(names.values())


RUN_OPTIONS = {"device": "cpu", "precision": "bf16", "grad_accumulation_factor": 2}


@pytest.fixture(scope="module")
def train_script():
    """The recipe's ``train.py`` as a module."""
    spec = importlib.util.spec_from_file_location("train", RECIPE / "train.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPE))
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def hparams(tmp_path, request, train_script):
    """A recipe's objects with tiny networks, the mini corpus prepared."""
    path = write_tiny_recipe(
        tmp_path / "tiny.yaml",
        tmp_path / "run",
        base=request.param,
        epochs=4,  # at the end of its schedule a learning rate is zero
        more="num_workers: 0",
    )
    hparams, _ = load_recipe(path)
    (tmp_path / "run").mkdir(exist_ok=True)
    train_script.prepare_ears("embedded", str(tmp_path / "run"), hparams["task"])
    return hparams


def weights_after_batches(brain, dataset, trained, batches=2):
    """The trained network's weights before and after each batch."""
    brain.on_fit_start()
    brain.on_stage_start(sb.Stage.TRAIN, epoch=1)
    loader = brain.make_dataloader(dataset, sb.Stage.TRAIN, batch_size=2)
    seen = [vector(trained)]
    for brain.step, batch in zip(range(1, batches + 1), loader, strict=False):
        loss = brain.fit_batch(batch)
        assert torch.isfinite(loss)
        seen.append(vector(trained))
    return seen


def vector(module):
    parameters = [p.detach().flatten() for p in module.parameters()]
    return torch.cat([torch.zeros(0), *parameters])


def assert_steps_at_the_second_batch(weights):
    before, first, second = weights
    assert torch.equal(before, first)  # accumulated
    assert not torch.equal(first, second) and torch.isfinite(second).all()


@pytest.mark.parametrize("hparams", distinct_recipes(), indirect=True)
def test_recipes_make_steps_in_bf16_over_accumulated_batches(hparams, train_script):
    representation = hparams["representation"]
    enhances = trains_pre_enhancer(hparams)
    if enhances:
        stage = Stage("pre_enhancer", hparams)
        brain, data = train_script.pre_enhancer_brain(stage, hparams, RUN_OPTIONS)
        weights = weights_after_batches(
            brain, data["train_set"], hparams["pre_enhancer"]
        )
        assert_steps_at_the_second_batch(weights)
        enhanced = vector(hparams["pre_enhancer"])
    if learns(representation):
        stage = Stage("autoencoder", hparams)
        brain, data = train_script.autoencoder_brain(stage, hparams, RUN_OPTIONS)
        weights = weights_after_batches(brain, data["train_set"], representation)
        assert_steps_at_the_second_batch(weights)
    before = vector(representation)
    stage = Stage("score", hparams)
    brain, data = train_script.score_brain(stage, hparams, RUN_OPTIONS)
    trained = torch.nn.ModuleDict(stage.modules)
    weights = weights_after_batches(brain, data["train_set"], trained)
    assert_steps_at_the_second_batch(weights)
    decoder_learns = "decoder" in trained and hparams["score_decoded_loss"] is not None
    assert torch.equal(before, vector(representation)) != decoder_learns
    if enhances:
        assert torch.equal(enhanced, vector(hparams["pre_enhancer"]))


@pytest.mark.parametrize("hparams", ["sgmse_mini_wham"], indirect=True)
def test_the_first_stage_of_sgmse_only_scales_the_spectrogram(
    hparams, train_script, tmp_path
):
    train_script.train_autoencoder(hparams, RUN_OPTIONS, tmp_path)
    state = read_weights(tmp_path / "representation.safetensors")
    assert list(state) == ["latent_scale"]
    assert 1 < float(state["latent_scale"]) < 1000  # to a deviation of one
    assert not list((tmp_path / "run" / "autoencoder").glob("CKPT*"))
