"""A whole cleaning: plan, restore, then write manifest and report."""

import sys
from dataclasses import asdict, replace

from lafufu_sb.audio.writer import check_subtype
from lafufu_sb.cleaning.judges import choose_judges
from lafufu_sb.cleaning.loading import load_cleaner
from lafufu_sb.cleaning.manifests import Cleaned, open_manifest
from lafufu_sb.cleaning.plan import make_plan, refuse_output, split
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
    judges = choose_judges(options.gate.gate, options.model.model)
    if judges.note:
        print(f"lafufu: {judges.note}", file=sys.stderr)
    state = State(options.output)
    manifest, files = plan_of(options, state)
    options = replace(options, subtype=options.subtype or manifest.subtype)
    if options.engine == "ray":
        from lafufu_sb.cleaning.ray_engine import run

        rows = run(options, files, state)
    else:
        rows = run_here(options, files, state)
    collect(options, manifest, files, state)
    return rows


def plan_of(options, state):
    """The manifest and the plan; makes all checks that need no model, opens the state.

    Arguments
    ---------
    options : CleaningOptions
        What is cleaned, and how.
    state : State
        Of the output folder. It has the unpacked recordings of a packed manifest.

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
    for name in {CSV_NAME, PAGE_NAME} & manifest.outputs().keys():
        raise UsageError(
            f"{manifest.outputs()[name]} has the name of a report file: rename it"
        )
    if manifest.packed:
        refuse_output(manifest, state.output)
        state.open(options.restart)
        with state.locked():
            manifest.unpack(state.unpacked)
        results = state.restored if manifest.embedded else state.output
        files = make_plan(manifest, results, options.format)
    else:
        files = make_plan(manifest, state.output, options.format)
        state.open(options.restart)
    if subtype := options.subtype or manifest.subtype:
        for file in files:
            check_subtype(file.target, subtype)
    return manifest, files


def run_here(options, files, state):
    """Clean one shard in this process; returns its rows, see ``clean``."""
    number, shards = options.shard
    files = split(files, shards)[number - 1]
    with state.shard(f"{number}-of-{shards}") as shard:
        cleaner = load_cleaner(options, state)  # a restart is refused from here on
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
        rows = state.complete(files)
        if rows is None:
            return
        _write_results(options, manifest, rows, state.output)
        state.forget_temporary()
    totals = ", ".join(f"{number} {name}" for name, number in count(rows).items())
    print(f"{len(rows)} files: {totals}")
    if written := list(manifest.outputs()):
        more = f" and {len(written) - 1} more" if len(written) > 1 else ""
        print(f"manifest: {state.output / written[0]}{more}")
    print(f"report: {state.output / PAGE_NAME}")


def _write_results(options, manifest, rows, output):
    cleaned = {
        row["source"]: None
        if row["decision"] == "failed"
        else Cleaned(row["target"], row["sample_rate"], row["samples"])
        for row in rows
    }
    manifest.write_to(output, cleaned)
    rows = [row | {"source": manifest.label(row["source"])} for row in rows]
    with written_whole(output / CSV_NAME) as temporary:
        write_csv(temporary, rows)
    model = options.model
    facts = {"model": model.model, "preset": model.preset, **model.settings}
    judges = choose_judges(options.gate.gate, model.model)
    facts |= asdict(options.gate) | {"judges": ", ".join(judges.names)}
    facts["speech_only"] = judges.speech_only
    with written_whole(output / PAGE_NAME) as temporary:
        write_page(temporary, rows, options.input, facts)
