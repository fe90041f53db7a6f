"""Loading a model: folders, the Hub, and what is refused."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from speechbrain.utils.fetching import FetchConfig, FetchFrom, FetchSource

from lafufu_sb import EnhanceLatent
from lafufu_sb.errors import UsageError
from lafufu_sb.inference import opening


@pytest.mark.parametrize("source", ["./no/model", "/no/model", "tests/nothing", "a"])
def test_missing_folder_is_an_error_and_no_download(source):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        EnhanceLatent.from_hparams(source=source)


def test_folder_without_yaml_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no hyperparams.yaml"):
        EnhanceLatent.from_hparams(source=tmp_path)


STEM = "encoder.stem.weight"


def broken(model_folder, tmp_path, change):
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    change(folder)
    return folder


def test_wrong_sample_rate_in_the_folder_is_refused(tiny_model, tmp_path):
    def change(folder):
        yaml = folder / "hyperparams.yaml"
        text = yaml.read_text().replace(
            "  sample_rate: !ref <sample_rate>", "  sample_rate: 16000"
        )
        yaml.write_text(text)

    with pytest.raises(UsageError, match="sample_rate 48000.*16000"):
        EnhanceLatent.from_hparams(source=broken(tiny_model, tmp_path, change))


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda state: state.pop(STEM), f"missing {STEM}"),
        (lambda state: state.update(x=torch.ones(1)), "unexpected x"),
        (
            lambda state: state.update({STEM: torch.ones(1)}),
            rf"{STEM} is \(1,\) instead",
        ),
        (lambda state: state[STEM].add_(1), "not those that the score model"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tiny_model, tmp_path, edit, message):
    def change(folder):
        state = load_file(folder / "representation.safetensors")
        edit(state)
        save_file(state, folder / "representation.safetensors")

    with pytest.raises(UsageError, match=message):
        EnhanceLatent.from_hparams(source=broken(tiny_model, tmp_path, change))


def test_nothing_is_linked_into_the_working_directory(
    tiny_model, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    EnhanceLatent.from_hparams(source=tiny_model)
    assert not list(tmp_path.iterdir())


def test_folder_is_found_as_a_fetch_source_too(tiny_model, tmp_path):
    local = FetchSource(FetchFrom.LOCAL, str(tiny_model))
    assert EnhanceLatent.from_hparams(source=local).sample_rate == 48000
    nowhere = FetchSource(FetchFrom.LOCAL, str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        EnhanceLatent.from_hparams(source=nowhere)


@pytest.fixture
def hub(tiny_model, monkeypatch):
    """The Hub, which has the tiny model as lab/tiny; gives what was asked of it."""
    from speechbrain.utils import fetching

    asked = []

    def download(**arguments):
        asked.append(arguments)
        return str(tiny_model / arguments["filename"])

    monkeypatch.setattr(fetching.huggingface_hub, "hf_hub_download", download)
    assert opening.fetch is fetching.fetch
    return asked


FILES = {"hyperparams.yaml", "representation.safetensors", "score_model.safetensors"}


def test_hub_id_revision_and_token_reach_the_hub(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = FetchConfig(revision="v2", token=True)
    model = EnhanceLatent.from_hparams(source="lab/tiny", fetch_config=config)
    assert model.enhance_batch(torch.zeros(480)).shape == (480,)
    assert {call["filename"] for call in hub} == FILES
    for call in hub:
        asked = call["repo_id"], call["revision"], call["token"]
        assert asked == ("lab/tiny", "v2", True)
        assert call["local_files_only"] is False
    assert not list(tmp_path.iterdir())


def test_offline_mode_asks_the_cache_alone(hub):
    config = FetchConfig(allow_network=False)
    EnhanceLatent.from_hparams(source="lab/tiny", fetch_config=config)
    assert hub and all(call["local_files_only"] for call in hub)


def test_download_only_loads_nothing(hub, tmp_path):
    options = {"download_only": True, "savedir": tmp_path / "model"}
    assert EnhanceLatent.from_hparams(source="lab/tiny", **options) is None
    assert {p.name for p in (tmp_path / "model").iterdir()} == FILES


def test_overrides_are_those_of_speechbrain(tiny_model):
    overrides = {"restorer": {"windows_per_batch": 3}}
    model = EnhanceLatent.from_hparams(source=tiny_model, overrides=overrides)
    assert model.settings.windows_per_batch == 3


def with_line(model_folder, tmp_path, line):
    def change(folder):
        with open(folder / "hyperparams.yaml", "a") as file:
            file.write(f"\n{line}\n")

    return broken(model_folder, tmp_path, change)


def test_yaml_that_runs_programs_is_refused_unless_trusted(tiny_model, tmp_path):
    mark = tmp_path / "mark"
    line = f"extra: !apply:pathlib.Path.touch [!new:pathlib.Path [{mark}]]"
    folder = with_line(tiny_model, tmp_path, line)
    with pytest.raises(UsageError, match="hyperparams.yaml asks for !apply:pathlib"):
        EnhanceLatent.from_hparams(source=folder)
    assert not mark.exists()
    EnhanceLatent.from_hparams(source=folder, trust=True)
    assert mark.exists()


def test_yaml_of_the_hub_is_checked_too(tiny_model, tmp_path, monkeypatch):
    from speechbrain.utils import fetching

    folder = with_line(tiny_model, tmp_path, "extra: !name:os.system")

    def download(filename, **_):
        return str(folder / filename)

    monkeypatch.setattr(fetching.huggingface_hub, "hf_hub_download", download)
    with pytest.raises(UsageError, match="asks for !name:os.system"):
        EnhanceLatent.from_hparams(source="lab/evil")


def test_older_yaml_in_savedir_is_the_one_that_is_checked(tiny_model, tmp_path):
    folder = with_line(tiny_model, tmp_path, "extra: !name:os.system")
    with pytest.raises(UsageError, match="asks for !name:os.system"):
        EnhanceLatent.from_hparams(source=tiny_model, savedir=folder)


def test_savedir_of_another_model_gives_a_warning(tiny_model, tmp_path, caplog):
    other = broken(tiny_model, tmp_path, lambda folder: None)
    savedir = tmp_path / "saved"
    for source in (tiny_model, tiny_model):
        EnhanceLatent.from_hparams(source=source, savedir=savedir)
    assert "its own savedir" not in caplog.text
    EnhanceLatent.from_hparams(source=other, savedir=savedir)
    assert f"holds the model of {tiny_model.resolve()}" in caplog.text


def test_weights_that_contain_code_are_refused(tiny_model, tmp_path):
    mark = tmp_path / "mark"

    class Evil:
        def __reduce__(self):
            return type(mark).touch, (mark,)

    def change(folder):
        (folder / "score_model.safetensors").unlink()
        torch.save({"stem.weight": Evil()}, folder / "score_model.ckpt")

    folder = broken(tiny_model, tmp_path, change)
    with pytest.raises(UsageError, match="score_model.ckpt is not a file of weights"):
        EnhanceLatent.from_hparams(source=folder)
    assert not mark.exists()


def test_folder_without_a_fingerprint_loads_with_a_warning(
    tiny_model, tmp_path, caplog
):
    def change(folder):
        path = folder / "hyperparams.yaml"
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if "representation_fingerprint" not in line]
        assert len(kept) == len(lines) - 1
        path.write_text("".join(kept))

    EnhanceLatent.from_hparams(source=broken(tiny_model, tmp_path, change))
    assert "has no representation_fingerprint" in caplog.text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("modules:", "module:"),
        ("sample_rate: 48000", "sampling_rate: 48000"),
        ("!ref <process>", "!ref <sde>"),
        ("channels: 8", "channels: eight"),
        ("  k: 2.6", "  kay: 2.6"),
        ("preset: balanced", "preset: best"),
    ],
)
def test_yaml_of_no_model_is_refused_by_its_name(tiny_model, tmp_path, old, new):
    def change(folder):
        path = folder / "hyperparams.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    folder = broken(tiny_model, tmp_path, change)
    expected = rf"hyperparams\.yaml of {folder} does not describe|no preset 'best'"
    with pytest.raises(UsageError, match=expected):
        EnhanceLatent.from_hparams(source=folder)


@pytest.mark.parametrize("text", ["", "- a list", "a word"])
def test_yaml_that_is_no_mapping_is_refused_by_its_name(tiny_model, tmp_path, text):
    def change(folder):
        (folder / "hyperparams.yaml").write_text(text)

    folder = broken(tiny_model, tmp_path, change)
    with pytest.raises(UsageError, match=r"hyperparams\.yaml of .* does not describe"):
        EnhanceLatent.from_hparams(source=folder)
