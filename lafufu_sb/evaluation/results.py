"""Result folders read back: the runs of each system, joined."""

import json
import math
import statistics
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path

from lafufu_sb.evaluation.clips import BEFORE, read_rows, summarise_rows
from lafufu_sb.evaluation.runs import RESULT

# Where trainings leave their results, the later stage first.
IN_TRAINING = ("few_step_report", "report")
ABLATIONS = {"noskip": "without skip connections", "noreg": "without Reg-Loss"}
_WORDS = {"lafufu": "LAFUFU", "sgmse": "SGMSE+", "crp": "CRP", "ouve": "OUVE"}
_WORDS |= {"wham": "", "reverb": ""} | ABLATIONS

Number = namedtuple("Number", ["mean", "std", "spread", "failed"])
Number.__doc__ = """A column of a system, over its runs.

mean : float
    Mean over runs of the mean over clips.
std : float
    Mean over runs of the standard deviation over clips.
spread : float or None
    Standard deviation over runs of the means over clips (n - 1); None for one run.
failed : int
    Clips without a value, of all runs.
"""


def over_runs(summaries):
    """Join the summaries of a system's runs.

    Arguments
    ---------
    summaries : list of dict
        See ``summarise_rows``.

    Returns
    -------
    dict of str to Number

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
    """A system on a corpus, all its runs.

    Attributes
    ----------
    system : str
        Name.
    facts : dict
        ``task``, ``corpus``, ``device`` and what else ``evaluation.json`` says.
    runs : list of list of dict
        Rows of each run.
    """

    system: str
    facts: dict
    runs: list = field(default_factory=list)

    @property
    def title(self):
        """Name for tables: that of a recipe in words, another as it is."""
        return title_of(self.system)

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
            column[len(BEFORE) :]: number
            for column, number in over_runs([summarise_rows(self.runs[0])]).items()
            if column.startswith(BEFORE)
        }

    @property
    def notes(self):
        """{clip: note} over all runs."""
        return {
            row["name"]: row["note"]
            for rows in self.runs
            for row in rows
            if row.get("note")
        }

    @property
    def ablation_of(self):
        """Name of the system that this one is an ablation of, or None."""
        words = self.system.split("_")
        kept = [word for word in words if word not in ABLATIONS]
        return "_".join(kept) if len(kept) < len(words) else None


def title_of(system):
    """A recipe's name in words.

    Example
    -------
    >>> title_of("lafufu_192_wham"), title_of("sgmse_mini_wham"), title_of("my_net")
    ('LAFUFU 192', 'SGMSE+ mini', 'my_net')
    >>> title_of("lafufu_noreg_reverb")
    'LAFUFU 128 without Reg-Loss'
    """
    words = system.split("_")
    if words[0] not in ("lafufu", "sgmse"):
        return system
    if not any(word == "mini" or word.isdigit() for word in words):
        words.insert(1, "128")  # the width that recipes do not name
    return " ".join(filter(None, (_WORDS.get(word, word) for word in words)))


def read_results(folders):
    """Read result folders; those of the same system and corpus become one.

    Arguments
    ---------
    folders : list of str or Path
        Written by ``lafufu evaluate``, or output folders of trainings.

    Returns
    -------
    list of Result
        In order of first appearance.

    Raises
    ------
    FileNotFoundError
        If a folder holds no result.
    ValueError
        If results of one corpus are not of the same clips.
    """
    results = {}
    for folder in folders:
        folder = _result_folder(Path(folder))
        facts = json.loads((folder / RESULT).read_text())
        key = (facts["system"], facts["task"], facts["corpus"])
        result = results.setdefault(key, Result(facts["system"], facts))
        for run in facts["runs"]:
            result.runs.append(read_rows(folder / run["folder"]))
    _check_same_clips(list(results.values()))
    return list(results.values())


def _result_folder(folder):
    for place in (folder, *(folder / name for name in IN_TRAINING)):
        if (place / RESULT).is_file():
            return place
    raise FileNotFoundError(
        f"{folder} holds no {RESULT}: give the output of `lafufu evaluate`, or the "
        "output_folder of a training whose test stage has run"
    )


def _check_same_clips(results):
    for result in results:
        first = next(r for r in results if r.place == result.place)
        for rows in result.runs:
            names = sorted(row["name"] for row in rows)
            if names != first.clips:
                raise ValueError(
                    f"{result.system} has {len(names)} clips of "
                    f"{result.facts['corpus']}, {first.system} other {len(first.clips)}"
                    ": evaluate all systems on the same clips"
                )
