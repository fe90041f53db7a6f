"""The recipe trains, resumes where it was killed, skips what is finished, exports."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import matplotlib.image
import numpy as np
import pytest
import soundfile
import torch
from runs import (
    RECIPE,
    train,
    train_command,
    train_environment,
    weights,
    write_tiny_recipe,
)
from safetensors.torch import save_file

from lafufu_sb import EnhanceLatent
from lafufu_sb.errors import UsageError
from lafufu_sb.inference.weights import read_weights
from lafufu_sb.training.checkpoints import UNFINISHED


def assert_same_weights(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert torch.equal(a[name], b[name]), name


def test_run_leaves_logs_report_and_model(tiny_run):
    log = (tiny_run / "train_log.txt").read_text()
    assert "AutoencoderBrain" in log and "valid latent_ratio" in log
    assert "ScoreBrain" in log and "train loss_t" in log and "test si_sdr" in log
    assert "train decoded_loss" in log
    messages = (tiny_run / "log.txt").read_text()
    assert "EMBEDDED MINI CORPUS" in messages
    assert f"The model folder is {tiny_run / 'model'}" in messages
    assert f"noisy.wav -o restored.wav -m {tiny_run / 'model'}" in messages
    facts = json.loads((tiny_run / "report" / "evaluation.json").read_text())["recipe"]
    assert facts["score_epochs"] == 1 and "seed" not in facts
    summary = json.loads((tiny_run / "report" / "summary.json").read_text())
    assert summary["si_sdr"]["n"] == 2  # the test clips of the mini corpus
    picture = matplotlib.image.imread(tiny_run / "report" / "valid_epoch1.png")
    assert picture[..., :3].std() > 0.1  # not an empty page
    names = {path.name for path in (tiny_run / "model").iterdir()}
    assert names == {
        "hyperparams.yaml",
        "representation.safetensors",
        "score_model.safetensors",
    }


def test_finished_stages_are_skipped(tiny_run):
    kept = (tiny_run / "representation.safetensors").stat().st_mtime_ns
    before = weights(tiny_run)
    recipe = tiny_run.parent / "tiny.yaml"
    process = train(recipe)
    assert process.returncode == 0, process.stderr[-3000:]
    assert "Stage autoencoder is finished" in process.stderr + process.stdout
    assert "Going into epoch" not in process.stderr + process.stdout
    assert (tiny_run / "representation.safetensors").stat().st_mtime_ns == kept
    for old, new in zip(before, weights(tiny_run), strict=True):
        assert all(torch.equal(old[name], new[name]) for name in old)


def kill_at(recipe, folder, pattern):
    """Start training, kill it -9 as soon as a path appears."""
    process = subprocess.Popen(
        train_command(recipe),
        cwd=RECIPE,
        env=train_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not list(folder.glob(pattern)):
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    "base", ["lafufu_mini_pre_enhancer_wham", "lafufu_mini_crp_wham"]
)
def test_killed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, base):
    """Also through the few-step stage, of the bridge and of OUVE, mixing on the fly."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(96000)
    soundfile.write(tmp_path / "noise.wav", noise, 48000)
    more = "ckpt_interval_steps: 1\nfew_step_epochs: 2\nscore_sampler_options: null"
    more += f"\nmix_sources: {tmp_path / 'noise.wav'}"
    whole, killed = (
        write_tiny_recipe(
            tmp_path / f"{name}.yaml", tmp_path / name, base=base, epochs=2, more=more
        )
        for name in ("whole", "killed")
    )
    process = train(whole)
    assert process.returncode == 0, process.stderr[-3000:]
    if "pre_enhancer" in base:
        kill_at(killed, tmp_path, "killed/pre_enhancer/CKPT*")
    kill_at(killed, tmp_path, "killed/autoencoder/CKPT*")
    kill_at(killed, tmp_path, "killed/score/CKPT*")
    kill_at(killed, tmp_path, "killed/few_step/CKPT*")
    process = train(killed)
    assert process.returncode == 0, process.stderr[-3000:]
    assert_same_weights(tmp_path / "whole", tmp_path / "killed")
    logs = [
        (tmp_path / run / "train_log.txt").read_text() for run in ("whole", "killed")
    ]
    assert logs[0] == logs[1]  # each mean over its whole epoch
    left = [p for p in tmp_path.rglob("*") if p.name.startswith(UNFINISHED)]
    assert len(left) <= 4  # at most what the kills interrupted


def test_score_stage_alone_starts_from_a_model_folder(tiny_run, tmp_path):
    """A step of length zero leaves the weights unchanged."""
    process = train(
        write_tiny_recipe(tmp_path / "a.yaml", tmp_path / "run"),
        *["--stage=score", "--score_lr=0.0", "--seed=5", "--score_epochs=1"],
        f"--init_from={tiny_run / 'model'}",
    )
    assert process.returncode == 0, process.stderr[-3000:]
    _, *before = weights(tiny_run)
    (checkpoint,) = (tmp_path / "run" / "score").glob("CKPT*")
    files = (
        tmp_path / "run" / "representation.safetensors",
        checkpoint / "score_model.ckpt",
    )
    for old, file in zip(before, files, strict=True):
        new = read_weights(file)
        assert all(torch.equal(old[name], new[name]) for name in old)


OWN = """
from lafufu_sb.diffusion.objectives import DataPrediction
from lafufu_sb.diffusion.processes import SchroedingerBridge
from lafufu_sb.lobes.gains import GainPreEnhancer
from lafufu_sb.lobes.ncsnpp import NCSNpp
from lafufu_sb.lobes.representations import LatentRepresentation

class Process(SchroedingerBridge): pass
class Objective(DataPrediction): pass
class Representation(LatentRepresentation): pass
class Network(NCSNpp): pass
class PreEnhancer(GainPreEnhancer): pass
"""
OWN_RECIPE = """
process: !new:my_method.Process {k: 2.6, c: 10.0, noise_variance: 0.5}
objective: !new:my_method.Objective
pre_enhancer: !new:my_method.PreEnhancer {bins: 768, width: 8, units: 4}
condition: [distorted, enhanced]
skips: enhanced
representation: !new:my_method.Representation
    spectrogram: !ref <spectrogram>
    patch: 2
    channels: 4
    multipliers: [1, 2]
    latent_channels: !ref <latent_channels>
score_model: !new:my_method.Network
    data_channels: !ref <latent_channels>
    condition_channels: !ref 2 * <latent_channels>
    base_channels: 8
    multipliers: [1, 1]
    blocks_per_level: 1
    output_layer: False
    divide_by_time: False
"""


def test_classes_beside_the_script_are_trained_exported_and_tested(tmp_path):
    """Copies of train.py and its neighbour, with a module of the user's own."""
    for name in ("train.py", "ears_prepare.py"):
        shutil.copy(RECIPE / name, tmp_path / name)
    (tmp_path / "my_method.py").write_text(OWN)
    recipe = write_tiny_recipe(tmp_path / "own.yaml", tmp_path / "run", more=OWN_RECIPE)
    text = recipe.read_text().replace("representation: {channels: 4}\n", "")
    recipe.write_text(re.sub(r"(?m)^score_model: {.*\n", "", text))
    process = subprocess.run(
        [sys.executable, "train.py", recipe],
        cwd=tmp_path,
        env=train_environment(),
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    summary = json.loads((tmp_path / "run" / "report" / "summary.json").read_text())
    assert summary["si_sdr"]["n"] == 2
    assert "my_method.Network" in (tmp_path / "run/model/hyperparams.yaml").read_text()
    with pytest.raises(UsageError, match=r"asks for !new:my_method\..*trust=True"):
        EnhanceLatent.from_hparams(source=tmp_path / "run" / "model")


def test_decoder_learns_with_the_score_model_and_the_encoder_does_not(tiny_run):
    first, exported, _ = weights(tiny_run)
    changed = {name for name in first if not torch.equal(first[name], exported[name])}
    assert changed
    assert {name.split(".")[0] for name in changed} == {"decoder"}
    begun = [first[name] for name in first if name.startswith("decoder.filter.")]
    assert begun and not any(weight.any() for weight in begun)


def test_debug_run_keeps_to_a_folder_of_its_own_and_resumes(tmp_path):
    recipe = write_tiny_recipe(
        tmp_path / "tiny.yaml",
        tmp_path / "run",
        base="lafufu_mini_reverb",
        epochs=5,
    )
    text = recipe.read_text().replace("interval_minutes: 0", "interval_minutes: 15")
    recipe.write_text(text)
    for epochs in (4, 0):  # two of each stage, then none
        # SpeechBrain refuses two intervals.
        process = train(recipe, "--debug", "--ckpt_interval_steps=1")
        assert process.returncode == 0, process.stderr[-3000:]
        output = process.stderr + process.stdout
        assert output.count("Going into epoch") == epochs
    assert (tmp_path / "run" / "debug" / "representation.safetensors").exists()
    assert not (tmp_path / "run" / "representation.safetensors").exists()
    assert "Stage autoencoder is finished" in process.stderr + process.stdout


WRONG_USE = [
    (
        ["--stage", "both"],
        "must be all, pre_enhancer, autoencoder, score, few_step, test, got 'both'",
    ),
    (["--stage", "pre_enhancer"], "has no pre_enhancer to train"),
    (["--stage", "score"], "run --stage autoencoder first, or give a trained model"),
    (["--ae_epochs=0"], "give the model to take as init_from"),
    (["--stage", "few_step"], "few_step_epochs is 0"),
    (
        ["--stage", "few_step", "--few_step_epochs=1"],
        "run --stage autoencoder first",
    ),
    (
        ["--init_from=/nowhere", "--score_epochs=0", "--few_step_epochs=1"],
        "model folder /nowhere does not exist",
    ),
    (["--score_sampler_options={steps: 9}"], "has no option steps"),
    (["--data_folder=/nowhere"], "/nowhere has no train, valid, test"),
    (["--ae_epoch=3"], "has no key ae_epoch"),
    (["--init_from=wham", "--init_parts=[net]"], "a list of representation, score_m"),
    (["--best_key=pesqq"], "best_key pesqq must be one of metrics"),
    (["--grad_accumulation_factor=8"], "too few for one step"),
]


@pytest.mark.parametrize("arguments, message", WRONG_USE)
def test_wrong_use_ends_with_a_line_that_says_what_to_do(tmp_path, arguments, message):
    recipe = write_tiny_recipe(tmp_path / "tiny.yaml", tmp_path / "run")
    process = train(recipe, *arguments)
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    last = process.stderr.splitlines()[-1]
    assert last.startswith("train.py: error: ") and message in last


def test_stages_that_need_the_score_model_are_refused_without_it(tmp_path):
    recipe = write_tiny_recipe(tmp_path / "tiny.yaml", tmp_path / "run")
    process = train(recipe, "--stage", "autoencoder")
    assert process.returncode == 0, process.stderr[-3000:]
    for arguments in (["test"], ["few_step", "--few_step_epochs=1"]):
        process = train(recipe, "--stage", *arguments)
        assert process.returncode == 1
        assert "Traceback" not in process.stderr
        assert "no checkpoint of a validated epoch" in process.stderr
    assert not (tmp_path / "run" / "report" / "summary.json").exists()


def test_score_model_of_another_autoencoder_is_refused(tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    state = read_weights(run / "representation.safetensors")
    state["encoder.stem.weight"] += 1
    save_file(state, run / "representation.safetensors")
    process = train(write_tiny_recipe(tmp_path / "tiny.yaml", run), "--stage", "test")
    assert process.returncode == 1
    assert "latent of another representation" in process.stderr + process.stdout


def test_tensorboard_gets_pictures_and_sounds(tiny_run):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    events = accumulator.EventAccumulator(str(tiny_run / "report" / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert len(tags["images"]) == 1 and len(tags["audio"]) == 3
    assert "valid/si_sdr" in " ".join(tags["scalars"]).replace(" ", "/")


@pytest.mark.slow
@pytest.mark.parametrize("base", ["lafufu_mini_wham", "sgmse_mini_wham"])
def test_two_processes_train_together(tmp_path, base):
    recipe = write_tiny_recipe(
        tmp_path / "tiny.yaml", tmp_path / "run", base=base, epochs=2
    )
    process = subprocess.run(
        [
            *[sys.executable, "-m", "torch.distributed.run", "--standalone"],
            *["--nproc_per_node=2", "train.py", str(recipe)],
            *["--distributed_backend", "gloo", "--device", "cpu"],
        ],
        cwd=RECIPE,
        env=train_environment(),
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    log = (tmp_path / "run" / "train_log.txt").read_text()
    rates = [float(rate) for rate in re.findall(r"ScoreBrain.* lr: (\S+)", log)]
    assert rates[0] > 0 and rates[1] == 0  # at the end of the first and second epoch
    model = EnhanceLatent.from_hparams(source=tmp_path / "run" / "model")
    assert torch.isfinite(model.enhance_batch(torch.randn(1, 9000))).all()


@pytest.mark.slow
def test_reference_recipe_trains_and_samples_with_ouve(tmp_path):
    recipe = write_tiny_recipe(
        tmp_path / "tiny.yaml",
        tmp_path / "run",
        base="lafufu_reverb",
        more="num_workers: 0",
    )
    process = train(recipe)
    assert process.returncode == 0, process.stderr[-3000:]
    model = EnhanceLatent.from_hparams(source=tmp_path / "run" / "model")
    assert model.restorer.settings.sampler == "predictor_corrector"
    wav = torch.randn(1, 9000, generator=torch.Generator().manual_seed(0))
    first, again = model.enhance_batch(wav, seed=3), model.enhance_batch(wav, seed=3)
    assert torch.isfinite(first).all() and torch.equal(first, again)
    assert not torch.equal(first, model.enhance_batch(wav, seed=4))
