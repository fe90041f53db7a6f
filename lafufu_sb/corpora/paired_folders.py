"""Training manifests from a folder of clean and a folder of noisy recordings."""

import csv
import os
import re
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from lafufu_sb.audio.finding import find_recordings
from lafufu_sb.corpora.manifests import manifest_entry, recording_id, save_manifest
from lafufu_sb.corpora.pair_checks import PairLimits, UnusablePairError, check_pair
from lafufu_sb.corpora.tasks import SUBSETS
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole

REFUSED = "refused.csv"
COLUMNS = ("clean", "noisy", "reason", "detail")


@dataclass(frozen=True)
class Pair:
    """An id, the clean recording's name below its folder, both recordings and, once
    checked, what is known of them."""

    key: str
    name: str
    clean: Path
    distorted: Path
    facts: object = None


@dataclass
class PairReport:
    """What became of two folders.

    Attributes
    ----------
    subsets : dict of str to list of Pair
        By name of the subset.
    refused : list of tuple
        Rows of ``COLUMNS``.
    """

    subsets: dict
    refused: list = field(default_factory=list)

    def summary(self):
        """One line."""
        pairs = [pair for some in self.subsets.values() for pair in some]
        hours = sum(pair.facts.seconds for pair in pairs) / 3600
        sizes = ", ".join(f"{len(some)} {name}" for name, some in self.subsets.items())
        reasons = Counter(row[2] for row in self.refused)
        listed = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
        refused = f"{len(self.refused)} refused" + (f" ({listed})" if listed else "")
        return f"{len(pairs)} pairs, {hours:.2f} h: {sizes}; {refused}"


def pair_folders(
    clean_folder,
    distorted_folder,
    output,
    *,
    shares=(0.8, 0.1, 0.1),
    name_pattern=None,
    group_pattern=None,
    seed=0,
    limits=None,
):
    """Match, check and divide the recordings of two folders, and write manifests.

    Writes ``train.json``, ``valid.json`` and ``test.json``, which name the recordings
    where they are, and ``refused.csv``. ``train.py --data_folder`` takes the folder.

    Arguments
    ---------
    clean_folder, distorted_folder : str or Path
        Searched at any depth. Partners have the same path below their folder, whatever
        the format, or the same five-digit number as ``recording_id`` explains.
    output : str or Path
        Folder to write. Manifests in it are replaced.
    shares : sequence of float
        Of the speech, for train, valid and test.
    name_pattern : str, optional
        Regular expression, searched in the path without suffix: partners agree in its
        groups, or in all that it finds.
    group_pattern : str, optional
        What two subsets must not share, such as the speaker, found likewise. By default
        the first folder below, or the recording itself if there is none.
    seed : int
        Another one divides otherwise.
    limits : PairLimits, optional
        What a pair may be like.

    Returns
    -------
    PairReport

    Raises
    ------
    UsageError
        For folders without recordings, patterns or shares that make no sense, if no
        pair is left, or too few groups for the subsets.
    """
    _check_request(clean_folder, distorted_folder, output, shares)
    refused = []
    pairs = _match(Path(clean_folder), Path(distorted_folder), name_pattern, refused)
    if not pairs:
        raise UsageError(
            f"no recording of {clean_folder} has a partner in {distorted_folder}: "
            "partners have the same name, or agree in what --name finds in it"
        )
    usable = _checked(pairs, limits or PairLimits(), refused)
    groups = _groups(usable, group_pattern)
    report = PairReport(_divide(groups, shares, seed), sorted(refused))
    _write(report, Path(output))
    return report


def _check_request(clean_folder, distorted_folder, output, shares):
    for folder in (clean_folder, distorted_folder):
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"{folder} is not a folder")
        if Path(output).resolve().is_relative_to(Path(folder).resolve()):
            raise UsageError(f"output {output} is inside {folder}: choose another one")
    if Path(clean_folder).samefile(distorted_folder):
        raise UsageError(f"{clean_folder} is given as clean and as noisy folder")
    if len(shares) != len(SUBSETS) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise UsageError(
            f"shares of {', '.join(SUBSETS)} must be above 0 and add up to 1, got "
            f"{' '.join(f'{share:g}' for share in shares)}"
        )


def _match(clean_folder, distorted_folder, pattern, refused):
    """Pairs sorted by id; recordings without one are added to ``refused``."""
    sides = []
    for column, folder in enumerate((clean_folder, distorted_folder)):
        found = {}
        for path in find_recordings(folder):
            key = _key(path, folder, pattern)
            found.setdefault(key, []).append(path)
        for path in found.pop(None, []):
            refused.append(_row(column, path, "no id", f"{pattern!r} finds nothing"))
        for key in [key for key, paths in found.items() if len(paths) > 1]:
            for path in found.pop(key):
                refused.append(_row(column, path, "ambiguous", f"others too are {key}"))
        sides.append(found)
    for column, (side, other) in enumerate((sides, sides[::-1])):
        for key in side.keys() - other.keys():
            refused.append(_row(column, side[key][0], "no partner", f"id {key}"))
    clean, distorted = sides
    return [
        Pair(key, _name(clean[key][0], clean_folder), clean[key][0], distorted[key][0])
        for key in sorted(clean.keys() & distorted.keys())
    ]


def _name(path, folder):
    return os.path.splitext(path.relative_to(folder).as_posix())[0]


def _key(path, folder, pattern):
    if pattern is None:
        return recording_id(path.relative_to(folder).as_posix())
    return _found(pattern, _name(path, folder))


def _found(pattern, name):
    """What a pattern finds in a name: its groups, or all of it; None if nothing."""
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise UsageError(f"{pattern!r} is no regular expression ({error})") from error
    if match is None:
        return None
    return "/".join(part or "" for part in match.groups()) or match[0]


def _row(column, path, reason, detail):
    names = ("", "")
    return (*names[:column], str(path), *names[column + 1 :], reason, detail)


def _checked(pairs, limits, refused):
    """Pairs that can be used, each pair of contents once."""

    def check(pair):
        try:
            return check_pair(pair.clean, pair.distorted, limits)
        except UnusablePairError as error:
            return error

    usable, first = [], {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = tqdm(
            pool.map(check, pairs), "checked", len(pairs), disable=None, unit="pair"
        )
        for pair, facts in zip(pairs, results, strict=True):
            names = str(pair.clean), str(pair.distorted)
            if isinstance(facts, UnusablePairError):
                refused.append((*names, facts.reason, facts.detail))
                continue
            content = facts.clean_hash, facts.distorted_hash
            if content in first:
                detail = f"the same samples as {first[content]}"
                refused.append((*names, "duplicate", detail))
                continue
            first[content] = pair.key
            usable.append(replace(pair, facts=facts))
    if not usable:
        example = "; ".join(refused[-1][2:])
        raise UsageError(f"none of {len(pairs)} pairs can be used, such as: {example}")
    return usable


def _groups(pairs, pattern):
    """{name: pairs} that stay together: one speaker, and one clean recording."""
    leader, by_hash = {}, {}

    def top(name):
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    names = []
    for pair in pairs:
        folder = pair.name.partition("/")[0]
        name = folder if pattern is None else _found(pattern, pair.name)
        if name is None:
            raise UsageError(f"--group {pattern!r} finds nothing in {pair.name}")
        names.append(name)
        leader[top(name)] = top(by_hash.setdefault(pair.facts.clean_hash, name))
    groups = {}
    for pair, name in zip(pairs, names, strict=True):
        groups.setdefault(top(name), []).append(pair)
    return groups


def _divide(groups, shares, seed):
    """Give each group to the subset that lacks most of its share."""
    if len(groups) < len(SUBSETS):
        raise UsageError(
            f"{len(groups)} groups ({', '.join(sorted(groups))}) cannot be divided "
            f"into {', '.join(SUBSETS)}: choose smaller ones, such as --group '.*' for "
            "single recordings"
        )
    seconds = {n: sum(p.facts.seconds for p in some) for n, some in groups.items()}
    total = sum(seconds.values())
    lacking = {n: s * total for n, s in zip(SUBSETS, shares, strict=True)}
    members = {name: [] for name in SUBSETS}
    for name in sorted(groups, key=lambda n: (zlib.crc32(f"{seed}/{n}".encode()), n)):
        subset = max(SUBSETS, key=lambda s: lacking[s])
        members[subset].append(name)
        lacking[subset] -= seconds[name]
    for subset in SUBSETS:  # with few groups one may have got none
        if not members[subset]:
            largest = max(SUBSETS, key=lambda s: len(members[s]))
            smallest = min(members[largest], key=seconds.get)
            members[largest].remove(smallest)
            members[subset].append(smallest)
    return {
        subset: sorted((p for n in names for p in groups[n]), key=lambda p: p.key)
        for subset, names in members.items()
    }


def _write(report, output):
    output.mkdir(parents=True, exist_ok=True)
    for name, pairs in report.subsets.items():
        entries = {
            pair.key: manifest_entry(pair.distorted, pair.clean, pair.facts.seconds)
            for pair in pairs
        }
        save_manifest(entries, output / f"{name}.json")
    with written_whole(output / REFUSED) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *report.refused])
