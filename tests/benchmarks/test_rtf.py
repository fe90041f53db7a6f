"""The speed benchmark as it is run, at sizes of a test."""

import json
import sys

import pytest
import torch

import rtf
from lafufu_sb import EnhanceLatent, shipped_model
from rtf import Benchmark, parse_arguments

PARTS = {"encoder": 0.0, "sampler": 0.0, "decoder": 0.0, "rest": 0.0}


@pytest.fixture
def options(tmp_path):
    arguments = ["--window-frames", "64", "--rounds", "2", "--max-batch", "8"]
    return parse_arguments([*arguments, "-o", str(tmp_path / "rtf")])


@pytest.fixture(autouse=True)
def no_search_for_the_peak(monkeypatch):
    monkeypatch.setattr(rtf, "measure_peak", lambda device, precision: 1e12)


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["benchmarks/rtf.py", *map(str, arguments)])
    rtf.main()


def test_one_run_measures_everything_of_a_shipped_model(tmp_path, monkeypatch, capsys):
    stem = tmp_path / "folder" / "a"
    small = ["--window-frames", 32, "--max-batch", 2, "--rounds", 1, "--threads", 1]
    asked = ["--systems", "lafufu_mini_wham", "--precision", "bf16", "--end-to-end", 1]
    call(monkeypatch, *asked, *small, "-o", stem)
    results = json.loads((tmp_path / "folder" / "a.json").read_text())
    (contender,) = results["contenders"]
    model = EnhanceLatent.from_hparams(source=shipped_model("lafufu_mini_wham"))
    parameters = sum(p.numel() for p in model.restorer.score_model.parameters())
    assert contender["cost"]["score_parameters"] == parameters
    assert all(contender["latency"][0][part] > 0 for part in ("call", *PARTS))
    assert [row["batch"] for row in contender["throughput"]][:1] == [1]
    assert contender["end_to_end"][0]["calls"] == 1
    (memory,) = contender["memory"]
    assert memory["bytes"] > memory["empty_process"] > 0
    (run,) = results["runs"]
    assert run["peak"] == {"bf16": 1e12}
    assert run["window_seconds"] == pytest.approx(31 * 384 / 48000)
    assert "--systems lafufu_mini_wham" in run["command"]
    assert (tmp_path / "folder" / "a.png").stat().st_size > 1000
    assert (tmp_path / "folder" / "a.md").read_text() in capsys.readouterr().out + "\n"


def test_files_of_slices_become_one_report_in_the_document(tmp_path, monkeypatch):
    small = ["--window-frames", 32, "--rounds", 1, "--threads", 1]
    small += ["--systems", "lafufu_mini_wham", "--measure", "latency"]
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
    monkeypatch.setattr(rtf, "warm_up", lambda restorer: None)
    monkeypatch.setattr(
        rtf, "time_parts", lambda restorer: order.append(id(restorer)) or PARTS
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
    with pytest.raises(ValueError, match="only SGMSE"):
        Benchmark(options, [mini])


def sweep(options, system, monkeypatch, seconds):
    """Batches that the search tries if they take so long; None is too much memory."""

    def time_parts(restorer, batch):
        if seconds[batch] is None:
            raise torch.OutOfMemoryError
        return PARTS | {"call": seconds[batch]}

    monkeypatch.setattr(rtf, "warm_up", lambda restorer, batch: None)
    monkeypatch.setattr(rtf, "time_parts", time_parts)
    options.measure, options.precision, options.rounds = ["throughput"], ["fp32"], 1
    (contender,) = Benchmark(options, [system]).measure()["contenders"]
    return [row["batch"] for row in contender["throughput"]]


@pytest.mark.parametrize(
    "seconds, tried",
    [
        ({1: 1, 2: 1.5, 4: 3.5, 8: 1}, [1, 2, 4]),  # four are slower a window than two
        ({1: 1, 2: 1.5, 4: None}, [1, 2]),
        ({1: 1, 2: 1, 4: 1, 8: 1}, [1, 2, 4, 8]),  # as many as allowed
    ],
)
def test_search_for_the_best_batch_ends(options, mini, monkeypatch, seconds, tried):
    assert sweep(options, mini, monkeypatch, seconds) == tried


def test_no_round_begins_that_would_pass_the_time_limit(options, mini, monkeypatch):
    monkeypatch.setattr(rtf, "warm_up", lambda restorer: None)
    monkeypatch.setattr(rtf, "time_parts", lambda restorer: PARTS)
    options.measure, options.deadline = ["latency"], 0.0
    contenders = Benchmark(options, [mini]).measure()["contenders"]
    assert [len(contender["latency"]) for contender in contenders] == [1, 1]


def test_what_was_measured_stays_when_a_run_is_stopped(options, mini, monkeypatch):
    rows = iter([PARTS, PARTS])
    monkeypatch.setattr(rtf, "warm_up", lambda restorer: None)
    monkeypatch.setattr(rtf, "time_parts", lambda restorer: next(rows))
    options.measure = ["latency"]
    with pytest.raises(StopIteration):
        Benchmark(options, [mini]).measure()
    kept = json.loads(options.output.with_name("rtf.json").read_text())
    assert [len(c["latency"]) for c in kept["contenders"]] == [1, 1]


def test_quick_is_small_and_lets_systems_be_chosen():
    quick = parse_arguments(["--quick"])
    assert quick.rounds == 1 and set(quick.measure) == {"cost", "peak", "latency"}
    assert "sgmse128" not in quick.systems
    chosen = parse_arguments(["--quick", "--systems", "sgmse128"])
    assert chosen.systems == ["sgmse128"]
