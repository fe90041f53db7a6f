"""Recordings that corpora are made of: gather them, and set how often each is drawn."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lafufu_sb.audio.finding import search
from lafufu_sb.audio.recordings import read_header
from lafufu_sb.errors import UsageError

TRIES = 200  # draws of a noise or room before giving up


@dataclass(frozen=True)
class Source:
    """An audio file: its path, the name of its folder, and its length in seconds."""

    path: str
    folder: str
    seconds: float


def gather(entries, include=("*",), exclude=()):
    """Collect audio files from folders (recursively), ``.txt`` lists and files.

    Arguments
    ---------
    entries : iterable of str or Path
        Folders, lists with a path per line, or audio files.
    include, exclude : sequence of str
        Globs on ``parent/name``.

    Returns
    -------
    list of Path

    Raises
    ------
    FileNotFoundError
        If an entry does not exist.
    """
    found = []
    for entry in map(Path, entries):
        if not entry.exists():
            raise FileNotFoundError(
                f"{entry} does not exist: give a folder, a .txt list or an audio file"
            )
        if entry.is_dir():
            found += search(entry)[0]
        elif entry.suffix == ".txt":
            found += [Path(line) for line in entry.read_text().splitlines() if line]
        else:
            found.append(entry)

    def wanted(path):
        name = f"{path.parent.name}/{path.name}"
        some = any(fnmatch.fnmatch(name, glob) for glob in include)
        return some and not any(fnmatch.fnmatch(name, glob) for glob in exclude)

    return [path for path in found if wanted(path)]


def scan(files):
    """Read the lengths of audio files.

    Arguments
    ---------
    files : iterable of str or Path
        Audio files.

    Returns
    -------
    list of Source
        Sorted by folder name and file name, wherever the folders are.

    Raises
    ------
    UsageError
        If no file is given, or one is not audio.
    """
    sources = [
        Source(str(path), path.parent.name, read_header(path).seconds)
        for path in map(Path, files)
    ]
    if not sources:
        raise UsageError("no audio files given: check the folder, list and globs")
    return sorted(sources, key=lambda s: (s.folder, Path(s.path).name, s.path))


def shares(folders, amounts, weights=None):
    """Turn amounts into probabilities, optionally with fixed shares for some folders.

    Arguments
    ---------
    folders : sequence of str
        Folder (speaker) name of each entry.
    amounts : sequence of float
        Share of each entry within its group, e.g. its seconds.
    weights : dict of str to float, optional
        Glob on folder names -> probability of that group. An entry belongs to the
        first glob that matches; unmatched entries share the remaining probability.

    Returns
    -------
    numpy.ndarray
        (entries,); the sum is 1.

    Raises
    ------
    UsageError
        If weights are negative, exceed 1 together, or match no folder.

    Example
    -------
    >>> shares(["a", "b", "b"], [1.0, 1.0, 3.0], {"a": 0.4}).round(2)
    array([0.4 , 0.15, 0.45])
    """
    weights = dict(weights or {})
    rest = 1.0 - sum(weights.values())
    if rest < -1e-9 or any(weight < 0 for weight in weights.values()):
        raise UsageError(f"weights {weights} must be positive and sum to at most 1")
    group = [next((g for g in weights if fnmatch.fnmatch(f, g)), "") for f in folders]
    missing = [g for g in weights if g not in group]
    if missing:
        raise UsageError(f"weights name {missing}, which match no folder: fix the glob")
    weights[""] = max(rest, 0.0)
    total = {
        g: sum(a for a, h in zip(amounts, group, strict=True) if h == g)
        for g in weights
    }
    parts = [weights[g] * a / total[g] for a, g in zip(amounts, group, strict=True)]
    return np.array(parts) / sum(parts)
