"""Killed with signal 9 at random moments, a cleaning ends as if nothing had been."""

import random

from corpora import contents, write_noise
from kills import finish, kill, whole

from lafufu_sb.cli.main import main


def test_a_killed_run_goes_on_to_the_same_bytes(tiny_model, tmp_path):
    corpus, killed = tmp_path / "corpus", tmp_path / "killed"
    for i in range(10):
        write_noise(corpus / f"{i}.wav", 1.0 + 0.3 * i, seed=i)
    options = ["-m", str(tiny_model), "--gate", "none", "--threads", "1"]
    chance, kills = random.Random(0), 0
    for _ in range(3):
        kills += kill(corpus, killed, options, chance)
        whole(killed)
    status, said = finish(corpus, killed, options)
    assert status == 0 and "10 files: 10 restored, 0 kept, 0 failed" in said
    assert main(["clean", str(corpus), "-o", str(tmp_path / "whole"), *options]) == 0
    assert contents(killed) == contents(tmp_path / "whole")
    assert kills >= 2
