"""The memory benchmark: its recording, its process, its table."""

import json

import pytest
import soundfile

import memory


@pytest.mark.parametrize("minutes", [0.01, 0.5])
def test_recording_has_the_requested_length(tmp_path, minutes):
    path = tmp_path / "noise.flac"
    memory.write_noise(path, minutes)
    info = soundfile.info(path)
    assert (info.frames, info.samplerate) == (round(minutes * 60 * 48000), 48000)
    assert abs(soundfile.read(path, frames=48000)[0]).mean() > 0.05


def test_a_file_is_restored_and_its_peak_printed(tmp_path, capsys):
    path = tmp_path / "noise.flac"
    memory.write_noise(path, 0.005)
    memory.main(["--alone", str(path), "--threads", "1", "--precision", "fp32"])
    row = json.loads(capsys.readouterr().out)
    assert row["bytes"] >= row["loaded"] > 100e6 and row["seconds"] > 0
    assert (tmp_path / "restored.wav").is_file()


def test_table_tells_growth_and_real_time_factor(tmp_path, monkeypatch):
    rows = iter(
        [
            {"bytes": 700e6, "loaded": 600e6, "seconds": 30},
            {"bytes": 900e6, "loaded": 600e6, "seconds": 90},
        ]
    )
    monkeypatch.setattr(memory, "run_alone", lambda *arguments: next(rows))
    monkeypatch.setattr(memory, "write_noise", lambda *arguments: None)
    arguments = ["--minutes", "1", "5", "--threads", "1"]
    memory.main([*arguments, "-o", str(tmp_path / "memory")])
    text = (tmp_path / "memory.md").read_text()
    assert "| 1 | 700 | 600 | 0.50 |" in text
    assert "50.0 MB a minute" in text
