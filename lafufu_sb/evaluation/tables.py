"""Tables of results, in Markdown and in LaTeX."""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from lafufu_sb.errors import printable
from lafufu_sb.files import file_stem
from lafufu_sb.restoration.timing import PARTS


class Column(NamedTuple):
    """How a metric is shown: head, digits, and max or min for the better value."""

    head: str
    digits: int
    better: Callable


COLUMNS = {
    "si_sdr": Column("SI-SDR, dB", 2, max),
    "pesq": Column("PESQ-WB", 2, max),
    "estoi": Column("ESTOI", 3, max),
    "dnsmos": Column("DNSMOS", 2, max),
    "dnsmos_sig": Column("DNSMOS sig", 2, max),
    "dnsmos_bak": Column("DNSMOS bak", 2, max),
    "dnsmos_p808": Column("DNSMOS P.808", 2, max),
    "distillmos": Column("DistillMOS", 2, max),
    "lsd": Column("LSD", 2, min),
    "rtf": Column("RTF", 3, min),
}
INCOMPLETE = " †"  # after a system whose means are over some of the clips only
UNPROCESSED = {"denoising": "Noisy", "dereverberation": "Reverberant"}


class Cell(NamedTuple):
    """Numbers as text: mean, deviation over clips, deviation over runs."""

    mean: str
    std: str
    spread: str | None
    bold: bool = False


class Table(NamedTuple):
    """A table for any output format; ``rows`` hold ``Cell`` and str."""

    name: str
    caption: str
    heads: list
    rows: list


def quality_table(results):
    """Quality of the systems on a corpus, the unprocessed recordings first."""
    task, corpus = results[0].place
    rows = [(result.title, result.numbers) for result in results]
    before = next((r.before for r in results if r.before), None)
    if before:
        rows.insert(0, (UNPROCESSED.get(task, "Unprocessed"), before))
    return Table(
        f"{task}_{corpus}",
        f"{task.capitalize()}, {corpus}",
        *_numbers_of(rows, rows[bool(before) :], one_machine(results)),
    )


def ablation_table(full, ablations):
    """A system (or None) and the same system without one of its parts."""
    results = [full, *ablations] if full else ablations
    rows = [(result.title, result.numbers) for result in results]
    name = ablations[0].ablation_of
    caption = f"Ablation, {ablations[0].facts['corpus']}"
    numbers = _numbers_of(rows, rows, one_machine(results))
    return Table(f"ablation_{name}", caption, *numbers)


def cost_table(results):
    """Size, calls, real-time factors and device; None if nothing was timed."""
    timed = [result for result in results if "rtf" in result.numbers]
    if not timed:
        return None
    parts = [p for p in PARTS if any(f"rtf_{p}" in r.numbers for r in timed)]
    heads = ["", "parameters, M", "calls", "RTF"]
    heads += [f"of it {part.replace('_', '-')}" for part in parts]
    heads += ["sampling", "precision", "device"]
    rows = []
    for result in timed:
        facts, numbers = result.facts, result.numbers
        factors = ["rtf", *(f"rtf_{part}" for part in parts)]
        known = [numbers[f].mean if f in numbers else math.nan for f in factors]
        size = facts["parameters"] / 1e6 if "parameters" in facts else math.nan
        calls, phase_averages = facts.get("calls", ""), facts.get("phase_averages", 1)
        calls = f"{calls} × {phase_averages}" if phase_averages > 1 else str(calls)
        row = [result.title, f"{size:.2f}", calls]
        row += [f"{value:.3f}" for value in known]
        row += [facts.get(name, "") for name in ("sampling", "precision")]
        row += [f"{facts.get('device', '')}, threads: {facts.get('threads', '')}"]
        rows.append(row)
    task, corpus = timed[0].place
    return Table(f"cost_{task}_{corpus}", f"Cost, {corpus}", heads, rows)


def one_machine(results):
    """Whether everything was timed on the same device with as many threads."""
    timed = [result for result in results if "rtf" in result.numbers]
    return len(set().union(*(result.machines for result in timed))) <= 1


def _numbers_of(rows, contest, comparable_times):
    """Heads and rows of cells; the best mean of ``contest`` in each column is bold."""
    columns = [c for c in COLUMNS if any(c in numbers for _, numbers in rows)]
    best = {name: _best(name, [numbers for _, numbers in contest]) for name in columns}
    if not comparable_times:
        best["rtf"] = None
    contenders = {title for title, _ in contest}
    cells = []
    for title, numbers in rows:
        line = [title + (INCOMPLETE if _incomplete(numbers, columns) else "")]
        for name in columns:
            number = numbers.get(name)
            bold = title in contenders and number is not None and number is best[name]
            line.append(_cell(number, COLUMNS[name].digits, bold))
        cells.append(line)
    return ["", *(COLUMNS[name].head for name in columns)], cells


def _best(name, contest):
    """The best mean over all clips in a column; None where it has no rival."""
    numbers = [n[name] for n in contest if name in n and not n[name].failed]
    if len(numbers) < 2:
        return None
    return COLUMNS[name].better(numbers, key=lambda number: number.mean)


def _incomplete(numbers, columns):
    return any(numbers[name].failed for name in columns if name in numbers)


def _cell(number, digits, bold=False):
    if number is None or not math.isfinite(number.mean):
        return "-"
    spread = None if number.spread is None else f"{number.spread:.{digits}f}"
    return Cell(f"{number.mean:.{digits}f}", f"{number.std:.{digits}f}", spread, bold)


def number_text(number, digits):
    """A number as plain text: mean, deviation over clips, deviation over runs.

    Example
    -------
    >>> from lafufu_sb.evaluation.results import Number
    >>> number_text(Number(8.291, 5.8, 0.051, 0), 2)
    '8.29 ± 5.80 (0.05)'
    """
    return _markdown_cell(_cell(number, digits))


def markdown_text(text):
    r"""Text that Markdown shows as it is.

    Example
    -------
    >>> print(markdown_text("a|b <img> [x]"))
    a\|b \<img\> \[x\]
    """
    return re.sub(r"([\\`*\[\]<>|&])", r"\\\1", printable(text))


def _markdown_cell(cell):
    if not isinstance(cell, Cell):
        return markdown_text(cell)
    mean = f"**{cell.mean}**" if cell.bold else cell.mean
    spread = "" if cell.spread is None else f" ({cell.spread})"
    return f"{mean} ± {cell.std}{spread}"


def markdown_table(header, rows):
    """Markdown table: the first column to the left, the others to the right.

    Example
    -------
    >>> print(markdown_table(["model", "s"], [["a", "1.0"]]))
    | model | s |
    |:--|--:|
    | a | 1.0 |
    """
    head, *lines = (f"| {' | '.join(cells)} |" for cells in (header, *rows))
    return "\n".join([head, "|:--|" + "--:|" * (len(header) - 1), *lines])


def to_markdown(table):
    """A Markdown table below its caption."""
    rows = [list(map(_markdown_cell, row)) for row in table.rows]
    heads = list(map(markdown_text, table.heads))
    return f"**{markdown_text(table.caption)}**\n\n{markdown_table(heads, rows)}"


def to_latex(table):
    r"""A LaTeX ``table`` for the package booktabs."""
    heads = " & ".join(map(_latex_text, table.heads))
    lines = [
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{_latex_text(table.caption)}}}",
        f"  \\label{{tab:{file_stem(table.name)}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(table.heads) - 1)}}}",
        r"    \toprule",
        f"    {heads} \\\\",
        r"    \midrule",
        *(f"    {' & '.join(map(_latex_cell, row))} \\\\" for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_cell(cell):
    if not isinstance(cell, Cell):
        return "--" if cell == "-" else _latex_text(cell)
    mean = f"\\mathbf{{{cell.mean}}}" if cell.bold else cell.mean
    spread = "" if cell.spread is None else f"\\,({cell.spread})"
    return f"${mean} \\pm {cell.std}{spread}$"


_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def _latex_text(text):
    text = printable(text).translate(str.maketrans(_LATEX))
    return text.replace(INCOMPLETE, r"\,\textdagger{}")
