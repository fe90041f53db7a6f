"""Tables and plot of a study of schedules."""

import csv
import io
import math
from pathlib import Path

from lafufu_sb.files import written_whole

STEPS = "num_steps"
TITLES = {"si_sdr": "SI-SDR, dB", "pesq": "PESQ-WB", "estoi": "ESTOI"}
TITLES |= {"dnsmos": "DNSMOS ovr", "lsd": "LSD", "rtf": "Real-time factor"}


def family(row):
    """What a row has in common with those that differ in their number of steps.

    Example
    -------
    >>> family({"sampler": "a", "options": {"num_steps": 3, "spacing": "uniform"}})
    'a spacing=uniform'
    """
    options = row["options"].items()
    return " ".join([row["sampler"], *(f"{k}={v}" for k, v in options if k != STEPS)])


def write_csv(path, rows, metrics):
    """One line a configuration: cost, and mean and deviation of each metric."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    measured = [column for m in metrics for column in (m, f"{m}_std", f"{m}_failed")]
    writer.writerow(["model", "family", STEPS, "calls", "rtf", *measured])
    for row in rows:
        values = [
            row["summary"][m][part]
            for m in metrics
            for part in ("mean", "std", "failed")
        ]
        steps = row["options"].get(STEPS, "")
        cost = [steps, row["calls"], row["rtf"]]
        writer.writerow([row["model"], family(row), *cost, *values])
    with written_whole(path) as temporary:
        temporary.write_text(table.getvalue())


def tables(rows, inputs, metrics):
    """Markdown: per metric a table of model and family against the number of calls."""
    calls = sorted({row["calls"] for row in rows}, reverse=True)
    for metric in [*metrics, "rtf"]:
        before = f" (input {inputs[metric]['mean']:.2f})" if metric in inputs else ""
        yield f"\n## {TITLES.get(metric, metric)}{before}\n"
        yield f"| model | sampler | {' | '.join(map(str, calls))} |"
        yield f"|:--|:--|{'--:|' * len(calls)}"
        for (model, name), line in _lines(rows).items():
            cells = [_value(line[c], metric) if c in line else None for c in calls]
            shown = ["" if c is None else f"{c:.2f}" for c in cells]
            yield f"| {model} | `{name}` | {' | '.join(shown)} |"


def _lines(rows):
    """Rows by (model, family), then by calls."""
    lines = {}
    for row in rows:
        lines.setdefault((row["model"], family(row)), {})[row["calls"]] = row
    return lines


def _value(row, metric):
    return row["rtf"] if metric == "rtf" else row["summary"][metric]["mean"]


def plot(rows, inputs, metrics):
    """Each metric against the number of calls, a line a model and family."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = _lines(rows)
    rows_of_legend = math.ceil(len(lines) / 2)
    height = 3.5 + 0.2 * rows_of_legend
    panels = [*metrics, "rtf"]
    figure = Figure(figsize=(3.4 * len(panels), height), layout="constrained")
    FigureCanvasAgg(figure)
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
        panel.set_title(TITLES.get(metric, metric), fontsize=10)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        fontsize=7,
    )
    return figure


def write_report(folder, rows, inputs, metrics, about):
    """Write schedules.csv, .md and .png, each whole or not at all.

    Arguments
    ---------
    folder : str or Path
        To write into.
    rows : iterable of dict
        As ``Study.run`` yields them.
    inputs : dict
        As ``Study.inputs`` gives it.
    metrics : list of str
        Columns.
    about : str
        What stands above the tables.

    Returns
    -------
    str
        The Markdown.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "schedules.csv", rows, metrics)
    text = "\n".join([about, *tables(rows, inputs, metrics)])
    with written_whole(folder / "schedules.md") as temporary:
        temporary.write_text(f"{text}\n")
    with written_whole(folder / "schedules.png") as temporary:
        plot(rows, inputs, metrics).savefig(temporary, format="png", dpi=120)
    return text
