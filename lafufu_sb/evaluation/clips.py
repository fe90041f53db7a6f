"""Measured clips: one row of numbers per clip, and the files that hold the rows."""

import csv
import io
import json
import math
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy
import torch
from tqdm import tqdm

from lafufu_sb.audio.files import read_recording
from lafufu_sb.audio.resampling import resample
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.figures import save_spectrogram_png, spectrogram_figure
from lafufu_sb.evaluation.metrics import evaluate, summarise
from lafufu_sb.files import written_whole

SIDES = ("distorted", "restored", "clean")
CLIPS, SUMMARY = "clips.csv", "summary.json"
TEXT = ("name", "note")  # columns that hold text
BEFORE = "before_"  # prefix of the metrics of the distorted side
TOLERANCE = 384 / 48000  # seconds by which the recordings of a clip may differ
CLIPS_PER_WORKER = 8  # starting a process takes longer than measuring fewer


class ClipFiles(NamedTuple):
    """Files of a clip to be measured.

    name : str
        Its id.
    distorted, restored, clean : Path or None
        Recordings. Without a distorted one the row has no columns "before_"; without a
        restored one the clip has failed.
    more : dict
        Further columns of its row.
    """

    name: str
    distorted: Path | None
    restored: Path | None
    clean: Path
    more: dict


def read_signal(path, sample_rate):
    """First channel of a recording, (time,) float32, at ``sample_rate``."""
    wavs, rate = read_recording(path)
    return resample(wavs[0], rate, sample_rate)


def measure_clip(name, signals, sample_rate, metrics, **more):
    """Row of a clip: its metrics, and a note where a metric could not judge it.

    Arguments
    ---------
    name : str
        Id of the clip.
    signals : dict of str to array or torch.Tensor
        "restored", "clean" and perhaps "distorted", (time,) of equal length.
    sample_rate : int
        Hz.
    metrics : sequence of str
        Names for ``lafufu_sb.evaluation.metrics.evaluate``.
    **more
        Further columns; known metrics of the distorted side are not measured again.

    Returns
    -------
    dict
        name, seconds, ``before_`` metrics, metrics, further columns, note.
    """
    row = {"name": name, "seconds": len(signals["clean"]) / sample_rate}
    notes = [more.pop("note", "")]
    for prefix, side in {BEFORE: "distorted", "": "restored"}.items():
        if side not in signals:
            continue
        known = {m: more.pop(prefix + m) for m in metrics if prefix + m in more}
        wanted = [metric for metric in metrics if metric not in known]
        found = evaluate(signals[side], signals["clean"], sample_rate, wanted)
        values = known | {metric: found[metric].value for metric in wanted}
        row |= {prefix + metric: values[metric] for metric in metrics}
        heard = dict.fromkeys(found[metric].note for metric in wanted)
        notes += [f"{side}: {note}" for note in heard if note]
    return row | more | {"note": "; ".join(filter(None, notes))}


def measure_files(clip, sample_rate, metrics):
    """Row of a clip from its ``ClipFiles``; a failure becomes the row's note."""
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
        side: read_signal(path, sample_rate).numpy()
        for side in SIDES
        if (path := getattr(clip, side)) is not None
    }
    seconds = {side: len(signal) / sample_rate for side, signal in signals.items()}
    shortest, longest = min(seconds.values()), max(seconds.values())
    if shortest == 0 or longest - shortest > TOLERANCE:
        shown = ", ".join(f"{side} {length:.3f} s" for side, length in seconds.items())
        raise UsageError(f"the files differ in length: {shown}")
    samples = min(map(len, signals.values()))
    return {side: signal[:samples] for side, signal in signals.items()}


def measure_all(clips, sample_rate, metrics, workers=1):
    """Rows of many ``ClipFiles``, in order and the same for any number of workers.

    ``workers`` is the largest number of processes; few clips are measured in this one.
    """
    work = partial(measure_files, sample_rate=sample_rate, metrics=tuple(metrics))
    bar = partial(tqdm, total=len(clips), desc="measured", unit="clip", disable=None)
    workers = min(workers, len(clips) // CLIPS_PER_WORKER)
    if workers <= 1:
        return [work(clip) for clip in bar(clips)]
    # Spawned: the fork of a process with threads or an accelerator may hang.
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(1,),
    ) as pool:
        return list(bar(pool.map(work, clips)))


def summarise_rows(rows):
    """``metrics.summarise`` of rows, and ``notes``, {clip: note}."""
    notes = {row["name"]: row["note"] for row in rows if row.get("note")}
    return summarise(rows) | {"notes": notes}


def write_rows(folder, rows):
    """Write ``clips.csv`` and ``summary.json`` into a folder, made if missing."""
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

    FileNotFoundError if there are none, UsageError if a cell holds no number.
    """
    path = Path(folder) / CLIPS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {CLIPS}: `lafufu evaluate` writes it")
    with open(path, newline="") as file:
        return [_read_row(path, row) for row in csv.DictReader(file)]


def _read_row(path, row):
    try:
        return {
            k: v if k in TEXT else float(v) for k, v in row.items() if v or k in TEXT
        }
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{path}, clip {row.get('name')}: {error}; evaluate the system again"
        ) from error


class ClipReport:
    """Measures clips right after their restoration; arguments as ``measure_clip``.

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
        """Measure a clip, (time,) of equal length; see ``measure_clip``."""
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
        save_spectrogram_png(
            Path(folder) / filename, signals, self.sample_rate, title=name
        )
