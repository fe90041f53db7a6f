"""The same plan on Ray: the same bytes, and the same resume."""

import dataclasses
import json
import sys

import pytest
from corpora import contents, small_model, write_noise

from lafufu_sb.cleaning.manifests import open_manifest
from lafufu_sb.cleaning.plan import make_plan
from lafufu_sb.cleaning.ray_engine import Worker
from lafufu_sb.cleaning.state import State
from lafufu_sb.cli.main import build_parser, main

COMMAND = ["--gate", "none", "--threads", "1"]


def test_without_ray_the_error_names_the_extra(cleaning, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "lafufu_sb\[ray\]"'):
        cleaning(corpus, "-o", tmp_path / "out", "--engine", "ray")


def test_a_single_shard_is_refused(cleaning, corpus, tmp_path):
    with pytest.raises(ValueError, match="--shard is not for --engine ray"):
        cleaning(corpus, "-o", tmp_path / "o", "--engine", "ray", "--shard", "1/2")


@pytest.fixture
def worker(corpus, tmp_path, monkeypatch):
    """``worker()``: an actor as Ray makes one, and a batch for it."""
    monkeypatch.setattr("lafufu_sb.cli.main.load_model", lambda options: small_model())
    command = ["clean", str(corpus), "-o", str(tmp_path / "out"), "--gate", "none"]
    State(tmp_path / "out").open()
    files = make_plan(open_manifest(corpus), tmp_path / "out")
    batch = {"number": [3], "files": [json.dumps(list(map(dataclasses.asdict, files)))]}

    def make(*more):
        return Worker(vars(build_parser().parse_args([*command, *more]))), batch

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
    other, _ = worker("--sample-rate", "model")
    answer = other(batch)
    assert rows_of(answer) == [] and "was begun with sample_rate" in answer["error"][0]


@pytest.mark.slow
def test_two_workers_give_what_one_process_gives(tiny_model, tmp_path, capsys):
    pytest.importorskip("ray.data")
    corpus = tmp_path / "corpus"
    for i in range(6):
        write_noise(corpus / f"{i}.wav", 1.0 + 0.4 * i, seed=i)
    (corpus / "broken.wav").write_text("x")
    outputs = tmp_path / "here", tmp_path / "ray"
    command = ["clean", str(corpus), "-m", str(tiny_model), *COMMAND, "-o"]
    assert main([*command, str(outputs[0])]) == 1
    # Half of it as a job array would do it, the rest on Ray.
    main([*command, str(outputs[1]), "--shard", "1/2"])
    done = contents(outputs[1])
    assert 0 < len(done) < 6
    on_ray = [*command, str(outputs[1]), "--engine", "ray", "--workers", "2"]
    assert main(on_ray) == 1
    assert contents(outputs[0]) == contents(outputs[1])
    assert "7 files: 6 restored, 0 kept, 1 failed" in capsys.readouterr().out
    assert main([*on_ray, "--seed", "1"]) == 2
    assert "was begun with seed 0" in capsys.readouterr().err
