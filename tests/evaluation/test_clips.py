"""Rows of clips: failures are named, rows are read back as they were written."""

import math

import numpy as np
import pytest
import soundfile

from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation import clips
from lafufu_sb.evaluation.clips import (
    ClipFiles,
    measure_all,
    measure_clip,
    read_rows,
    summarise_rows,
    write_rows,
)

RATE, METRICS = 48000, ("si_sdr", "lsd")


def tone(seconds=0.5, noise=0.0, seed=0):
    samples = round(seconds * RATE)
    wave = 0.3 * np.sin(np.arange(samples) / 9)
    return wave + noise * np.random.default_rng(seed).standard_normal(samples)


@pytest.fixture
def files(tmp_path):
    """Clips "good", "silent", "absent", "broken" and "short", in this order."""
    made = []
    for name in ("good", "silent", "absent", "broken", "short"):
        paths = [tmp_path / f"{name}_{side}.wav" for side in ("noisy", "out", "clean")]
        waves = tone(noise=0.1), tone(noise=0.01), tone()
        for path, wave in zip(paths, waves, strict=True):
            soundfile.write(path, wave, RATE, subtype="FLOAT")
        made.append(ClipFiles(name, *paths, more={"rtf": 0.5}))
    soundfile.write(made[1].restored, 0 * tone(), RATE)
    made[2] = made[2]._replace(restored=None)
    made[3].restored.write_bytes(b"no recording")
    soundfile.write(made[4].restored, tone(0.4), RATE)
    return made


def test_clips_that_cannot_be_judged_are_counted_and_named(files):
    rows = measure_all(files, RATE, METRICS)
    assert [row["name"] for row in rows] == [clip.name for clip in files]
    assert rows[0]["si_sdr"] > 20 and rows[0]["before_si_sdr"] < 10
    assert rows[0]["note"] == "" and rows[0]["rtf"] == 0.5
    for row in rows[1:]:
        assert math.isnan(row["si_sdr"])
    silent, absent, broken, short = (row["note"] for row in rows[1:])
    assert silent == "restored: SI-SDR gives NaN: the estimate is silent"
    assert "no restored file" in absent
    assert "broken_out.wav" in broken
    assert "restored 0.400 s" in short and "clean 0.500 s" in short
    summary = summarise_rows(rows)
    assert summary["si_sdr"]["n"] == 1 and summary["si_sdr"]["failed"] == 4
    assert list(summary["notes"]) == ["silent", "absent", "broken", "short"]


@pytest.mark.slow
def test_processes_measure_what_one_does(files, monkeypatch):
    monkeypatch.setattr(clips, "CLIPS_PER_WORKER", 1)
    np.testing.assert_equal(
        measure_all(files, RATE, METRICS, workers=2), measure_all(files, RATE, METRICS)
    )


def test_known_metrics_of_the_distorted_side_are_not_measured_again(files):
    known = {"before_si_sdr": 123.0, "before_lsd": 7.0, "rtf": 0.5}
    (row,) = measure_all([files[0]._replace(more=known)], RATE, METRICS)
    assert (row["before_si_sdr"], row["before_lsd"]) == (123.0, 7.0)
    assert 20 < row["si_sdr"] < 100


def test_without_a_distorted_side_there_are_no_columns_of_it():
    signals = {"restored": tone(noise=0.01), "clean": tone()}
    row = measure_clip("a", signals, RATE, METRICS)
    assert set(row) == {"name", "seconds", "si_sdr", "lsd", "note"}


def test_rows_and_summary_read_back(files, tmp_path):
    rows = measure_all(files[:3], RATE, METRICS)
    write_rows(tmp_path / "result", rows)
    again = read_rows(tmp_path / "result")
    np.testing.assert_equal(
        [{k: v for k, v in row.items() if k in rows[0]} for row in again][0], rows[0]
    )
    np.testing.assert_equal(summarise_rows(again), summarise_rows(rows))
    assert (tmp_path / "result" / "summary.json").is_file()


def test_rows_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no clips.csv: `lafufu evaluate`"):
        read_rows(tmp_path)
    (tmp_path / "clips.csv").write_text("name,pesq\na,high\n")
    with pytest.raises(UsageError, match="clips.csv, clip a: .*'high'"):
        read_rows(tmp_path)
