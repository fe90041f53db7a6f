"""The same plan on Ray: the same bytes, and the same resume."""

import sys

import pytest
from corpora import contents, write_noise

from lafufu_sb.cli import main

COMMAND = ["--gate", "none", "--threads", "1"]


def test_without_ray_the_error_names_the_extra(cleaning, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "lafufu_sb\[ray\]"'):
        cleaning(corpus, "-o", tmp_path / "out", "--engine", "ray")


def test_a_single_shard_is_refused(cleaning, corpus, tmp_path):
    with pytest.raises(ValueError, match="--shard is not for --engine ray"):
        cleaning(corpus, "-o", tmp_path / "o", "--engine", "ray", "--shard", "1/2")


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
