"""A whole cleaning: plan, restore, then write manifest and report."""

import sys
from dataclasses import asdict, replace

from lafufu_sb.audio.writer import check_subtype
from lafufu_sb.cleaning.loading import load_cleaner
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
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole


def clean(options):
    """Clean a corpus.

    Arguments
    ---------
    options : CleaningOptions
        What is cleaned, and how.

    Returns
    -------
    list of dict
        Rows of the files of this run's shard, with Ray of all files. ``decision`` is
        "restored", "kept" or "failed".

    Raises
    ------
    UsageError, FileNotFoundError
        For options, manifests and folders that cannot be used. Nothing has been
        restored yet.
    OSError
        If results cannot be written.
    """
    manifest, files = plan_of(options)
    options = replace(options, subtype=options.subtype or manifest.subtype)
    state = State(options.output)
    state.open(options.restart)
    if options.engine == "ray":
        from lafufu_sb.cleaning.ray_engine import run

        rows = run(options, files, state)
    else:
        rows = run_here(options, files, state)
    collect(options, manifest, files, state)
    return rows


def plan_of(options):
    """The manifest and the plan; makes all checks that need no model.

    Arguments
    ---------
    options : CleaningOptions
        What is cleaned, and how.

    Returns
    -------
    manifest : Manifest
    files : list of PlannedFile

    Raises
    ------
    UsageError, FileNotFoundError
        See ``clean``.
    """
    manifest = open_manifest(
        options.input, options.kind, options.columns, options.placeholders
    )
    if options.sample_rate == "model":
        manifest.check_rate_change()
    if manifest.name in (CSV_NAME, PAGE_NAME):
        raise UsageError(f"{manifest.path} has the name of a report file: rename it")
    files = make_plan(manifest, options.output, options.format)
    if options.subtype:
        for file in files:
            check_subtype(file.target, options.subtype)
    return manifest, files


def run_here(options, files, state):
    """Clean one shard in this process; returns its rows, see ``clean``."""
    number, shards = options.shard
    files = split(files, shards)[number - 1]
    cleaner = load_cleaner(options, state)
    with state.shard(f"{number}-of-{shards}") as shard:
        left, done = state.pending(files)
        progress = Progress(files, done)
        try:
            cleaner.run(left, shard, progress)
        finally:
            progress.close()
    print(cleaner.meter.summary(), file=sys.stderr)
    return progress.rows


def collect(options, manifest, files, state):
    """Write manifest and report once all files of the plan are done.

    Arguments
    ---------
    options, manifest, files, state
        See ``clean`` and ``plan_of``.
    """
    with state.locked():
        found = state.rows(files)
        missing = len(files) - len(found)
        if missing:
            print(
                f"{missing} of {len(files)} files belong to other shards: the last "
                "shard to end writes the manifest and the report"
            )
            return
        rows = [found[file.source] for file in files]
        _write_results(options, manifest, rows, state.output)
        state.forget_partial()
    totals = ", ".join(f"{number} {name}" for name, number in count(rows).items())
    print(f"{len(rows)} files: {totals}")
    if manifest.name is not None:
        print(f"manifest: {state.output / manifest.name}")
    print(f"report: {state.output / PAGE_NAME}")


def _write_results(options, manifest, rows, output):
    cleaned = {
        row["source"]: None
        if row["decision"] == "failed"
        else Cleaned(row["target"], row["sample_rate"], row["samples"])
        for row in rows
    }
    if manifest.name is not None:
        with written_whole(output / manifest.name) as temporary:
            manifest.write(temporary, cleaned)
    with written_whole(output / CSV_NAME) as temporary:
        write_csv(temporary, rows)
    model = options.model
    facts = {"model": model.model, "preset": model.preset, **model.settings}
    with written_whole(output / PAGE_NAME) as temporary:
        write_page(temporary, rows, options.input, facts | asdict(options.gate))
