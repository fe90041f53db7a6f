"""The Ray engine gives the bytes of one process, and resumes in the same way."""

import json
import sys
from dataclasses import asdict

import pytest
from corpora import contents, small_model, write_noise

from lafufu_sb.cleaning.manifests import open_manifest
from lafufu_sb.cleaning.options import CleaningOptions, GateOptions
from lafufu_sb.cleaning.plan import make_plan
from lafufu_sb.cleaning.ray_engine import Worker
from lafufu_sb.cleaning.state import State
from lafufu_sb.cli.main import main
from lafufu_sb.errors import MissingPackageError, UsageError
from lafufu_sb.inference.loading import ModelChoice

COMMAND = ["--gate", "none", "--threads", "1"]


def test_without_ray_the_error_names_the_extra(cleaning, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r'pip install "lafufu_sb\[ray\]"'):
        cleaning(corpus, "-o", tmp_path / "out", "--engine", "ray")


def test_a_single_shard_is_refused(cleaning, corpus, tmp_path):
    with pytest.raises(UsageError, match="--shard does not go with --engine ray"):
        cleaning(corpus, "-o", tmp_path / "o", "--engine", "ray", "--shard", "1/2")


@pytest.fixture
def worker(corpus, tmp_path, monkeypatch):
    """``worker()``: an actor as Ray creates one, and a batch for it."""
    monkeypatch.setattr(ModelChoice, "load", lambda choice: small_model())
    output, gate = str(tmp_path / "out"), GateOptions(gate="none")
    State(output).open()
    files = make_plan(open_manifest(corpus), output)
    batch = {"number": [3], "files": [json.dumps(list(map(asdict, files)))]}

    def make(**more):
        return Worker(CleaningOptions(str(corpus), output, gate=gate, **more)), batch

    return make


def rows_of(result):
    return json.loads(result["rows"][0])


def test_another_actor_goes_on_where_one_was_lost(worker, tmp_path):
    first, batch = worker()
    rows = rows_of(first(batch))
    assert [row["decision"] for row in rows] == ["restored"] * 5
    lost = rows[-1]["target"]
    (tmp_path / "out" / lost).unlink()
    times = {r["target"]: (r["finished"]) for r in rows[:-1]}
    second, _ = worker()
    again = {row["target"]: row["finished"] for row in rows_of(second(batch))}
    assert len(again) == 5 and times.items() < again.items()


def test_an_actors_error_is_its_answer(worker):
    first, batch = worker()
    first(batch)
    other, _ = worker(sample_rate="model")
    answer = other(batch)
    assert (
        rows_of(answer) == [] and "was started with sample_rate" in answer["error"][0]
    )


@pytest.mark.slow
def test_two_workers_give_what_one_process_gives(untrained_model, tmp_path, capsys):
    pytest.importorskip("ray.data")
    corpus = tmp_path / "corpus"
    for i in range(6):
        write_noise(corpus / f"{i}.wav", 1.0 + 0.4 * i, seed=i)
    (corpus / "broken.wav").write_text("x")
    outputs = tmp_path / "here", tmp_path / "ray"
    command = ["clean", str(corpus), "-m", str(untrained_model), *COMMAND, "-o"]
    assert main([*command, str(outputs[0])]) == 1
    # The first half as a job array would do it, the rest on Ray.
    main([*command, str(outputs[1]), "--shard", "1/2"])
    done = contents(outputs[1])
    assert 0 < len(done) < 6
    on_ray = [*command, str(outputs[1]), "--engine", "ray", "--workers", "2"]
    assert main(on_ray) == 1
    assert contents(outputs[0]) == contents(outputs[1])
    assert "7 files: 6 restored, 0 kept, 1 failed" in capsys.readouterr().out
    assert main([*on_ray, "--seed", "1"]) == 2
    assert "was started with seed 0" in capsys.readouterr().err
