"""The demo: everything a new user sees, with the shipped models."""

import pytest
import soundfile

from lafufu_sb.cli.demo import run_demo
from lafufu_sb.inference.shipped import TASKS, models_folder, shipped_model


@pytest.mark.slow
def test_demo_writes_wavs_and_pictures_and_shows_the_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = []
    rows = run_demo("out", log=lines.append)
    assert len(rows) == 4
    for row in rows:
        name = row["name"]
        sides = [f"out/{name}_{s}.wav" for s in ("distorted", "restored", "clean")]
        infos = [soundfile.info(tmp_path / side) for side in sides]
        assert {info.samplerate for info in infos} == {48000}
        assert len({info.frames for info in infos}) == 1
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 20_000
        assert row["rtf"] > 0
    table = "\n".join(lines)
    for word in ("SI-SDR", "PESQ", "ESTOI", "DNSMOS", "RTF", str(tmp_path / "out")):
        assert word in table


@pytest.mark.parametrize("task", TASKS)
def test_shipped_models_have_a_card_and_run_no_code(task):
    folder = shipped_model(task)
    assert folder.parent == models_folder()
    card = (folder / "README.md").read_text()
    assert "license: cc-by-nc-sa-4.0" in card and "RAVDESS" in card
    yaml = (folder / "hyperparams.yaml").read_text()
    assert "!apply" not in yaml and "python/object" not in yaml
    weights = list(folder.glob("*.ckpt"))
    assert sum(path.stat().st_size for path in weights) < 30e6


def test_unknown_model_lists_those_there_are():
    with pytest.raises(ValueError, match="wham, reverb, lafufu_mini"):
        shipped_model("magic")
