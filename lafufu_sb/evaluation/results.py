"""Result folders, the runs of each system joined."""

import json
import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.clips import BEFORE, read_rows, summarise_rows
from lafufu_sb.evaluation.runs import RESULT
from lafufu_sb.evaluation.systems import differences, names_apart, read_naming
from lafufu_sb.files import inside

# Where trainings leave their results, the later stage first.
IN_TRAINING = ("few_step_report", "report")
_TYPES = {"device": str, "threads": int, "recipe": dict, "phase_averages": int}
_TYPES |= {"parameters": int | float}


class Number(NamedTuple):
    """A column of a system, over its runs.

    mean : float
        Mean over runs of the mean over clips.
    std : float
        Mean over runs of the standard deviation over clips.
    spread : float or None
        Standard deviation over runs of the means over clips (n - 1); None for one run.
    failed : int
        Clips without a value, in all runs.
    """

    mean: float
    std: float
    spread: float | None
    failed: int


def over_runs(summaries):
    """Join the summaries (``summarise_rows``) of a system's runs; {column: Number}.

    Example
    -------
    >>> runs = [{"pesq": {"mean": m, "std": 0.5, "failed": 0}} for m in (2.0, 2.2, 2.4)]
    >>> number = over_runs(runs)["pesq"]
    >>> round(number.mean, 3), number.std, round(number.spread, 3)
    (2.2, 0.5, 0.2)
    """
    columns = dict.fromkeys(
        column for summary in summaries for column in summary if column != "notes"
    )
    numbers = {}
    for column in columns:
        runs = [summary[column] for summary in summaries if column in summary]
        means = [run["mean"] for run in runs]
        finite = len(means) > 1 and all(map(math.isfinite, means))
        numbers[column] = Number(
            statistics.fmean(means),
            statistics.fmean(run["std"] for run in runs),
            statistics.stdev(means) if finite else None,
            sum(run["failed"] for run in runs),
        )
    return numbers


@dataclass
class Result:
    """All runs of a system on a corpus.

    Attributes
    ----------
    system, title, family : str
        Name in ``evaluation.json``, and for tables and plots.
    facts : dict
        The first folder's ``evaluation.json``.
    ablation_of : str or None
        Name of the system of which this is an ablation.
    runs : list of list of dict
        Rows of each run.
    machines : set of tuple
        (device, threads) of each folder.
    """

    system: str
    facts: dict
    title: str
    family: str = ""
    ablation_of: str | None = None
    runs: list = field(default_factory=list)
    machines: set = field(default_factory=set)

    @property
    def place(self):
        """(task, corpus): results of one place stand in one table."""
        return self.facts["task"], self.facts["corpus"]

    @property
    def clips(self):
        """Names of the clips."""
        return sorted(row["name"] for row in self.runs[0])

    @property
    def numbers(self):
        """{column: Number}, "before_" columns and real-time factors too."""
        return over_runs([summarise_rows(rows) for rows in self.runs])

    @property
    def before(self):
        """{column: Number} of the distorted recordings, without the prefix."""
        return {
            column.removeprefix(BEFORE): number
            for column, number in over_runs([summarise_rows(self.runs[0])]).items()
            if column.startswith(BEFORE)
        }

    @property
    def notes(self):
        """{clip: note} over all runs."""
        rows = (row for rows in self.runs for row in rows)
        return {row["name"]: row["note"] for row in rows if row.get("note")}


def read_results(folders, naming=None):
    """Read result folders and join the runs of each system.

    Results are runs of one system if name, task and corpus are the same and their
    facts differ in the seed alone (see ``systems.differences``). Other results of the
    same name get titles that say how they differ.

    Arguments
    ---------
    folders : list of str or Path
        Written by ``lafufu evaluate``, or output folders of trainings.
    naming : Naming, optional
        Titles and families, by default those of ``systems.yaml``.

    Returns
    -------
    list of Result
        In order of first appearance.

    Raises
    ------
    FileNotFoundError, UsageError
        If a folder holds no result, a result cannot be read, or results of one corpus
        are not of the same clips.
    """
    naming = naming or read_naming()
    results = []
    for folder in map(_result_folder, map(Path, folders)):
        facts = _read_facts(folder / RESULT)
        result = next((r for r in results if _is_run_of(facts, r)), None)
        if result is None:
            name = facts["system"]
            result = Result(name, facts, naming.titles.get(name, name))
            result.family = naming.family_of.get(name, "")
            result.ablation_of = naming.ablations.get(name)
            results.append(result)
        result.machines.add((facts.get("device"), facts.get("threads")))
        places = [inside(folder, run["folder"]) for run in facts["runs"]]
        result.runs += [read_rows(place) for place in places]
    _name_apart(results)
    _check_same_clips(results)
    return results


def _result_folder(folder):
    for place in (folder, *(folder / name for name in IN_TRAINING)):
        if (place / RESULT).is_file():
            return place
    raise FileNotFoundError(
        f"{folder} holds no {RESULT}: give the output of `lafufu evaluate`, or the "
        "output_folder of a training whose test stage has run"
    )


def _read_facts(path):
    try:
        facts = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid JSON ({error})") from error
    texts, kind = ("system", "task", "corpus"), f"{path} is no result"
    if not isinstance(facts, dict):
        raise UsageError(f"{kind}: it holds a {type(facts).__name__}")
    missing = {*texts, "runs"} - set(facts)
    if missing:
        raise UsageError(f"{path} lacks {', '.join(sorted(missing))}: evaluate again")
    if not all(isinstance(facts[key], str) and facts[key] for key in texts):
        raise UsageError(f"{kind}: {', '.join(texts)} must be texts")
    runs = facts["runs"]
    named = isinstance(runs, list) and all(
        isinstance(run, dict) and isinstance(run.get("folder"), str) for run in runs
    )
    for key, types in _TYPES.items():
        if not isinstance(facts.get(key), types | None):
            raise UsageError(f"{kind}: its {key} has another type")
    if not named or not runs:
        raise UsageError(f"{kind}: runs must be a list with a folder each")
    return facts


def _same_system(facts, other):
    return all(facts[key] == other[key] for key in ("system", "task", "corpus"))


def _is_run_of(facts, result):
    same = _same_system(facts, result.facts)
    return same and not differences([facts, result.facts])


def _name_apart(results):
    for first in results:
        same = [r for r in results if _same_system(r.facts, first.facts)]
        if len(same) > 1 and first is same[0]:
            texts = names_apart([result.facts for result in same])
            for result, text in zip(same, texts, strict=True):
                result.title += f" ({text})"


def _check_same_clips(results):
    for result in results:
        first = next(r for r in results if r.place == result.place)
        for rows in result.runs:
            names = sorted(row["name"] for row in rows)
            if names != first.clips:
                raise UsageError(
                    f"{result.title} was measured on {len(names)} clips of "
                    f"{result.facts['corpus']}, {first.title} on {len(first.clips)} "
                    "others: evaluate all systems on the same clips"
                )
