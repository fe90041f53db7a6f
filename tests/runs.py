"""Tiny runs of the recipe, as a user would start them."""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "EARS" / "enhance" / "LAFUFU"

TINY = """
base: {recipe}/hparams/{base}.yaml
output_folder: {output}
representation: {{channels: 4}}
score_model: {{base_channels: 8, multipliers: [1, 1]}}
restorer: {{window_frames: 64, overlap_frames: 16}}
pre_enhancer_epochs: {epochs}
ae_epochs: {epochs}
score_epochs: {epochs}
pre_enhancer_batch_size: 2
ae_batch_size: 2
score_batch_size: 2
pre_enhancer_crop_frames: 16
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
    if "pre_enhancer" in base:
        text += "pre_enhancer: {width: 8, units: 4}\n"
    if base.startswith("sgmse"):  # no network in its representation
        text = text.replace("representation: {channels: 4}\n", "")
        text = text.replace("[1, 1]", "[1, 1, 1, 1]")  # keeps the attention small
    Path(path).write_text(text)
    return Path(path)


def train_command(*arguments):
    """Command line of the recipe's train.py."""
    return [sys.executable, "train.py", *map(str, arguments)]


def train_environment():
    """One thread, so that sums are in the same order in every run."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}


# Imports once and forks for each run: the imports take longer than a tiny run.
SERVER = """
import json, os, sys, traceback
import train
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if not child:
        for number in (1, 2):
            os.dup2(os.open(request[str(number)], os.O_WRONLY | os.O_CREAT), number)
        code = 0
        try:
            train.main(request["arguments"])
        except SystemExit as end:
            code = 1 if isinstance(end.code, str) else end.code
            print(end.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code or 0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@functools.cache
def _server():
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        cwd=RECIPE,
        env=train_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.kill)
    return process


def train(*arguments):
    """Run train.py's main to its end; gives the finished process."""
    command = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        files = {number: f"{folder}/{number}" for number in (1, 2)}
        server = _server()
        print(json.dumps({"arguments": command} | files), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        outputs = [Path(file).read_text() for file in files.values()]
    return subprocess.CompletedProcess(command, code, *outputs)


def weights(run):
    """State dicts of a run: stage one's, then those of the exported model's two."""
    from lafufu_sb.inference.weights import read_weights

    parts = ["representation.safetensors", "score_model.safetensors"]
    files = [parts[0], *(f"model/{part}" for part in parts)]
    return [read_weights(run / name) for name in files]
