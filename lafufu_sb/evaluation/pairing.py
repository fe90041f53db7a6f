"""Systems compared clip by clip: differences, clips made worse, groups of clips."""

import fnmatch
import math
import statistics
from dataclasses import replace

from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.clips import BEFORE
from lafufu_sb.evaluation.tables import COLUMNS, Cell, Table

ERRORS = 2.0  # standard errors by which a difference counts


def paired_differences(rows, reference, column):
    """Mean difference of a metric over the clips that both systems have a value for.

    Arguments
    ---------
    rows, reference : list of list of dict
        Rows of the runs of two systems on the same clips, see ``Result.runs``. A clip's
        value is its mean over the runs.
    column : str
        Name of the metric.

    Returns
    -------
    mean, error : float
        The standard error is that of the mean over clips (n - 1); both are NaN with
        fewer than two clips.

    Example
    -------
    >>> system = [[{"name": "a", "pesq": 2.5}, {"name": "b", "pesq": 2.0}]]
    >>> reference = [[{"name": "a", "pesq": 2.0}, {"name": "b", "pesq": 1.7}]]
    >>> mean, error = paired_differences(system, reference, "pesq")
    >>> round(mean, 2), round(error, 2)
    (0.4, 0.1)
    """
    ours, theirs = _by_clip(rows, column), _by_clip(reference, column)
    differences = [ours[name] - theirs[name] for name in ours if name in theirs]
    if len(differences) < 2:
        return math.nan, math.nan
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.fmean(differences), error


def share_made_worse(rows, column):
    """Share of the clips whose value is worse than that of their input, or NaN.

    Example
    -------
    >>> share_made_worse([[{"name": "a", "pesq": 2.0, "before_pesq": 2.1}]], "pesq")
    1.0
    """
    after, before = _by_clip(rows, column), _by_clip(rows, BEFORE + column)
    clips = after.keys() & before.keys()
    if not clips:
        return math.nan
    better = COLUMNS[column].better
    worse = [n for n in clips if better(after[n], before[n]) != after[n]]
    return len(worse) / len(clips)


def _by_clip(runs, column):
    """{clip: mean over the runs}, without clips that have no finite value."""
    values = {}
    for row in (row for rows in runs for row in rows):
        values.setdefault(row["name"], []).append(row.get(column, math.nan))
    means = {name: statistics.fmean(numbers) for name, numbers in values.items()}
    return {name: mean for name, mean in means.items() if math.isfinite(mean)}


def paired_table(results, reference):
    """Differences of all systems to one of them, clip by clip.

    Arguments
    ---------
    results : list of Result
        Of one task and corpus.
    reference : str
        System or title of one of them.

    Returns
    -------
    Table
        Cells are mean difference and standard error, bold where the system is better by
        more than two standard errors.

    Raises
    ------
    UsageError
        If there is no such system.
    """
    other = next((r for r in results if reference in (r.system, r.title)), None)
    if other is None:
        raise UsageError(
            f"there is no system {reference} to compare with: choose from "
            f"{', '.join(result.system for result in results)}"
        )
    task, corpus = other.place
    columns = [c for c in COLUMNS if c != "rtf" and c in other.numbers]
    rows = []
    for result in results:
        if result is not other:
            differences = [_difference(result, other, column) for column in columns]
            rows.append([result.title, *differences])
    return Table(
        f"paired_{task}_{corpus}",
        f"Difference to {other.title} on the same clips, {corpus}: mean ± standard "
        "error; bold if better by more than two",
        ["", *(COLUMNS[column].head for column in columns)],
        rows,
    )


def _difference(result, other, column):
    mean, error = paired_differences(result.runs, other.runs, column)
    if not math.isfinite(mean):
        return "-"
    digits = COLUMNS[column].digits
    gain = mean * COLUMNS[column].better(1, -1)
    shown = f"{mean:+.{digits}f}"
    return Cell(shown, f"{error:.{digits}f}", None, gain > ERRORS * error)


def worse_table(results):
    """Share of the clips that each system made worse; None without inputs."""
    columns = [c for c in COLUMNS if any(c in r.before for r in results)]
    if not columns:
        return None
    rows = []
    for result in results:
        shares = [share_made_worse(result.runs, column) for column in columns]
        shown = [f"{share:.0%}" if math.isfinite(share) else "-" for share in shares]
        rows.append([result.title, *shown])
    task, corpus = results[0].place
    return Table(
        f"worse_{task}_{corpus}",
        f"Clips worse than their input, {corpus}",
        ["", *(COLUMNS[column].head for column in columns)],
        rows,
    )


def grouped(results, groups):
    """Results on groups of the clips, in place of results on all of them.

    Arguments
    ---------
    results : list of Result
        Results.
    groups : dict of str to str
        Name of a group -> glob on the ids of its clips. A clip belongs to the first
        group that matches; clips that match none are left out.

    Returns
    -------
    list of Result
        Those of the first group, then those of the second one, and so on, without
        groups that have no clips. The name of the group is part of their corpus.
    """
    found = []
    for group in groups:
        for result in results:
            rows = [
                [row for row in run if _group_of(row["name"], groups) == group]
                for run in result.runs
            ]
            if rows[0]:
                corpus = f"{result.facts['corpus']}, {group}"
                facts = result.facts | {"corpus": corpus}
                found.append(replace(result, facts=facts, runs=rows))
    return found


def _group_of(name, groups):
    matching = (group for group, glob in groups.items() if fnmatch.fnmatch(name, glob))
    return next(matching, None)
