"""``lafufu report``: the paper's tables and plots from result folders."""

from pathlib import Path

from lafufu_sb.errors import UsageError, printable
from lafufu_sb.evaluation.figures import save_png
from lafufu_sb.evaluation.pairing import grouped, paired_table, worse_table
from lafufu_sb.evaluation.plots import draw_quality_over_rtf
from lafufu_sb.evaluation.results import read_results
from lafufu_sb.evaluation.systems import read_naming
from lafufu_sb.evaluation.tables import (
    COLUMNS,
    ablation_table,
    cost_table,
    markdown_text,
    one_machine,
    quality_table,
    to_latex,
    to_markdown,
)
from lafufu_sb.files import file_stem, written_whole

REPORT = "report.md"


def write_report(folders, output, systems=(), reference=None, groups=None):
    """Write tables in Markdown and LaTeX, and plots.

    Arguments
    ---------
    folders : list of str or Path
        See ``read_results``, which raises FileNotFoundError or UsageError.
    output : str or Path
        Gets ``report.md``, and for each task and corpus the tables (.tex) and a plot of
        quality against real-time factor (.png).
    systems : sequence of str or Path
        Files of titles and families, see ``read_naming``.
    reference : str, optional
        System to which the others are compared clip by clip, see ``paired_table``;
        with it, clips made worse are counted too.
    groups : dict of str to str, optional
        Tables for these groups of clips, see ``grouped``; by default one for all.

    Returns
    -------
    list of Path
        The files written.
    """
    naming = read_naming(*systems)
    results = read_results(folders, naming)
    if groups:
        results = grouped(results, groups)
        if not results:
            raise UsageError(f"no clip belongs to a group: {', '.join(groups)}")
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    sections, written = ["# Evaluation", _legend(results)], []
    for place in dict.fromkeys(result.place for result in results):
        here = [result for result in results if result.place == place]
        figure = draw_quality_over_rtf(whole_systems(here), naming.families)
        sections.append(f"## {markdown_text(f'{place[0].capitalize()}, {place[1]}')}")
        for table in tables_of(here, reference):
            written.append(
                _write(output / f"{file_stem(table.name)}.tex", to_latex(table))
            )
            sections.append(to_markdown(table))
        if figure is not None:
            path = save_png(figure, output / f"{file_stem('_'.join(place))}.png")
            written.append(path)
            sections.append(f"![quality against real-time factor]({path.name})")
        sections += _conditions(here)
    text = "\n\n".join(sections) + "\n"
    return [_write(output / REPORT, text), *written]


def whole_systems(results):
    """The systems that are not ablations, or all if every one is."""
    return [r for r in results if r.ablation_of is None] or results


def tables_of(results, reference=None):
    """Tables of one task and corpus: quality, comparisons, cost, ablations."""
    yield quality_table(whole_systems(results))
    if reference is not None:
        yield paired_table(whole_systems(results), reference)
        worse = worse_table(whole_systems(results))
        if worse is not None:
            yield worse
    cost = cost_table(whole_systems(results))
    if cost is not None:
        yield cost
    ablations = [result for result in results if result.ablation_of is not None]
    for name in dict.fromkeys(result.ablation_of for result in ablations):
        full = next((r for r in results if r.system == name), None)
        yield ablation_table(full, [r for r in ablations if r.ablation_of == name])


def _legend(results):
    several = any(len(result.runs) > 1 for result in results)
    text = "Mean ± standard deviation over clips"
    if several:
        text += (
            ", both as means over runs; in brackets the standard deviation over runs"
        )
    return f"{text}. RTF: seconds of computation per second of audio."


def _conditions(results):
    """Numbers of clips and runs, and the clips that could not be judged."""
    lines = []
    if not one_machine(results):
        lines.append("- Timed on several machines: the RTFs are not comparable.")
    for result in results:
        title = markdown_text(result.title)
        line = f"{title}: {len(result.clips)} clips, {len(result.runs)} run"
        line += "s" if len(result.runs) > 1 else ""
        numbers = result.numbers
        failed = {c: numbers[c].failed for c in COLUMNS if c in numbers}
        failed = {column: count for column, count in failed.items() if count}
        if failed:
            counts = ", ".join(f"{column} {count}" for column, count in failed.items())
            line += f" († means over fewer clips; clips without a value: {counts})"
        lines.append(f"- {line}")
        lines += [
            f"  - `{printable(clip).replace('`', chr(39))}`: {markdown_text(note)}"
            for clip, note in result.notes.items()
        ]
    return ["\n".join(lines)]


def _write(path, text):
    with written_whole(path) as temporary:
        temporary.write_text(text)
    return path
