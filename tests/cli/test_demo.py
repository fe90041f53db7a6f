"""The demo: everything a new user sees, with the shipped models."""

import pytest
import soundfile

from lafufu_sb.cli import demo_run as demo
from lafufu_sb.inference.shipped import NAMES, models_folder, shipped_model

# What each shipped model must gain on every embedded test clip.
GAINS = {
    "denoise": {"si_sdr": 10.0, "pesq": 0.4, "dnsmos": 0.0},
    "dereverb": {"si_sdr": 1.5, "pesq": 0.2, "estoi": 0.1, "dnsmos": 0.8},
}


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory):
    """Folder, rows and lines of one run of the demo."""
    folder, lines = tmp_path_factory.mktemp("demo"), []
    rows = demo.run_demo(folder, log=lines.append)
    return folder, rows, lines


@pytest.mark.slow
def test_demo_writes_recordings_and_spectrograms(demonstrated):
    folder, rows, _ = demonstrated
    assert len(rows) == 4
    for row in rows:
        sides = [f"{row['name']}_{s}.wav" for s in ("distorted", "restored", "clean")]
        infos = [soundfile.info(folder / side) for side in sides]
        assert {info.samplerate for info in infos} == {48000}
        assert len({info.frames for info in infos}) == 1
        assert (folder / f"{row['name']}.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_demo_shows_a_table(demonstrated):
    folder, rows, lines = demonstrated
    for word in ("SI-SDR", "PESQ", "ESTOI", "DNSMOS", "RTF"):
        assert word in lines[0]
    assert len(lines) == 6  # no metric is missing
    for row, line in zip(rows, lines[1:5], strict=True):
        assert row["name"] in line and f"→{row['si_sdr']:>6.2f}" in line
    assert lines[-1].endswith(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("task", GAINS)
def test_shipped_models_improve_the_embedded_clips(demonstrated, task):
    rows = [row for row in demonstrated[1] if row["name"].startswith(task)]
    assert len(rows) == 2
    for row in rows:
        for metric, gain in GAINS[task].items():
            assert row[metric] - row[f"before_{metric}"] > gain, (row["name"], metric)


def test_table_has_a_column_for_each_available_metric():
    row = {"name": "a", "seconds": 2.0, "before_si_sdr": 1.0, "si_sdr": 5.0, "rtf": 0.5}
    head, line = demo.table([row], ["si_sdr"])
    assert "SI-SDR" in head and "PESQ" not in head
    assert line.split() == ["a", "2.00", "1.00", "→", "5.00", "0.50"]


@pytest.mark.parametrize("task", NAMES)
def test_shipped_models_have_a_card_and_run_no_code(task):
    folder = shipped_model(task)
    assert folder.parent == models_folder()
    card = (folder / "README.md").read_text()
    assert "license: cc-by-nc-sa-4.0" in card and "RAVDESS" in card
    yaml = (folder / "hyperparams.yaml").read_text()
    assert "!apply" not in yaml and "python/object" not in yaml


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(ValueError, match="denoise, denoise_small, dereverb"):
        shipped_model("magic")
