"""Scores of a corpus without restoring it: a table, and the manifest with columns.

Planning, journals, shards and resumption are those of the cleaner.
"""

import math
import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import torch

from lafufu_sb import __version__
from lafufu_sb.cleaning.manifests import Cleaned, open_manifest
from lafufu_sb.cleaning.measures import MEASURES, measure_all
from lafufu_sb.cleaning.opinions import OPINIONS, opinions
from lafufu_sb.cleaning.options import CorpusOptions
from lafufu_sb.cleaning.originals import change_of, memory_errors, one_line, opened
from lafufu_sb.cleaning.pipeline import read_ahead
from lafufu_sb.cleaning.plan import planned_files, split
from lafufu_sb.cleaning.progress import Progress
from lafufu_sb.cleaning.report import count, write_csv
from lafufu_sb.cleaning.sound import FileSound
from lafufu_sb.cleaning.speech import find_speech, heard_speech, vad_hint
from lafufu_sb.cleaning.state import State
from lafufu_sb.errors import MissingPackageError, UsageError, whole_number
from lafufu_sb.evaluation.metrics import missing_hints
from lafufu_sb.files import checked_path, written_whole

METRICS = (*OPINIONS, *MEASURES)
PREFIX = "score_"  # of columns in manifests
_FACTS = {"source": None, "seconds": 3, "channels": None, "sample_rate": None}
_PACKAGES = ("torch", "numpy", "scipy", "onnxruntime", "speechmos", "distillmos")
_PACKAGES += ("silero-vad", "pyloudnorm")


@dataclass(frozen=True)
class ScoringOptions(CorpusOptions):
    """What is scored, and how.

    Arguments
    ---------
    input, output, kind, columns, placeholders, restart, shard
        See ``CorpusOptions``. The output is a table, a .csv file.
    metrics : sequence of str, optional
        Of ``METRICS``; by default all whose packages are installed.
    pieces : int
        Pieces of 9 s of a file's speech that opinions hear; 0 for all of it.
    threads : int
        Number of files that are scored at once. Scores do not depend on it.

    Raises
    ------
    UsageError
        For a number outside its range.
    """

    metrics: tuple[str, ...] | None = None
    pieces: int = 3
    threads: int = 1

    def __post_init__(self):
        super().__post_init__()
        whole_number("--pieces", self.pieces, 0, 1000)
        whole_number("--threads", self.threads, 1, 1024)


def score(options):
    """Score a corpus.

    Arguments
    ---------
    options : ScoringOptions
        What is scored, and how.

    Returns
    -------
    list of dict
        Rows of the files of this run's shard. ``decision`` is "scored" or "failed".

    Raises
    ------
    UsageError, FileNotFoundError
        For options, manifests and files that cannot be used, and for packages that
        named metrics lack. Nothing has been scored yet.
    OSError
        If results cannot be written.
    """
    names, left_out = chosen_metrics(options.metrics)
    if left_out:
        print(f"lafufu: left out: {'; '.join(left_out)}", file=sys.stderr)
    manifest = open_manifest(
        options.input, options.kind, options.columns, options.placeholders
    )
    table = Path(os.path.abspath(checked_path(options.output)))
    if table.suffix.lower() != ".csv":
        raise UsageError(f"{table} must be a .csv file: give its name with -o")
    state = State(table.parent, f".{table.name}.lafufu-score")
    folder = table.with_name(f"{table.stem}-manifest")
    outputs = [table]
    if manifest.adds_fields:
        outputs += [folder / name for name in manifest.outputs()]
    _refuse_overwriting(outputs, state, manifest)
    state.open(options.restart)
    if manifest.packed:
        with state.locked():
            manifest.unpack(state.unpacked)
    sources = list(dict.fromkeys(manifest.sources.values()))
    files = planned_files(sources, [""] * len(sources), manifest.seconds)
    rows = _run(options, names, files, state)
    with state.locked():
        every = state.complete(files)
        if every is not None:
            _write(every, names, manifest, table, folder)
            state.forget_temporary()
    return rows


def chosen_metrics(given):
    """Names of the metrics to compute, and a hint for each that cannot be.

    Arguments
    ---------
    given : sequence of str or None
        See ``ScoringOptions``.

    Returns
    -------
    names : tuple of str
    left_out : list of str

    Raises
    ------
    UsageError
        For an unknown name.
    MissingPackageError
        If a metric that is named lacks a package.
    """
    names = tuple(dict.fromkeys(METRICS if given is None else given))
    if unknown := [name for name in names if name not in METRICS]:
        raise UsageError(
            f"unknown metric {unknown[0]!r}: choose from {', '.join(METRICS)}"
        )
    hints = {name: hint for name in names if (hint := _hint(name))}
    if given is not None and hints:
        raise MissingPackageError("; ".join(hints.values()))
    left = list(hints.values())
    if given is None and vad_hint():
        left.append("the choice of speech: opinions are of whole recordings")
    return tuple(name for name in names if name not in hints), left


def _hint(name):
    if name in OPINIONS:
        return "".join(missing_hints([name]))
    hint = vad_hint() if MEASURES[name].needs_speech else ""
    return f"{name}: {hint}" if hint else ""


def _refuse_overwriting(outputs, state, manifest):
    inputs = {manifest.path, *manifest.outputs().values(), *manifest.sources.values()}
    inputs = {os.path.realpath(path) for path in inputs}
    for path in outputs:
        if os.path.realpath(path) in inputs:
            raise UsageError(f"{path} would overwrite its input: choose another name")
        if path.exists() and not state.folder.is_dir():
            raise UsageError(
                f"{path} exists and was not written by `lafufu score`: remove it or "
                "choose another name"
            )


def _settings(options, names):
    """Everything but the recordings that scores depend on, in JSON's types."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions | {
        "input": str(Path(options.input).resolve()),
        "metrics": names,
        "pieces": options.pieces,
        "speech_only": not vad_hint(),
        "machine": platform.machine(),
        "lafufu_sb": __version__,
    }


def _run(options, names, files, state):
    """Score one shard; returns its rows."""
    number, shards = options.shard
    files = split(files, shards)[number - 1]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # files are scored side by side, and sums keep one order
    with state.shard(f"{number}-of-{shards}") as shard:
        state.agree(_settings(options, names))
        left, done = state.pending(files)
        progress = Progress(files, done, decisions=("failed",))
        pool = ThreadPoolExecutor(options.threads)
        scorer = partial(score_file, names=names, pieces=options.pieces)
        try:
            for row in read_ahead(pool, scorer, left, 2 * options.threads):
                shard.note(row)
                progress(row)
        finally:
            pool.shutdown(cancel_futures=True)
            progress.close()
            torch.set_num_threads(threads)
    return progress.rows


def score_file(file, names, pieces=3):
    """Score one recording.

    Arguments
    ---------
    file : PlannedFile
        The recording.
    names : sequence of str
        Of ``METRICS``.
    pieces : int
        See ``ScoringOptions``.

    Returns
    -------
    dict of str to object
        Its journal row. Metrics that are not defined, such as the SNR of silence, are
        None. If it cannot be read or a metric fails, the decision is "failed".
    """
    row = {"source": file.source, "target": "", "decision": "failed"}
    row |= {"size": file.size, "mtime_ns": file.mtime_ns}
    row |= {"seconds": file.seconds, "channels": file.channels}
    try:
        with memory_errors(file), opened(file) as recording:
            sound = FileSound(recording)
            row |= {"seconds": sound.seconds, "sample_rate": sound.rate}
            row |= _scores(sound, recording.blocks(), names, pieces)
    except (OSError, UsageError, MemoryError) as error:
        reason = change_of(file) or one_line(error)
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        # Models may fail on unusual input.
        reason = f"a metric failed: {type(error).__name__} {one_line(error)}"
    else:
        reason = change_of(file)
        row["decision"] = "failed" if reason else "scored"
        reason = reason or recording.note
    return row | {"reason": reason}


def _scores(sound, blocks, names, pieces):
    hears = [name for name in names if name in OPINIONS]
    measures = [name for name in names if name in MEASURES]
    needed = hears or any(MEASURES[name].needs_speech for name in measures)
    stretches = find_speech(sound) if needed and not vad_hint() else None
    found = measure_all(sound, blocks, measures, stretches)
    spoken = [s for s in heard_speech(sound, stretches) if s is not None]
    if hears and spoken:
        channels = torch.stack([opinions(s, hears, pieces) for s in spoken])
        found |= dict(zip(hears, channels.nanmean(dim=0).tolist(), strict=True))
    return {name: _rounded(found.get(name, math.nan), name) for name in names}


def _decimals(name):
    return MEASURES[name].decimals if name in MEASURES else 3


def _rounded(value, name):
    """The value as it is written; None if it is not finite, as JSON has no NaN."""
    decimals = _decimals(name)
    if not math.isfinite(value):
        return None
    return round(value, decimals) if decimals else round(value)


def _write(rows, names, manifest, table, folder):
    """Write the table, and the manifest with columns if it can have some."""
    decimals = {name: _decimals(name) for name in names}
    labelled = [row | {"source": manifest.label(row["source"])} for row in rows]
    with written_whole(table) as temporary:
        write_csv(temporary, labelled, _FACTS | decimals | {"reason": None})
    totals = count(rows, ("scored", "failed"))
    told = ", ".join(f"{number} {name}" for name, number in totals.items())
    print(f"{len(rows)} files: {told}")
    print(f"scores: {table}")
    if not manifest.outputs():
        return
    if not manifest.adds_fields:
        print(f"a manifest of kind {manifest.kind} gets no columns: see the table")
        return
    columns = "seconds", *names, "reason"
    scored = {
        row["source"]: Cleaned(
            row["source"], fields={f"{PREFIX}{name}": row.get(name) for name in columns}
        )
        for row in rows
    }
    folder.mkdir(exist_ok=True)
    manifest.write_to(folder, scored)
    print(f"manifest: {folder / next(iter(manifest.outputs()))}")
