"""A tiny run of the recipe, trained once, for the tests that need a model."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "EARS" / "enhance" / "LAFUFU"
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts that import each other by name

TINY = """
base: {recipe}/hparams/{base}.yaml
output_folder: {output}
autoencoder: {{channels: 4}}
score_model: {{base_channels: 8, multipliers: [1, 1]}}
restorer: {{window_frames: 64, overlap_frames: 16}}
ae_epochs: {epochs}
score_epochs: {epochs}
ae_batch_size: 2
score_batch_size: 2
ae_crop_frames: 16
score_crop_frames: 16
valid_clips: 1
metrics: [si_sdr]
best_key: si_sdr
test_metrics: [si_sdr]
ckpt_interval_minutes: 0
{more}
"""


def write_tiny_recipe(path, output, *, base="lafufu_mini_wham", epochs=1, more=""):
    """Write a variant of a recipe that trains in seconds."""
    text = TINY.format(
        recipe=RECIPE, base=base, output=output, epochs=epochs, more=more
    )
    if base.startswith("sgmse"):  # its autoencoder is the identity
        text = text.replace("autoencoder: {channels: 4}\n", "")
        text = text.replace("[1, 1]", "[1, 1, 1, 1]")  # keeps the attention small
    path.write_text(text)
    return path


def train_command(*arguments):
    """Command line of the recipe's train.py."""
    return [sys.executable, "train.py", *map(str, arguments)]


def train_environment():
    """One thread, so that sums are in the same order in every run."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def train(*arguments):
    """Run train.py to its end; gives the finished process."""
    return subprocess.run(
        train_command(*arguments),
        cwd=RECIPE,
        env=train_environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """Run folder of a trained tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    recipe = write_tiny_recipe(folder / "tiny.yaml", folder / "run")
    process = train(recipe)
    assert process.returncode == 0, process.stderr[-3000:]
    return folder / "run"


@pytest.fixture(scope="session")
def tiny_model(tiny_run):
    """Model folder of a trained tiny model."""
    return tiny_run / "model"


@pytest.fixture
def tiny_sgmse():
    """SGMSE+ of width 8, in 64-frame windows fast enough for a test."""
    from systems import sgmse

    text = sgmse(64).text.replace("channels: 64", "channels: 8")
    return replace(sgmse(64), key="sgmse8", text=text)


@pytest.fixture
def mini():
    """A shipped model, whose grid takes windows of 32 frames."""
    from systems import shipped

    return shipped("lafufu_mini_wham")


@pytest.fixture(scope="session")
def unchanging():
    """``EnhanceLatent`` of a network that leaves everything as it is."""
    from small import small_model

    return small_model(windows_per_batch=32)
