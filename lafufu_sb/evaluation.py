"""Measured restorations, clip by clip, and what is written of them."""

import csv
import io
import json
from pathlib import Path

import numpy

from .figures import save_spectrogram_png, spectrogram_figure
from .files import written_whole
from .metrics import evaluate, summarise

SIDES = ("distorted", "restored", "clean")


class ClipReport:
    """Metrics of restored clips against their clean versions.

    Arguments
    ---------
    metrics : sequence of str
        Names for ``lafufu_sb.metrics.evaluate``.
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
        row = {"name": name, "seconds": len(signals["clean"]) / self.sample_rate}
        for prefix, side in (("before_", "distorted"), ("", "restored")):
            values = evaluate(
                signals[side], signals["clean"], self.sample_rate, self.metrics
            )
            row |= {prefix + metric: value for metric, value in values.items()}
        self.rows.append(row | more)
        if self.first is None:
            self.first = (str(name).replace("/", "_"), signals)

    def summary(self):
        """Mean, standard deviation and counts, see ``lafufu_sb.metrics.summarise``."""
        return summarise(
            [{k: v for k, v in row.items() if k != "name"} for row in self.rows]
        )

    def means(self):
        """Mean of each metric of the restored clips, plain floats."""
        summary = self.summary()
        return {m: summary[m]["mean"] for m in self.metrics if m in summary}

    def write(self, folder):
        """Write ``clips.csv`` and ``summary.json``, each whole or not at all."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        table = io.StringIO()
        writer = csv.DictWriter(table, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        _replace(folder / "clips.csv", table.getvalue())
        _replace(folder / "summary.json", json.dumps(self.summary(), indent=1))

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


def _replace(path, text):
    with written_whole(path) as temporary:
        temporary.write_text(text)
