"""Several processes, spawned and killed, give the bytes of one undisturbed process."""

import multiprocessing
import pickle
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest
from corpora import contents, write_noise
from kills import check_complete, kill

from lafufu_sb.cleaning.job import clean
from lafufu_sb.cleaning.options import CleaningOptions, GateOptions
from lafufu_sb.cleaning.plan import PlannedFile
from lafufu_sb.cli.main import main
from lafufu_sb.inference.loading import ModelChoice


def options_for(corpus, output, model):
    choice = ModelChoice(str(model), settings={"seed": 3}, threads=1)
    gate = GateOptions(gate="none")
    return CleaningOptions(str(corpus), str(output), model=choice, gate=gate)


def test_what_workers_get_can_be_pickled():
    options = options_for("in", "out", "model")
    for value in (options, PlannedFile(0, "a.wav", "b.wav")):
        assert pickle.loads(pickle.dumps(value)) == value


def test_spawned_shards_give_the_bytes_of_one_process(
    untrained_model, corpus, tmp_path
):
    together = options_for(corpus, tmp_path / "together", untrained_model)
    shards = [replace(together, shard=(number, 2)) for number in (1, 2)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        counts = [len(rows) for rows in pool.map(clean, shards)]
    assert sum(counts) == 5 and min(counts) > 0
    clean(replace(together, output=str(tmp_path / "alone")))
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")
    assert (tmp_path / "together" / "cleaning_report.csv").exists()


@pytest.mark.parametrize(
    "moments", [1, pytest.param(8, marks=pytest.mark.slow)], ids=str
)
def test_a_killed_run_resumes_to_the_same_bytes(untrained_model, tmp_path, moments):
    corpus, killed = tmp_path / "corpus", tmp_path / "killed"
    for i in range(8):
        write_noise(corpus / f"{i}.wav", 1.5 + 0.3 * i, seed=i)
    options = ["-m", str(untrained_model), "--gate", "none", "--threads", "1"]
    chance, kills = random.Random(0), 0
    for _ in range(moments):
        kills += kill(corpus, killed, options, chance)
        check_complete(killed)
    assert kills >= (moments + 1) // 2
    for output in (killed, tmp_path / "whole"):
        assert main(["clean", str(corpus), "-o", str(output), *options]) == 0
    assert contents(killed) == contents(tmp_path / "whole")
    assert len(contents(killed)) == 8
