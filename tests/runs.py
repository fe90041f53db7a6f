"""Tiny runs of the recipe, as a user would start them."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from lafufu_sb.training.recipe import read_recipe

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "EARS" / "enhance" / "LAFUFU"

TINY = """
base: {recipe}/hparams/{base}.yaml
output_folder: {output}
autoencoder: {{channels: 4}}
score_model: {{base_channels: 8, multipliers: [1, 1]}}
restorer: {{window_frames: 64, overlap_frames: 16}}
predictor_epochs: {epochs}
ae_epochs: {epochs}
score_epochs: {epochs}
predictor_batch_size: 2
ae_batch_size: 2
score_batch_size: 2
predictor_crop_frames: 16
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
    if isinstance(read_recipe(RECIPE / f"hparams/{base}.yaml")["predictor"], dict):
        text += "predictor: {width: 8, units: 4}\n"
    if base.startswith("sgmse"):  # its autoencoder is the identity
        text = text.replace("autoencoder: {channels: 4}\n", "")
        text = text.replace("[1, 1]", "[1, 1, 1, 1]")  # keeps the attention small
    Path(path).write_text(text)
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


def weights(run):
    """State dicts of a run: the autoencoder's, then the exported model's two."""
    files = ["autoencoder.ckpt", "model/autoencoder.ckpt", "model/score_model.ckpt"]
    return [torch.load(run / name, weights_only=True) for name in files]
