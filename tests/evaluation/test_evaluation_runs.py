"""Test sets, runs over them, and recordings that something else restored."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from lafufu_sb import EnhanceLatent
from lafufu_sb.cli.main import main
from lafufu_sb.corpora.manifests import write_manifest
from lafufu_sb.evaluation.clips import read_rows
from lafufu_sb.evaluation.runs import (
    describe_pairs,
    find_pairs,
    match_restored,
    run_system,
)
from lafufu_sb.evaluation.timing import PartTimes

RATE = 48000


def write(path, seed=0, seconds=0.4):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    soundfile.write(path, 0.1 * noise, RATE)
    return path


@pytest.fixture
def corpus(tmp_path):
    """Three clips named as EARS-Reverb names them."""
    subset = tmp_path / "EARS-Reverb" / "test"
    for i in range(3):
        clean = f"clean/p10{i}/{i:05}.wav"
        write(subset / "reverberant" / f"p10{i}" / f"{i:05}_0.{i + 3}1.wav", seed=i)
        write(subset / clean, seed=i + 1)
    return tmp_path / "EARS-Reverb"


@pytest.mark.parametrize("inner", [".", "test"])
def test_a_corpus_or_its_test_folder_gives_the_clips(corpus, inner):
    pairs = find_pairs(corpus / inner)
    assert [pair[0] for pair in pairs] == ["p100/00000", "p101/00001", "p102/00002"]
    facts = {"task": "dereverberation", "corpus": "EARS-Reverb", "clips": 3}
    assert describe_pairs(pairs) == facts


def test_a_manifest_gives_the_same_clips(corpus, tmp_path):
    write_manifest(corpus / "test", tmp_path / "test.json")
    assert find_pairs(tmp_path / "test.json") == find_pairs(corpus)


def test_a_limit_spreads_over_all(corpus):
    assert [pair[0] for pair in find_pairs(corpus, 2)] == ["p100/00000", "p101/00001"]
    assert len(find_pairs(corpus, 99)) == 3


@pytest.mark.parametrize(
    "folder, task, corpus",
    [
        ("EARS-WHAM/test/noisy/p102", "denoising", "EARS-WHAM"),
        ("EARS-WHAM/test/clean/p102", "denoising", "EARS-WHAM"),
        ("EARS-Reverb_v2/test/clean", "dereverberation", "EARS-Reverb_v2"),
        ("mine/noisy", "denoising", "mine"),
        ("mine/clean", "restoration", "mine"),
    ],
)
def test_task_and_corpus_are_read_off_the_folders(folder, task, corpus):
    facts = describe_pairs([("a", Path(folder) / "a.wav", None)])
    assert (facts["task"], facts["corpus"]) == (task, corpus)


def halve(distorted, clean_path):
    """A system that fails on one clip."""
    if "00001" in str(clean_path):
        raise RuntimeError("out of memory")
    return distorted / 2, {"rtf": 0.25}


@pytest.mark.parametrize("keep_audio", [False, True])
def test_a_clip_that_a_system_fails_on_is_named(corpus, tmp_path, keep_audio):
    run_system(
        halve,
        find_pairs(corpus),
        tmp_path / "result",
        sample_rate=RATE,
        metrics=["si_sdr", "lsd"],
        workers=1,
        keep_audio=keep_audio,
    )
    rows = read_rows(tmp_path / "result")
    assert [np.isnan(row["si_sdr"]) for row in rows] == [False, True, False]
    assert rows[1]["note"] == "RuntimeError: out of memory"
    assert rows[0]["si_sdr"] == pytest.approx(rows[0]["before_si_sdr"], abs=1e-4)
    assert rows[0]["rtf"] == 0.25
    kept = [p.name for p in (tmp_path / "result").rglob("*.wav")]
    assert sorted(kept) == (["00000.wav", "00002.wav"] if keep_audio else [])


def test_parts_are_timed_and_the_restoration_is_the_same(tiny_model):
    model = EnhanceLatent.from_hparams(tiny_model, run_opts={"device": "cpu"})
    wav = torch.randn(1, 20000, generator=torch.Generator().manual_seed(0))
    plain = model.enhance_batch(wav)
    with PartTimes(model.restorer) as times:
        timed = model.enhance_batch(wav)
    assert torch.equal(plain, timed)
    assert torch.equal(plain, model.enhance_batch(wav))
    factors = times.factors(2.0)
    parts = [factors[f"rtf_{part}"] for part in ("encoder", "sampler", "decoder")]
    assert min(parts) > 0 and sum(parts) < factors["rtf"]
    assert factors["rtf"] == times.seconds["total"] / 2.0
    before = dict(times.seconds)
    model.enhance_batch(wav)
    assert dict(times.seconds) == before  # nothing is timed outside


def test_evaluate_measures_seeds_of_a_model(tiny_model, corpus, tmp_path, capsys):
    arguments = ["evaluate", "-m", str(tiny_model), "-d", str(corpus), "--seeds", "2"]
    arguments += ["--metrics", "si_sdr", "--jobs", "1", "-o", str(tmp_path / "out")]
    assert main([*arguments, "--preset", "paper", "--num-steps", "2"]) == 0
    out = capsys.readouterr().out
    assert "si_sdr" in out and "rtf_decoder" in out
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert result["task"] == "dereverberation" and result["calls"] == 2
    assert result["system"] == "run"  # its recipe's folder
    assert [run["seed"] for run in result["runs"]] == [0, 1]
    first, second = (read_rows(tmp_path / "out" / f"run{i}") for i in (1, 2))
    assert first[0]["si_sdr"] != second[0]["si_sdr"]  # the sampler's noise
    assert first[0]["before_si_sdr"] == second[0]["before_si_sdr"]


def test_restored_recordings_are_matched_by_id(corpus, tmp_path):
    for i in (0, 2):
        write(tmp_path / "net" / f"p10{i}" / f"{i:05}_0.{i + 3}1_out.wav")
    clean, distorted = (corpus / "test" / side for side in ("clean", "reverberant"))
    clips = match_restored(tmp_path / "net", clean, distorted)
    assert [clip.restored and clip.restored.name for clip in clips] == [
        "00000_0.31_out.wav",
        None,
        "00002_0.51_out.wav",
    ]
    assert [clip.distorted.name for clip in clips] == [
        "00000_0.31.wav",
        "00001_0.41.wav",
        "00002_0.51.wav",
    ]


def test_evaluate_measures_restored_recordings(corpus, tmp_path, capsys):
    for i in (0, 2):
        write(tmp_path / "net" / f"p10{i}" / f"{i:05}_0.{i + 3}1.wav", seed=i)
    arguments = ["evaluate", "--restored", tmp_path / "net"]
    arguments += ["--clean", corpus / "test" / "clean", "-o", tmp_path / "out"]
    arguments += ["--metrics", "si_sdr", "--jobs", "1"]
    assert main([str(argument) for argument in arguments]) == 0
    out = capsys.readouterr().out
    assert "1 of 3 clips have a note" in out and "p101/00001: FileNotFound" in out
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (result["system"], result["task"]) == ("net", "dereverberation")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-m", "wham"], "give either --model and --data"),
        (["-m", "wham", "-d", "x", "--clean", "y"], "give either"),
        (["-m", "wham", "-d", "x", "--seeds", "0"], "--seeds must be at least 1"),
        (["-m", "wham", "-d", "/nowhere"], "/nowhere has none of the folders"),
        (["-m", "wham", "-d", "x", "--metrics", "polqa"], "Unknown metrics"),
        (["--restored", "/nowhere", "--clean", "/nowhere"], "holds no .wav or .flac"),
    ],
)
def test_wrong_use_ends_in_one_line(tmp_path, capsys, arguments, message):
    assert main(["evaluate", *arguments, "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_restored_recordings_of_another_corpus_are_refused(corpus, tmp_path):
    write(tmp_path / "net" / "other.wav")
    with pytest.raises(ValueError, match="has the id of one in"):
        match_restored(tmp_path / "net", corpus / "test" / "clean")
