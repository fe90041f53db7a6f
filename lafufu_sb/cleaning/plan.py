"""The plan of a cleaning: the result of each file, and the division into shards."""

import heapq
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lafufu_sb.audio.recordings import read_header
from lafufu_sb.cleaning.collisions import refuse_collisions
from lafufu_sb.errors import UsageError
from lafufu_sb.files import refuse_nested, refuse_sources_inside

LOSSLESS = (".wav", ".flac")  # formats of results; others become the first
_SCANNERS = 16  # threads that wait for the disk or the network


@dataclass(frozen=True)
class PlannedFile:
    """A recording, the path of its result, and the content of its header."""

    index: int  # in the manifest's order
    source: str
    target: str
    seconds: float = 0.0
    channels: int = 0  # 0 if the header is unreadable
    size: int = -1  # bytes
    mtime_ns: int = 0
    stated: float = 0.0  # seconds that the manifest states, 0 if it does not

    @property
    def cost(self):
        """Seconds times channels to restore; a short file still costs a window."""
        return max(1, self.channels) * max(self.seconds, 1.0)


def make_plan(manifest, output, audio_format="same"):
    """Assign a result to each recording of a manifest, and read all headers.

    Results mirror the folders below the one that all recordings have in common.

    Arguments
    ---------
    manifest : Manifest
        Names the recordings.
    output : str or Path
        Folder of the results.
    audio_format : str
        "same" keeps .wav and .flac and writes others as .wav; "wav" or "flac".

    Returns
    -------
    list of PlannedFile

    Raises
    ------
    UsageError
        If results cannot all be written, see ``refuse_collisions``, or would be inside
        the folder that is cleaned, or if recordings are inside ``output``.
    """
    sources = list(dict.fromkeys(manifest.sources.values()))
    output = Path(os.path.abspath(output))
    refuse_output(manifest, output)
    root = manifest.root or _common_folder(sources, manifest.path)
    relative = [os.path.relpath(source, root) for source in sources]
    targets = [str(output / name) for name in _renamed(relative, audio_format)]
    refuse_collisions(sources, targets, manifest, output)
    refuse_sources_inside(sources, output)
    with ThreadPoolExecutor(_SCANNERS) as pool:
        if output.is_dir():
            for _ in pool.map(partial(_refuse_obstacle, is_folder=False), targets):
                pass
            for folder in sorted({os.path.dirname(target) for target in targets}):
                while not os.path.lexists(folder):
                    folder = os.path.dirname(folder)
                _refuse_obstacle(folder, is_folder=True)
    return planned_files(sources, targets, manifest.seconds)


def planned_files(sources, targets, stated):
    """Read the headers of recordings.

    Arguments
    ---------
    sources, targets : sequence of str
        Recordings, and the path of the result of each; empty where there is none.
    stated : dict of str to float
        See ``Manifest.seconds``.

    Returns
    -------
    list of PlannedFile
    """
    with ThreadPoolExecutor(_SCANNERS) as pool:
        headers = list(pool.map(_examine, sources))
    return [
        PlannedFile(index, source, target, stated=stated.get(source, 0.0), **header)
        for index, (source, target, header) in enumerate(
            zip(sources, targets, headers, strict=True)
        )
    ]


def _common_folder(sources, manifest):
    try:
        return os.path.commonpath({os.path.dirname(source) for source in sources})
    except ValueError as error:  # Windows
        raise UsageError(
            f"{manifest} has recordings on several drives: use a manifest per drive"
        ) from error


def refuse_output(manifest, output):
    """UsageError if a run would read its own output, or overwrite the manifest."""
    if manifest.path.is_dir():
        refuse_nested(manifest.path, output)
    for name, path in manifest.outputs().items():
        if os.path.realpath(output / name) == os.path.realpath(path):
            raise UsageError(
                f"{path} would be overwritten by the new manifest: choose another "
                "output folder"
            )


def _renamed(names, audio_format):
    """Relative names with the suffix of the result; on clashes it is appended."""
    suffixes = [_new_suffix(Path(name).suffix, audio_format) for name in names]
    short = [str(Path(n).with_suffix(s)) for n, s in zip(names, suffixes, strict=True)]
    counts = Counter(short)
    return [
        name + suffix if counts[new] > 1 and new != name else new
        for name, suffix, new in zip(names, suffixes, short, strict=True)
    ]


def _new_suffix(suffix, audio_format):
    if audio_format == "same":
        return suffix if suffix.lower() in LOSSLESS else LOSSLESS[0]
    return suffix if suffix.lower() == f".{audio_format}" else f".{audio_format}"


def _refuse_obstacle(path, is_folder):
    """Refuse a folder where a result must be, or a file where a folder must be."""
    if os.path.lexists(path) and os.path.isdir(path) is not is_folder:
        there, needed = ("a file", "a folder") if is_folder else ("a folder", "a file")
        raise UsageError(f"{path} is {there} where {needed} must be: remove or move it")


def _examine(source):
    """Size, time and header of a file; restoring reports what is wrong with it."""
    found = {}
    try:
        status = os.stat(source)
        found |= {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        header = read_header(source)
        found |= {"seconds": header.seconds, "channels": header.channels}
    except (OSError, UsageError):
        pass
    return found


def split(files, count):
    """Divide files into shards of about equal cost, the longest files first.

    The largest shard costs at most 4/3 of that of the optimal division (Graham, "Bounds
    on multiprocessing timing anomalies", SIAM J. Appl. Math. 17(2), 1969).

    Arguments
    ---------
    files : sequence of PlannedFile
        The plan.
    count : int
        Number of shards.

    Returns
    -------
    list of list of PlannedFile
        Each in the order of the plan; some are empty if there are fewer files.

    Example
    -------
    >>> files = [PlannedFile(i, "", "", seconds=s) for i, s in enumerate([5, 3, 4, 9])]
    >>> [[file.seconds for file in shard] for shard in split(files, 2)]
    [[3, 9], [5, 4]]
    """
    shards = [[] for _ in range(count)]
    loads = [(0.0, shard) for shard in range(count)]
    for file in sorted(files, key=lambda file: (-file.cost, file.index)):
        load, shard = heapq.heappop(loads)
        shards[shard].append(file)
        heapq.heappush(loads, (load + file.cost, shard))
    return [sorted(shard, key=lambda file: file.index) for shard in shards]
