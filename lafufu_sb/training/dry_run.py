"""A dry run: real training steps of each stage, and what the whole training needs.

Two steps of each stage on the recipe's data, with its batch size, precision and
gradient accumulation. Everything is written to a folder that is deleted.
"""

import contextlib
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import speechbrain as sb
import torch

from lafufu_sb.corpora.tasks import SUBSETS
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.tables import markdown_table
from lafufu_sb.files import written_whole
from lafufu_sb.inference.folder import weights_name
from lafufu_sb.inference.weights import load_weights
from lafufu_sb.restoration.devices import device_name, peak_memory, synchronize
from lafufu_sb.training.restoration_brain import steps_per_epoch
from lafufu_sb.training.stages import FIRST, Stage, epochs_left, stage_value

STEPS = 2  # the first pays for kernels, workers and allocations
PER = 100_000  # steps, the unit of the last column
WAITING = 0.1  # share of a step that is worth telling


@dataclass(frozen=True)
class StageCost:
    """What a stage needs.

    Attributes
    ----------
    stage : str
    trained : int
        Parameters.
    seconds : float
        Of the last measured optimiser step.
    waiting : float
        Part of it that data were waited for.
    peak : int
        Bytes: of the device's allocator, on a CPU of the whole process.
    steps_left : int
        Optimiser steps of the epochs that are still to come.
    validation : float
        Estimated seconds of their validations.
    """

    stage: str
    trained: int
    seconds: float
    waiting: float
    peak: int
    steps_left: int
    validation: float

    @property
    def seconds_left(self):
        """Estimated duration of the rest of the stage."""
        return self.steps_left * self.seconds + self.validation


@contextlib.contextmanager
def rehearsal(hparams):
    """A folder in place of ``output_folder`` and no log file, for the time of a block.

    Yields
    ------
    Path
        The folder, deleted at the end.

    Raises
    ------
    UsageError
        In distributed training.
    """
    if torch.distributed.is_initialized():
        raise UsageError(
            "a dry run measures one process: start it without torchrun, and divide the "
            "time by the number of GPUs"
        )
    kept = {key: hparams[key] for key in ("output_folder", "train_logger")}
    with tempfile.TemporaryDirectory(prefix="lafufu_dry_run_") as folder:
        hparams |= {"output_folder": folder, "train_logger": None}
        try:
            yield Path(folder)
        finally:
            hparams |= kept


def rehearse(hparams, run_opts, prepare, brains):
    """Measure two steps of each stage that a run would train. Leaves no file.

    Arguments
    ---------
    hparams : dict
        Objects of the recipe, given weights loaded.
    run_opts : RunOptions
        Of SpeechBrain.
    prepare : callable
        ``prepare(hparams, folder)`` writes the manifests.
    brains : dict of str to callable
        By stage: ``brain, data = make(stage, hparams, run_opts)``.

    Returns
    -------
    str
        See ``report``.

    Raises
    ------
    UsageError
        In distributed training, or for data that cannot be used.
    """
    folder = Path(hparams["output_folder"])
    left = epochs_left(hparams, folder)
    if not left:
        return "Dry run: no stage is left to train"
    for part in FIRST.values():
        if (folder / weights_name(part)).exists():
            load_weights(hparams[part], folder / weights_name(part))
    with rehearsal(hparams) as temporary:
        if hparams["skip_prep"]:
            for subset in SUBSETS:
                shutil.copy(folder / f"{subset}.json", temporary)
        else:
            prepare(hparams, temporary)
        accumulated = max(
            one["grad_accumulation_factor"] for one in (hparams, run_opts)
        )
        largest = max(stage_value("batch_size", stage, hparams) for stage in left)
        manifest = temporary / "train.json"
        items = repeat_items(manifest, STEPS * accumulated * largest)
        costs = []
        if "autoencoder" in left:
            hparams["representation"].begin_training()
        for stage, epochs in left.items():
            brain, data = brains[stage](Stage(stage, hparams), hparams, run_opts)
            costs.append(measure_stage(stage, brain, data, items, epochs))
    embedded = hparams["data_folder"] == "embedded"
    return report(costs, hparams["restorer"].device, items, embedded)


def repeat_items(manifest, least):
    """Repeat the items of a manifest until there are enough for the measured steps.

    Arguments
    ---------
    manifest : Path
        JSON by item, changed in place.
    least : int
        Number of items.

    Returns
    -------
    int
        How many there were.
    """
    items = json.loads(manifest.read_text())
    copies = -(-least // len(items))
    repeated = {
        f"{name}~{copy}" if copy else name: item
        for copy in range(copies)
        for name, item in items.items()
    }
    with written_whole(manifest) as temporary:
        temporary.write_text(json.dumps(repeated))
    return len(items)


def measure_stage(stage, brain, data, items, epochs):
    """Make real training steps of a stage and measure them.

    Arguments
    ---------
    stage : str
        Name.
    brain : RestorationBrain
        Of the stage.
    data : dict
        Arguments of its ``fit``.
    items : int
        Of the training set, which may have been repeated.
    epochs : int
        Epochs that the real run has still to make.

    Returns
    -------
    StageCost
    """
    device, accumulated = brain.restorer.device, brain.grad_accumulation_factor
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    brain.on_fit_start()
    loading = data["train_loader_kwargs"]
    loader = brain.make_dataloader(data["train_set"], sb.Stage.TRAIN, **loading)
    brain.on_stage_start(sb.Stage.TRAIN, epoch=1)
    brain.modules.train()
    batches = iter(loader)
    for _ in range(STEPS):
        start, waiting = time.perf_counter(), 0.0
        for _ in range(accumulated):
            asked = time.perf_counter()
            batch = next(batches)
            waiting += time.perf_counter() - asked
            brain.step += 1
            brain.fit_batch(batch)
        synchronize(device)
        seconds = time.perf_counter() - start
    batch_size = loading["batch_size"]
    steps = steps_per_epoch(items, batch_size, 1, accumulated)
    forward = (seconds - waiting) / (3 * batch_size * accumulated)  # of one item
    return StageCost(
        stage,
        sum(p.numel() for p in brain.modules.parameters() if p.requires_grad),
        seconds,
        waiting,
        peak_memory(device),
        steps * epochs,
        epochs * forward * _evaluations(stage, brain, data["valid_set"]),
    )


def _evaluations(stage, brain, valid_set):
    """Passes of the networks in a validation: a crop of each item, and whole clips.

    A window counts as many passes as it has calls.
    """
    restorer, passes = brain.restorer, 1
    if stage in ("score", "few_step"):
        passes = restorer.sampler.calls * restorer.settings.phase_averages
    names = [valid_set.data_ids[place] for place in sorted(brain.measured)]
    seconds = [valid_set.data[name]["length"] for name in names]
    samples = [round(length * restorer.sample_rate) for length in seconds]
    windows = sum(len(restorer.plan.starts(length)) for length in samples)
    return len(valid_set) + windows * passes


def report(costs, device, items, embedded):
    """What a dry run found, as lines for the terminal.

    Arguments
    ---------
    costs : sequence of StageCost
        Of the stages that are still to run.
    device : torch.device
        Where they were measured.
    items : int
        Pairs of the training set.
    embedded : bool
        Whether it is the mini corpus.

    Returns
    -------
    str
    """
    rows = [
        [
            cost.stage,
            f"{cost.trained / 1e6:.2f}",
            f"{cost.peak / 1e9:.1f}",
            f"{cost.seconds:.3g}",
            f"{cost.steps_left:,}",
            duration(cost.seconds_left),
            duration(PER * cost.seconds),
        ]
        for cost in costs
    ]
    heads = ["stage", "trained, M", "peak memory, GB", "a step, s", "steps left"]
    heads += ["time left", f"{PER:,} steps"]
    whole = duration(sum(cost.seconds_left for cost in costs))
    lines = [
        f"Dry run on {device_name(device)}: {STEPS} steps of each stage that is left",
        "",
        markdown_table(heads, rows),
        "",
        f"About {whole} for {items:,} training pairs, validation estimated, without "
        "the test stage",
    ]
    for cost in costs:
        if cost.waiting > WAITING * cost.seconds:
            lines.append(
                f"{cost.stage}: {cost.waiting:.3g} s of a step waited for data; raise "
                "num_workers"
            )
    if embedded:
        lines.append(
            "These are the pairs of the embedded mini corpus: give --data_folder for "
            "the time of a real training, or see the last column"
        )
    return "\n".join(lines)


def duration(seconds):
    """A duration in the unit that suits it.

    Example
    -------
    >>> duration(42), duration(5400), duration(200_000)
    ('42 s', '1.5 h', '2.3 days')
    """
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length - 1e-9:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
