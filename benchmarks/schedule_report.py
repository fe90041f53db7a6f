"""Tables and plot of a study of schedules."""

import csv
import io
import math

from common import write_text
from lafufu_sb.evaluation.figures import new_figure, save_png
from lafufu_sb.evaluation.tables import COLUMNS, markdown_table

STEPS = "num_steps"


def family(row):
    """The part of a row that does not depend on the number of steps.

    Example
    -------
    >>> family({"sampler": "a", "options": {"num_steps": 3, "spacing": "uniform"}})
    'a spacing=uniform'
    """
    options = row["options"].items()
    return " ".join([row["sampler"], *(f"{k}={v}" for k, v in options if k != STEPS)])


def write_csv(path, rows, metrics):
    """One line per configuration: cost, mean and deviation of each metric."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    measured = [column for m in metrics for column in (m, f"{m}_std", f"{m}_failed")]
    writer.writerow(["model", "family", STEPS, "calls", "rtf", *measured])
    for row in rows:
        found = [row["summary"][m] for m in metrics]
        values = [part[key] for part in found for key in ("mean", "std", "failed")]
        steps = row["options"].get(STEPS, "")
        cost = [steps, row["calls"], row["rtf"]]
        writer.writerow([row["model"], family(row), *cost, *values])
    write_text(path, table.getvalue())


def tables(rows, inputs, metrics):
    """Markdown: for each metric a table of model and family by number of calls."""
    calls = sorted({row["calls"] for row in rows}, reverse=True)
    for metric in [*metrics, "rtf"]:
        before = f" (input {inputs[metric]['mean']:.2f})" if metric in inputs else ""
        yield f"\n## {_title(metric)}{before}\n"
        cells = [
            [model, f"`{name}`"]
            + [f"{_value(line[c], metric):.2f}" if c in line else "" for c in calls]
            for (model, name), line in _lines(rows).items()
        ]
        yield markdown_table(["model", "sampler", *map(str, calls)], cells)


def _title(metric):
    return COLUMNS[metric].head if metric in COLUMNS else metric


def _lines(rows):
    """Rows by (model, family), then by calls."""
    lines = {}
    for row in rows:
        lines.setdefault((row["model"], family(row)), {})[row["calls"]] = row
    return lines


def _value(row, metric):
    return row["rtf"] if metric == "rtf" else row["summary"][metric]["mean"]


def plot(rows, inputs, metrics):
    """Each metric against the number of calls, a line per model and family."""
    from matplotlib import colormaps

    lines, panels = _lines(rows), [*metrics, "rtf"]
    height = 3.5 + 0.2 * math.ceil(len(lines) / 2)
    figure = new_figure(3.4 * len(panels), height)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    colours = colormaps["turbo"]
    for panel, metric in zip(axes, panels, strict=True):
        for i, ((model, name), line) in enumerate(lines.items()):
            calls = sorted(line)
            panel.plot(
                calls,
                [_value(line[c], metric) for c in calls],
                marker="osD^vP*X"[i % 8],
                markersize=4,
                color=colours((i + 0.5) / len(lines)),
                label=f"{model}: {name}",
            )
        if metric in inputs:
            panel.axhline(inputs[metric]["mean"], color="grey", linestyle=":")
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.set_xlabel("calls of the network", fontsize=9)
        panel.set_title(_title(metric), fontsize=10)
    entries = axes[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside lower center", ncols=2, fontsize=7)
    return figure


def write_report(folder, rows, inputs, metrics, about):
    """Write schedules.csv, .md and .png; returns the Markdown.

    Arguments
    ---------
    folder : Path
        To write into.
    rows : list of dict
        As ``Study.run`` yields them.
    inputs : dict
        As ``Study.inputs`` returns it.
    metrics : list of str
        Columns.
    about : str
        Text above the tables.
    """
    write_csv(folder / "schedules.csv", rows, metrics)
    text = "\n".join([about, *tables(rows, inputs, metrics)])
    write_text(folder / "schedules.md", f"{text}\n")
    save_png(plot(rows, inputs, metrics), folder / "schedules.png", dpi=120)
    return text
