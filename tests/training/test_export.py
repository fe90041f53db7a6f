"""The model folder holds the run's averaged weights and its numbers."""

import pytest
import torch
from ruamel.yaml import YAML

from lafufu_sb import EnhanceLatent
from lafufu_sb.inference.weights import read_weights
from lafufu_sb.training.export import export_run
from lafufu_sb.training.recipe import load_recipe
from lafufu_sb.training.stages import Stage, load_parts


def test_exported_model_equals_the_restorer_of_the_run(tiny_run, tiny_model):
    hparams, _ = load_recipe(tiny_run / "recipe.yaml")
    load_parts(hparams, tiny_run)
    assert Stage("score", hparams).load_best()  # the decoder's too
    wav = torch.randn(1, 30000, generator=torch.Generator().manual_seed(0))
    model = EnhanceLatent.from_hparams(source=tiny_model)
    assert torch.equal(model.enhance_batch(wav), hparams["restorer"].restore(wav))


def test_yaml_keeps_the_numbers_of_the_run_and_runs_no_code(tiny_run, tiny_model):
    text = (tiny_model / "hyperparams.yaml").read_text()
    assert "!apply" not in text and "data_folder" not in text
    exported, used = YAML().load(text), YAML().load(tiny_run / "recipe.yaml")
    for key in ("sample_rate", "spectrogram", "process"):
        assert exported[key] == used[key]
    for key, name in (
        ("representation", "channels"),
        ("score_model", "base_channels"),
    ):
        assert exported[key][name] == used[key][name]
    assert exported["restorer"]["preset"] == used["restorer"]["preset"]
    assert exported["bridge_presets"] == used["bridge_presets"]


def test_presets_travel_into_the_model(tiny_model):
    restorer = EnhanceLatent.from_hparams(source=tiny_model).restorer
    assert list(restorer.presets) == ["fast", "balanced", "paper"]
    assert restorer.describe() == "preset balanced, 1 call, 2 phase averages"


def test_half_precision_halves_the_files_and_changes_little(tiny_run, tmp_path):
    export_run(tiny_run, tmp_path / "full")
    export_run(tiny_run, tmp_path / "half", half=True)
    state = read_weights(tmp_path / "half" / "score_model.safetensors")
    assert {weight.dtype for weight in state.values()} == {torch.float16}
    wav = torch.randn(1, 20000, generator=torch.Generator().manual_seed(0))
    outs = []
    for name in ("full", "half"):
        model = EnhanceLatent.from_hparams(source=tmp_path / name, precision="fp32")
        outs.append(model.enhance_batch(wav))
    assert (outs[0] - outs[1]).norm() < 1e-2 * outs[0].norm()


def test_second_export_replaces_the_first_and_keeps_its_card(tiny_run, tmp_path):
    export_run(tiny_run, tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("card")
    export_run(tiny_run, tmp_path / "model")
    assert (tmp_path / "model" / "README.md").read_text() == "card"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_foreign_folders_are_left_alone(tiny_run, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not a model folder"):
        export_run(tiny_run, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"


def test_run_folder_is_never_overwritten_by_an_export(tiny_run):
    before = sorted(tiny_run.rglob("*"))
    with pytest.raises(FileExistsError, match="not a model folder"):
        export_run(tiny_run, tiny_run)
    assert sorted(tiny_run.rglob("*")) == before


def test_run_folder_as_a_model_says_what_to_do(tiny_run):
    with pytest.raises(FileNotFoundError, match="`lafufu export` it first"):
        EnhanceLatent.from_hparams(source=tiny_run)


def test_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        export_run(tmp_path, tmp_path / "model")
    assert not (tmp_path / "model").exists()
