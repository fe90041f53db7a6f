"""The speed benchmark as it is run, at the size of a test."""

import json
import sys

import pytest
import torch

import rtf
from lafufu_sb.errors import UsageError
from rtf import Benchmark, parse_arguments

PARTS = {"encoder": 0.0, "call": 1.0, "decoder": 0.0, "rest": 0.0}


@pytest.fixture
def options(tmp_path):
    arguments = ["--window-frames", "64", "--rounds", "2", "--max-batch", "8"]
    return parse_arguments([*arguments, "-o", str(tmp_path / "rtf")])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No search for the peak and no restoration."""
    monkeypatch.setattr(rtf.timing, "measure_peak", lambda device, precision: 1e12)
    monkeypatch.setattr(rtf.timing, "warm_up", lambda restorer, batch=1: None)
    monkeypatch.setattr(rtf.timing, "time_parts", lambda restorer, batch=1: PARTS)


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["benchmarks/rtf.py", *map(str, arguments)])
    rtf.main()


def test_one_run_measures_everything_of_a_shipped_model(tmp_path, monkeypatch, capsys):
    monkeypatch.undo()  # the real measurements
    monkeypatch.setattr(rtf.timing, "measure_peak", lambda device, precision: 1e12)
    alone = {"bytes": 5e8, "empty_process": 1e8}
    monkeypatch.setattr(rtf, "run_alone", lambda *arguments: alone)
    small = ["--window-frames", 32, "--max-batch", 1, "--rounds", 1, "--threads", 1]
    asked = ["--systems", "denoise_small", "--precision", "bf16", "--end-to-end", 1]
    call(monkeypatch, *asked, *small, "-o", tmp_path / "folder" / "a")
    results = json.loads((tmp_path / "folder" / "a.json").read_text())
    (contender,) = results["contenders"]
    assert contender["cost"]["score_parameters"] > 1e6
    assert all(contender["latency"][0][part] > 0 for part in PARTS)
    assert [row["batch"] for row in contender["throughput"]] == [1]
    assert contender["end_to_end"][0]["calls"] == 1
    assert contender["memory"] == [alone | {"run": 0}]
    (run,) = results["runs"]
    assert run["peak"] == {"bf16": 1e12}
    assert run["window_seconds"] == pytest.approx(31 * 384 / 48000)
    assert "--systems denoise_small" in run["command"]
    assert (tmp_path / "folder" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "folder" / "a.md").read_text() == capsys.readouterr().out


def test_the_process_for_memory_prints_its_peak(monkeypatch, capsys):
    monkeypatch.setattr(rtf.timing, "measure_memory", lambda restorer: 5e8)
    call(monkeypatch, "--alone", "denoise_small", "bf16", "--window-frames", 32)
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == 5e8 and found["empty_process"] > 0


def test_files_of_slices_become_one_report_in_the_document(tmp_path, monkeypatch):
    small = ["--rounds", 1, "--systems", "denoise_small", "--measure", "latency"]
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, precision in zip(files, ("fp32", "bf16"), strict=True):
        stem = file.with_suffix("")
        call(monkeypatch, *small, "--precision", precision, "-o", stem)
    document = tmp_path / "performance.md"
    document.write_text("<!-- both: begin -->\n<!-- both: end -->\n")
    both = tmp_path / "both"
    call(monkeypatch, "--merge", *files, "-o", both, "--document", document)
    text = document.read_text()
    assert "| fp32 |" in text and "| bf16 |" in text
    assert text.count("    python benchmarks/rtf.py") == 2


def test_contenders_are_timed_in_turn(options, tiny_sgmse, monkeypatch):
    order = []
    monkeypatch.setattr(
        rtf.timing, "time_parts", lambda made: order.append(id(made)) or PARTS
    )
    options.measure = ["latency"]
    Benchmark(options, [tiny_sgmse]).measure()
    assert len(set(order[:3])) == 3 and order[:3] == order[3:]


def test_published_way_is_measured_of_sgmse_alone(options, tiny_sgmse, mini):
    benchmark = Benchmark(options, [tiny_sgmse, mini])
    ways = [(c.system.key, c.way) for c in benchmark.contenders]
    assert ("sgmse8", "published") in ways
    assert [way for key, way in ways if key == mini.key] == ["fp32", "bf16"]
    options.precision = ["published"]
    with pytest.raises(UsageError, match="only SGMSE"):
        Benchmark(options, [mini])


@pytest.mark.parametrize(
    "seconds, tried",
    [
        ({1: 1, 2: 1.5, 4: 3.5, 8: 1}, [1, 2, 4]),  # four are slower a window than two
        ({1: 1, 2: 1.5, 4: None}, [1, 2]),  # out of memory
        ({1: 1, 2: 1, 4: 1, 8: 1}, [1, 2, 4, 8]),  # as many as allowed
    ],
)
def test_search_for_the_best_batch_ends(options, mini, monkeypatch, seconds, tried):
    def time_parts(restorer, batch):
        if seconds[batch] is None:
            raise torch.OutOfMemoryError
        return PARTS | {"call": seconds[batch]}

    monkeypatch.setattr(rtf.timing, "time_parts", time_parts)
    options.measure, options.precision, options.rounds = ["throughput"], ["fp32"], 1
    (contender,) = Benchmark(options, [mini]).measure()["contenders"]
    assert [row["batch"] for row in contender["throughput"]] == tried


def test_no_round_begins_that_would_pass_the_time_limit(options, mini):
    options.measure, options.deadline = ["latency"], 0.0
    contenders = Benchmark(options, [mini]).measure()["contenders"]
    assert [len(contender["latency"]) for contender in contenders] == [1, 1]


def test_measurements_stay_when_a_run_is_stopped(options, mini, monkeypatch):
    rows = iter([PARTS, PARTS])
    monkeypatch.setattr(rtf.timing, "time_parts", lambda restorer: next(rows))
    options.measure = ["latency"]
    with pytest.raises(RuntimeError, match="StopIteration"):
        Benchmark(options, [mini]).measure()
    kept = json.loads(options.output.with_name("rtf.json").read_text())
    assert [len(c["latency"]) for c in kept["contenders"]] == [1, 1]


def test_quick_is_small_and_lets_systems_be_chosen():
    quick = parse_arguments(["--quick"])
    assert quick.rounds == 1 and set(quick.measure) == {"cost", "peak", "latency"}
    assert "sgmse128" not in quick.systems
    chosen = parse_arguments(["--quick", "--systems", "sgmse128"])
    assert chosen.systems == ["sgmse128"]
