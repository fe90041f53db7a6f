"""The memory benchmark as it is run, on seconds of audio."""

import json
import sys

import pytest
import soundfile

import memory
from memory import draw, write_noise, write_table


@pytest.mark.parametrize("minutes", [0.01, 0.5])
def test_recording_has_the_length_asked_for(tmp_path, minutes):
    path = tmp_path / "noise.flac"
    write_noise(path, minutes)
    info = soundfile.info(path)
    assert (info.frames, info.samplerate) == (round(minutes * 60 * 48000), 48000)
    assert abs(soundfile.read(path)[0]).mean() > 0.05


def test_each_length_is_restored_by_a_process_of_its_own(tmp_path, monkeypatch):
    stem = tmp_path / "memory"
    document = tmp_path / "performance.md"
    document.write_text("<!-- memory: begin -->\n<!-- memory: end -->\n")
    asked = ["--minutes", "0.02", "--threads", "1", "-o", str(stem)]
    command = ["benchmarks/memory.py", *asked, "--document", str(document)]
    monkeypatch.setattr(sys, "argv", command)
    memory.main()
    (row,) = json.loads(stem.with_name("memory.json").read_text())["rows"]
    assert row["bytes"] > row["loaded"] > 100e6
    assert "| 0.02 |" in document.read_text()
    assert stem.with_name("memory.png").stat().st_size > 1000


ROWS = [
    {"minutes": 1, "bytes": 700e6, "loaded": 600e6, "seconds": 30},
    {"minutes": 5, "bytes": 900e6, "loaded": 600e6, "seconds": 90},
]
RUN = {"model": "wham", "device": "P", "threads": 1, "torch": "2", "command": "python"}


def test_table_tells_growth_and_real_time_factor():
    text = write_table({"run": RUN, "rows": ROWS})
    assert "| 1 | 700 | 600 | 0.50 |" in text
    assert "50.0 MB a minute" in text
    assert "a minute" not in write_table({"run": RUN, "rows": ROWS[:1]})


def test_plot_shows_peak_against_minutes():
    peak = draw({"run": RUN, "rows": ROWS}).axes[0].lines[0]
    assert list(peak.get_xdata()) == [1, 5]
    assert list(peak.get_ydata()) == [700, 900]
