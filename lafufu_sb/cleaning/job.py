"""A cleaning from its options to its report."""

import argparse
import platform
import sys
from pathlib import Path

import torch

from lafufu_sb import __version__
from lafufu_sb.cleaning.judges import folder_hash, load_gate
from lafufu_sb.cleaning.manifests import Cleaned, open_manifest
from lafufu_sb.cleaning.plan import make_plan, split
from lafufu_sb.cleaning.progress import Progress
from lafufu_sb.cleaning.report import (
    CSV_NAME,
    PAGE_NAME,
    count,
    write_csv,
    write_page,
)
from lafufu_sb.cleaning.state import State
from lafufu_sb.cleaning.work import Cleaner
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole
from lafufu_sb.inference.weights import fingerprint
from lafufu_sb.restoration.devices import usable_dtype

_GATE = ("gate", "max_dnsmos_drop", "max_cer", "min_cosine", "judge_pieces")


def clean(options):
    """Clean a corpus.

    Arguments
    ---------
    options : dict of str to object
        Those of ``lafufu clean``, see ``commands.clean.add_parser``.

    Returns
    -------
    list of dict
        Rows of the files of this run's shard, or of all: ``decision`` is "restored",
        "kept" or "failed".

    Raises
    ------
    UsageError, FileNotFoundError, ImportError
        Before anything is done, for what cannot be.
    OSError
        If results cannot be written.
    """
    manifest, files = plan_of(options)
    state = State(options["output"])
    state.open(options["restart"])
    if options["engine"] == "ray":
        from lafufu_sb.cleaning.ray_engine import run

        rows = run(options, files, state)
    else:
        rows = run_here(options, files, state)
    collect(options, manifest, files, state)
    return rows


def plan_of(options):
    """The manifest and the plan of the options; all refusals that need no model."""
    manifest = open_manifest(
        options["input"], options["kind"], options["column"], options["replacement"]
    )
    if options["sample_rate"] == "model":
        manifest.check_rate_change()
    if manifest.name in (CSV_NAME, PAGE_NAME):
        raise UsageError(f"{manifest.path} has the name of the report: rename it")
    return manifest, make_plan(manifest, options["output"], options["format"])


def run_here(options, files, state):
    """Clean the shard of the options in this process; gives its rows."""
    number, count_of = options["shard"]
    files = split(files, count_of)[number - 1]
    cleaner = load_cleaner(options, state)
    with state.shard(f"{number}-of-{count_of}") as shard:
        left, done = pending(state, files)
        progress = Progress(files, done)
        try:
            cleaner.run(left, shard, progress)
        finally:
            progress.close()
    print(_waiting(cleaner.meter), file=sys.stderr)
    return progress.rows


def pending(state, files, name="*"):
    """Files that are still to do, and rows of the others; failures are tried again."""
    rows = state.rows(files, name)
    done = {s: row for s, row in rows.items() if row["decision"] != "failed"}
    return [f for f in files if f.source not in done], list(done.values())


def load_cleaner(options, state):
    """Model and gate, once the output folder agrees to their settings."""
    from lafufu_sb.cli.main import load_model

    model = load_model(argparse.Namespace(**options))
    if options["windows_per_batch"] is not None:
        model.restorer.windows_per_batch = options["windows_per_batch"]
    options = options | {"device": str(model.device)}
    gate = load_gate(options)
    state.agree(settings_of(options, model))
    return Cleaner(
        model,
        gate,
        sample_rate=options["sample_rate"],
        pieces=options["judge_pieces"],
        threads=options["readers"],
    )


def settings_of(options, model):
    """All that the bytes of results depend on, but for the recordings."""
    restorer, device = model.restorer, torch.device(model.device)
    dtype = usable_dtype(restorer.precision, device, restorer.fallback)
    return {
        "input": str(Path(options["input"]).resolve()),
        "model": [fingerprint(restorer.autoencoder), fingerprint(restorer.score_model)],
        "sampler": [restorer.sampler_name, restorer.sampler_options],
        "phase_averages": restorer.phase_averages,
        "seed": model.seed,
        "dry": model.dry,
        "precision": str(dtype),
        "compile": restorer.compiled,
        "windows": [restorer.plan.window, restorer.plan.stride],
        "windows_per_batch": restorer.windows_per_batch,
        "sample_rate": options["sample_rate"],
        "format": options["format"],
        "recogniser": folder_hash(options["recogniser"]),
        "speaker_model": folder_hash(options["speaker_model"]),
        "device": device.type,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),  # sums are split among them
        "torch": torch.__version__,
        "lafufu_sb": __version__,
    } | {name: options[name] for name in _GATE}


def collect(options, manifest, files, state):
    """Write the manifest and the report, if all files are done."""
    with state.locked():
        found = state.rows(files)
        missing = len(files) - len(found)
        if missing:
            print(
                f"{missing} of {len(files)} files are left to other shards: whoever "
                "ends last writes the manifest and the report"
            )
            return
        rows = [found[file.source] for file in files]
        cleaned = {
            row["source"]: None
            if row["decision"] == "failed"
            else Cleaned(row["target"], row["sample_rate"], row["samples"])
            for row in rows
        }
        if manifest.name is not None:
            with written_whole(state.output / manifest.name) as temporary:
                manifest.write(temporary, cleaned)
        with written_whole(state.output / CSV_NAME) as temporary:
            write_csv(temporary, rows)
        with written_whole(state.output / PAGE_NAME) as temporary:
            facts = {name: options[name] for name in ("model", "seed", *_GATE)}
            write_page(temporary, rows, options["input"], facts)
    totals = ", ".join(f"{number} {name}" for name, number in count(rows).items())
    print(f"{len(rows)} files: {totals}")
    if manifest.name is not None:
        print(f"manifest: {state.output / manifest.name}")
    print(f"report: {state.output / PAGE_NAME}")


def _waiting(meter):
    seconds = max(meter.seconds, 1e-9)
    parts = [f"computing {100 * meter.computing / seconds:.0f} %"]
    parts += [
        f"waiting for {what} {100 * waited / seconds:.0f} %"
        for what, waited in meter.waited.items()
    ]
    return f"{seconds:.1f} s: " + ", ".join(parts)
