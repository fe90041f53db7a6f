"""Test sets, runs over them, and recordings that another program restored."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small import small_model

from lafufu_sb.cli.evaluate import add_parser, common_recipe, find_pairs, match_restored
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.clips import read_rows
from lafufu_sb.evaluation.runs import (
    ModelSystem,
    describe_pairs,
    read_manifest,
    run_system,
)

RATE = 48000


def evaluate(*arguments):
    """Run ``lafufu evaluate``."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    options = parser.parse_args(["evaluate", *map(str, arguments)])
    return options.run(options)


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
    pairs = find_pairs(corpus)
    entries = {k: {"noisy_wav": str(d), "clean_wav": str(c)} for k, d, c in pairs}
    manifest = tmp_path / "test.json"
    manifest.write_text(json.dumps(entries))
    assert read_manifest(manifest) == find_pairs(manifest) == pairs
    for text in ("[", "[]", '{"a": {}}', '{"a": 1}'):
        manifest.write_text(text)
        with pytest.raises(UsageError, match="test.json is no manifest of pairs"):
            read_manifest(manifest)
    manifest.write_text("{}")
    with pytest.raises(UsageError, match="test.json lists no clips"):
        read_manifest(manifest)


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
def test_task_and_corpus_follow_from_the_folders(folder, task, corpus):
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


def test_a_model_is_timed_in_parts_and_restores_the_same():
    model = small_model()
    wav = torch.randn(1, 20000, generator=torch.Generator().manual_seed(0))
    restored, factors = ModelSystem(model)(wav[0])
    assert torch.equal(restored, model.enhance_batch(wav)[0])
    parts = [factors[f"rtf_{part}"] for part in ("encoder", "sampler", "decoder")]
    assert min(parts) > 0 and sum(parts) < factors["rtf"]


def test_evaluate_measures_seeds_of_a_model(corpus, tmp_path, capsys):
    arguments = ["-m", "denoise_small", "-d", corpus, "--clips", "1", "--seeds", "2"]
    arguments += ["--metrics", "si_sdr", "--jobs", "1", "-o", tmp_path / "out"]
    assert evaluate(*arguments, "--sampler", "bridge_sde", "--num-steps", "2") == 0
    out = capsys.readouterr().out
    assert "si_sdr" in out and "rtf_decoder" in out
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert result["task"] == "dereverberation" and result["calls"] == 2
    assert result["system"] == "denoise_small"
    assert [run["seed"] for run in result["runs"]] == [0, 1]
    first, second = (read_rows(tmp_path / "out" / f"run{i}") for i in (1, 2))
    assert first[0]["si_sdr"] != second[0]["si_sdr"]  # the sampler's noise
    assert first[0]["before_si_sdr"] == second[0]["before_si_sdr"]


def test_models_of_one_evaluation_have_one_recipe(tmp_path):
    models = []
    for seed, rate in ((1, 0.1), (2, 0.1), (3, 0.2)):
        models.append(str(tmp_path / str(seed) / "model"))
        Path(models[-1]).mkdir(parents=True)
        recipe = tmp_path / str(seed) / "recipe.yaml"
        recipe.write_text(f"seed: {seed}\nlr: {rate}\n")
    assert common_recipe(models[:2]) == "seed: 1\nlr: 0.1\n"
    assert common_recipe(["denoise"]) is None
    with pytest.raises(UsageError, match="differ in lr: evaluate them one by one"):
        common_recipe(models)


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
    write(tmp_path / "other" / "other.wav")
    with pytest.raises(UsageError, match="has the id of one in"):
        match_restored(tmp_path / "other", clean)


def test_evaluate_measures_restored_recordings(corpus, tmp_path, capsys):
    for i in (0, 2):
        write(tmp_path / "net" / f"p10{i}" / f"{i:05}_0.{i + 3}1.wav", seed=i)
    arguments = ["--restored", tmp_path / "net", "--clean", corpus / "test" / "clean"]
    arguments += ["--metrics", "si_sdr", "--jobs", "1", "-o", tmp_path / "out"]
    assert evaluate(*arguments) == 0
    out = capsys.readouterr().out
    assert "1 of 3 clips have a note" in out and "p101/00001: FileNotFound" in out
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (result["system"], result["task"]) == ("net", "dereverberation")


def test_missing_packages_shorten_the_default_metrics(
    corpus, tmp_path, capsys, monkeypatch
):
    from lafufu_sb.evaluation.metrics import METRICS

    for name in set(METRICS) - {"si_sdr"}:
        absent = METRICS[name]._replace(packages=("not_there",))
        monkeypatch.setitem(METRICS, name, absent)
    sides = [corpus / "test" / side for side in ("reverberant", "clean")]
    evaluate("--restored", sides[0], "--clean", sides[1], "-o", tmp_path / "out")
    out = capsys.readouterr().out
    assert "si_sdr" in out
    hint = (
        'not measured: pesq needs the package not_there: pip install "lafufu_sb[pesq]"'
    )
    assert hint in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-m", "denoise"], "give either --model and --data"),
        (["-m", "denoise", "-d", "x", "--clean", "y"], "give either"),
        (["-m", "denoise", "-d", "x", "--seeds", "0"], "--seeds must be a whole"),
        (["-m", "denoise", "-d", "/nowhere"], "/nowhere has none of the folders"),
        (["-m", "denoise", "-d", "x", "--metrics", "polqa"], "Unknown metrics"),
        (["--restored", "/nowhere", "--clean", "/nowhere"], "holds no .wav or .flac"),
    ],
)
def test_wrong_use_is_refused_before_any_work(tmp_path, arguments, message):
    with pytest.raises((UsageError, FileNotFoundError), match=message):
        evaluate(*arguments, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
