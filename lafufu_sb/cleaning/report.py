"""The report of a cleaning: a CSV of all files, and a page of HTML."""

import base64
import csv
import html
import io

from lafufu_sb.cleaning.opinions import OPINIONS
from lafufu_sb.evaluation.metrics import summarise

CSV_NAME = "cleaning_report.csv"
PAGE_NAME = "cleaning_report.html"

COLUMNS = {  # of the CSV, with the decimals of their numbers
    "source": None,
    "target": None,
    "decision": None,
    "reason": None,
    "seconds": 3,
    "channels": None,
    "sample_rate": None,
    "rtf": 4,
    "snr": 2,
    "dnsmos_before": 3,
    "dnsmos_after": 3,
    "dnsmos_p808_before": 3,
    "dnsmos_p808_after": 3,
    "distillmos_before": 3,
    "distillmos_after": 3,
    "speech_loss": 4,
    "character_error": 4,
    "speaker_cosine": 4,
    "gain_db": 2,
}
_LISTED = 200  # largest number of files in a list of the page

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:62em;padding:0 1em}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:left;
border-bottom:1px solid #ddd;vertical-align:top}td.n{text-align:right}
img{max-width:100%}
"""


def write_csv(path, rows, columns=COLUMNS):
    """Write a line per file; cells without a measurement are empty.

    Arguments
    ---------
    path : Path
        The file.
    rows : sequence of dict
        Journal rows in the order of the plan.
    columns : dict of str to (int or None)
        Keys of the rows to the decimals of their numbers.
    """
    # File names are bytes in any encoding.
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(
                _cell(row.get(name), decimals) for name, decimals in columns.items()
            )


def write_page(path, rows, title, facts):
    """Write a summary with plots as one self-contained page.

    Arguments
    ---------
    path : Path
        The file.
    rows : sequence of dict
        Journal rows.
    title : str
        Name of the corpus.
    facts : dict of str to object
        Settings to list.
    """
    parts = [
        f"<h1>Cleaning of {_text(title)}</h1>",
        _table(["", "files", "hours"], _totals(rows)),
        _table(["mean over files", "before", "after"], _means(rows)),
    ]
    parts += [f'<img src="data:image/png;base64,{p}" alt="">' for p in _plots(rows)]
    parts.append("<h2>Settings</h2>" + _table([], facts.items()))
    for decision, heading in (("failed", "Could not be read"), ("kept", "Kept")):
        chosen = [row for row in rows if row["decision"] == decision]
        if chosen:
            parts.append(f"<h2>{heading}: {len(chosen)}</h2>")
            listed = [(row["source"], row["reason"]) for row in chosen[:_LISTED]]
            parts.append(_table(["file", "reason"], listed))
        if len(chosen) > _LISTED:
            parts.append(f"<p>{len(chosen) - _LISTED} more in {CSV_NAME}</p>")
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_text(title)}'
        f"</title><style>{_STYLE}</style>{''.join(parts)}</html>\n"
    )
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


def count(rows, decisions=("restored", "kept", "failed")):
    """Number of files by decision.

    Example
    -------
    >>> count([{"decision": "kept"}, {"decision": "restored"}])
    {'restored': 1, 'kept': 1, 'failed': 0}
    """
    found = [row["decision"] for row in rows]
    return {name: found.count(name) for name in decisions}


def _totals(rows):
    for decision, files in count(rows).items():
        seconds = sum(r["seconds"] for r in rows if r["decision"] == decision)
        yield decision, files, f"{seconds / 3600:.2f}"


def _means(rows):
    judged = [row for row in rows if row["decision"] != "failed"]
    for name, label in OPINIONS.items():
        sides = f"{name}_before", f"{name}_after"
        scored = [{side: row[side] for side in sides} for row in _with(judged, *sides)]
        if scored:
            means = summarise(scored)
            yield label, *(f"{means[side]['mean']:.2f}" for side in sides)
    for name, label in (("snr", "estimated SNR, dB"), ("rtf", "real-time factor")):
        values = summarise([{name: row[name]} for row in _with(judged, name)])
        if values:
            yield label, f"{values[name]['mean']:.3g}", ""


def _with(rows, *names):
    return [row for row in rows if all(row.get(name) is not None for name in names)]


def _plots(rows):
    """Plots of opinions, estimated SNR and lengths, each a PNG in base64."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    opinion, snr, lengths = figure.subplots(1, 3)
    for decision, colour in (("restored", "tab:blue"), ("kept", "tab:orange")):
        chosen = [row for row in rows if row["decision"] == decision]
        judged = _with(chosen, "dnsmos_before", "dnsmos_after")
        pairs = [(row["dnsmos_before"], row["dnsmos_after"]) for row in judged]
        if pairs:
            opinion.scatter(*zip(*pairs, strict=True), 6, color=colour, label=decision)
        values = [row["snr"] for row in _with(chosen, "snr")]
        snr.hist(values, 30, color=colour, alpha=0.6, label=decision)
    opinion.plot([1, 5], [1, 5], color="0.7", linewidth=1)
    opinion.set(xlabel="DNSMOS ovr before", ylabel="after", xlim=(1, 5), ylim=(1, 5))
    snr.set(xlabel="estimated SNR (dB)", ylabel="files")
    snr.legend()
    lengths.hist([row["seconds"] for row in rows], 30, color="0.5")
    lengths.set(xlabel="length (s)", ylabel="files")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    yield base64.b64encode(buffer.getvalue()).decode()


def _table(header, rows):
    lines = ["".join(f"<th>{_text(name)}</th>" for name in header)] if header else []
    for row in rows:
        cells = (
            f'<td class="n">{cell}</td>' if i and _number(cell) else _plain(cell)
            for i, cell in enumerate(row)
        )
        lines.append("".join(cells))
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _number(cell):
    return str(cell).replace(".", "", 1).replace("-", "", 1).isdigit()


def _plain(cell):
    return f"<td>{_text(cell)}</td>"


def _text(value):
    return html.escape(str(value))


def _cell(value, decimals):
    if value is None:
        return ""
    return f"{value:.{decimals}f}" if decimals is not None else value
