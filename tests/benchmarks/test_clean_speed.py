"""The benchmark of cleaning: its corpus and its table."""

import pytest
import soundfile

import clean_speed


def test_corpus_has_the_requested_length_and_one_long_file(tmp_path):
    seconds = clean_speed.make_corpus(tmp_path, 0.5)
    lengths = sorted(soundfile.info(p).duration for p in tmp_path.rglob("*.wav"))
    assert seconds == pytest.approx(30.0, abs=1.0)
    assert sum(lengths) == pytest.approx(seconds, abs=0.01)
    assert lengths[0] >= 1.0 and 6.0 in [round(length, 2) for length in lengths]


def test_table_names_the_command_and_each_mode():
    run = {"device": "A CPU", "torch": "2", "load_average": 0.5, "command": "python x"}
    ways = {
        "here": {"seconds": 50.0, "steady": 3.0, "computing": 0.9},
        "Ray": {"seconds": 200.0, "steady": 2.0, "computing": None},
    }
    results = {"run": run, "threads": 1, "seconds": 100.0, "files": 4, "ways": ways}
    results |= {"plan": {"files": 10, "seconds": 0.02, "bytes": 5000}, "row_bytes": 500}
    text = clean_speed.table(results)
    assert "    python x\n" in text
    assert "| here | 2.00 | 3.00 | 90 % |" in text
    assert "2.00 ms and 0.5 kB a file; a row of the journal: 500 bytes" in text
    assert "| Ray | 0.500 | 2.00 |  |" in text


def test_a_plan_is_measured_on_real_files(tmp_path):
    plan = clean_speed.measure_plan(tmp_path, 5)
    assert plan["files"] == 5 and plan["seconds"] > 0 and plan["bytes"] > 0
