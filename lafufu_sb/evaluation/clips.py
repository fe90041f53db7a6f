"""Measured clips: one row of numbers each, and the files that keep them."""

import contextlib
import csv
import io
import json
import logging
import math
from collections import namedtuple
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy
import torch
from tqdm import tqdm

from lafufu_sb.corpora.manifests import HOP_SECONDS
from lafufu_sb.corpora.pairs import read_wav
from lafufu_sb.evaluation.figures import save_spectrogram_png, spectrogram_figure
from lafufu_sb.evaluation.metrics import evaluate, summarise
from lafufu_sb.files import written_whole

SIDES = ("distorted", "restored", "clean")
CLIPS, SUMMARY = "clips.csv", "summary.json"
TEXT = ("name", "note")  # columns that are no numbers
BEFORE = "before_"  # prefix of the metrics of the distorted side
CLIPS_PER_WORKER = 8  # fewer are measured sooner than a process has started

ClipFiles = namedtuple("ClipFiles", ["name", *SIDES, "more"])
ClipFiles.__doc__ = """Files of a clip that is to be measured.

name : str
    Its id.
distorted, restored, clean : Path or None
    Recordings. Without a distorted one there are no columns "before"; without a
    restored one the clip has failed.
more : dict
    Further columns of its row.
"""


def measure_clip(name, signals, sample_rate, metrics, **more):
    """Row of a clip: its metrics, and a note where a metric could not judge it.

    Arguments
    ---------
    name : str
        Of the clip.
    signals : dict of str to array or torch.Tensor
        "restored", "clean" and perhaps "distorted", (time,) of equal length.
    sample_rate : int
        Hz.
    metrics : sequence of str
        Names for ``lafufu_sb.evaluation.metrics.evaluate``.
    **more
        Further columns, such as the real-time factor. Metrics of the distorted side
        that are among them are not measured again.

    Returns
    -------
    dict
        name, seconds, ``before_`` metrics, metrics, further columns, note.
    """
    row = {"name": name, "seconds": len(signals["clean"]) / sample_rate}
    sides = {BEFORE: "distorted", "": "restored"}
    notes = [more.pop("note")] if more.get("note") else []
    with _warnings_of_metrics() as heard:
        for prefix, side in sides.items():
            wanted = [metric for metric in metrics if prefix + metric not in more]
            if side not in signals:
                continue
            values = evaluate(signals[side], signals["clean"], sample_rate, wanted)
            values |= {m: more.pop(prefix + m) for m in metrics if m not in wanted}
            row |= {prefix + metric: values[metric] for metric in metrics}
            notes += [f"{side}: {message}" for message in heard]
            heard.clear()
    return row | more | {"note": "; ".join(notes)}


@contextlib.contextmanager
def _warnings_of_metrics():
    """Collect what the metrics say of clips that they cannot judge."""
    heard = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())
    logger = logging.getLogger("lafufu_sb.evaluation.metrics")
    logger.addHandler(handler)
    try:
        yield heard
    finally:
        logger.removeHandler(handler)


def measure_files(clip, sample_rate, metrics):
    """Row of a clip from its files; one that fails says so instead of raising.

    Arguments
    ---------
    clip : ClipFiles
        What to read.
    sample_rate : int
        Hz that all are compared at.
    metrics : sequence of str
        See ``measure_clip``.

    Returns
    -------
    dict
    """
    try:
        signals = _read_signals(clip, sample_rate)
        return measure_clip(clip.name, signals, sample_rate, metrics, **clip.more)
    except (OSError, ValueError, RuntimeError) as error:
        reason = clip.more.get("note") or f"{type(error).__name__}: {error}"
    row = {"name": clip.name, "seconds": math.nan} | dict.fromkeys(metrics, math.nan)
    return row | clip.more | {"note": " ".join(reason.split())}


def _read_signals(clip, sample_rate):
    if clip.restored is None:
        raise FileNotFoundError("there is no restored file")
    signals = {
        side: read_wav(path, sample_rate).numpy()
        for side in SIDES
        if (path := getattr(clip, side)) is not None
    }
    seconds = {side: len(signal) / sample_rate for side, signal in signals.items()}
    shortest, longest = min(seconds.values()), max(seconds.values())
    if shortest == 0 or longest - shortest > HOP_SECONDS:
        shown = ", ".join(f"{side} {length:.3f} s" for side, length in seconds.items())
        raise ValueError(f"the files do not belong together: {shown}")
    samples = min(map(len, signals.values()))
    return {side: signal[:samples] for side, signal in signals.items()}


def measure_all(clips, sample_rate, metrics, workers=1):
    """Rows of many clips, with a progress bar.

    Arguments
    ---------
    clips : list of ClipFiles
        What to measure.
    sample_rate : int
        Hz.
    metrics : sequence of str
        See ``measure_clip``.
    workers : int
        Processes that measure, at most; with one, or few clips, it is this one.

    Returns
    -------
    list of dict
        In the order of ``clips``, the same for any number of workers.
    """
    work = partial(measure_files, sample_rate=sample_rate, metrics=tuple(metrics))
    bar = partial(tqdm, total=len(clips), desc="measured", unit="clip", disable=None)
    workers = min(workers, len(clips) // CLIPS_PER_WORKER)
    if workers <= 1:
        return [work(clip) for clip in bar(clips)]
    # Fresh processes: a fork of one with threads or an accelerator may hang.
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(1,),
    ) as pool:
        return list(bar(pool.map(work, clips)))


def summarise_rows(rows):
    """Mean, deviation and counts of each number, and the notes by name.

    Returns
    -------
    dict
        As ``lafufu_sb.evaluation.metrics.summarise``, and ``notes``, {name: note} of the clips
        that have one.
    """
    notes = {row["name"]: row["note"] for row in rows if row.get("note")}
    return summarise(rows) | {"notes": notes}


def write_rows(folder, rows):
    """Write ``clips.csv`` and ``summary.json``, each whole or not at all.

    Arguments
    ---------
    folder : str or Path
        Made if it is missing.
    rows : list of dict
        See ``measure_clip``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    columns = dict.fromkeys(key for row in rows for key in row)
    columns = [key for key in columns if key != "note"] + ["note"]
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    summary = json.dumps(summarise_rows(rows), indent=1)
    for name, text in ((CLIPS, table.getvalue()), (SUMMARY, summary)):
        with written_whole(folder / name) as temporary:
            temporary.write_text(text)


def read_rows(folder):
    """Rows that ``write_rows`` wrote, numbers as numbers.

    Raises
    ------
    FileNotFoundError
        If the folder has none.
    """
    path = Path(folder) / CLIPS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {CLIPS}: `lafufu evaluate` writes it")
    with open(path, newline="") as file:
        return [
            {k: v if k in TEXT else float(v) for k, v in row.items() if v or k in TEXT}
            for row in csv.DictReader(file)
        ]


class ClipReport:
    """Metrics of clips that were restored a moment ago.

    Arguments
    ---------
    metrics : sequence of str
        Names for ``lafufu_sb.evaluation.metrics.evaluate``.
    sample_rate : int
        Hz.

    Example
    -------
    >>> report = ClipReport(["si_sdr"], 48000)
    >>> clean = numpy.sin(numpy.arange(4800) / 10)
    >>> report.add("a", clean + 0.1, clean + 0.01, clean)
    >>> len(report), round(report.means()["si_sdr"])
    (1, 37)
    """

    def __init__(self, metrics, sample_rate):
        self.metrics = tuple(metrics)
        self.sample_rate = sample_rate
        self.rows = []
        self.first = None

    def __len__(self):
        return len(self.rows)

    def add(self, name, distorted, restored, clean, **more):
        """Measure a clip.

        Arguments
        ---------
        name : str
            Of the clip.
        distorted, restored, clean : array or torch.Tensor
            (time,) of equal length.
        **more
            Further columns, such as the real-time factor.
        """
        signals = {
            side: numpy.asarray(signal)
            for side, signal in zip(SIDES, (distorted, restored, clean), strict=True)
        }
        row = measure_clip(name, signals, self.sample_rate, self.metrics, **more)
        self.rows.append(row)
        if self.first is None:
            self.first = (str(name).replace("/", "_"), signals)

    def means(self):
        """Mean of each metric of the restored clips, plain floats."""
        summary = summarise(self.rows)
        return {m: summary[m]["mean"] for m in self.metrics if m in summary}

    def first_figure(self):
        """Spectrograms of the first clip, a matplotlib figure."""
        name, signals = self.first
        return spectrogram_figure(signals, self.sample_rate, title=name)

    def save_first(self, folder, filename):
        """Write the spectrograms of the first clip as a PNG."""
        name, signals = self.first
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_spectrogram_png(folder / filename, signals, self.sample_rate, title=name)
