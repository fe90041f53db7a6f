"""Find the recordings below a folder, and say which files are passed over."""

import importlib.util
import logging
import os
import stat
from collections import Counter
from pathlib import Path

from lafufu_sb.audio.suffixes import AUDIO_SUFFIXES, CONTAINER_SUFFIXES
from lafufu_sb.errors import UsageError

logger = logging.getLogger(__name__)

_NAMED = 5  # suffixes or paths in a line
_NO_AUDIO = "is not audio", "are not audio"
_HINT = ', pip install "lafufu_sb[av]"'
_NO_PYAV = f"needs PyAV{_HINT}", f"need PyAV{_HINT}"
_MACOS = "holds attributes of macOS", "hold attributes of macOS"
_BROKEN = "is a broken link", "are broken links"
_IRREGULAR = "is no regular file", "are no regular files"
_AGAIN = "links to a folder searched already", "link to folders searched already"
_CLOSED = "is a folder that cannot be read", "are folders that cannot be read"


def find_recordings(folder):
    """List the audio files below a folder, sorted; a warning counts the others.

    Arguments
    ---------
    folder : str or Path
        Links to folders are followed, but each folder is searched once.

    Returns
    -------
    list of Path

    Raises
    ------
    UsageError
        If there are none.
    """
    found, others = search(folder)
    lines = list(_lines(Path(folder), others))
    if not found:
        raise UsageError("; ".join([f"{folder} holds no audio files", *lines]))
    for line in lines:
        logger.warning("%s: %s", folder, line)
    return found


def search(folder):
    """Divide the files below a folder into recordings and others.

    Arguments
    ---------
    folder : str or Path
        See ``find_recordings``.

    Returns
    -------
    recordings : list of Path
        Sorted.
    others : dict of tuple of str to list of Path
        By reason, a predicate in singular and plural.
    """
    found, others = [], {}
    folders, links, seen = [Path(folder)], [], set()
    while folders or links:
        # Links come last, so that a folder is named by its own path if it has one.
        path = folders.pop() if folders else links.pop(0)
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
            identity = os.path.realpath(path)
        except OSError:
            others.setdefault(_CLOSED, []).append(path)
            continue
        if identity in seen:
            others.setdefault(_AGAIN, []).append(path)
            continue
        seen.add(identity)
        for entry in entries:
            if entry.is_dir():
                (links if entry.is_symlink() else folders).append(Path(entry.path))
            elif reason := _reason(Path(entry.path)):
                others.setdefault(reason, []).append(Path(entry.path))
            else:
                found.append(Path(entry.path))
    return sorted(found), others


def _reason(path):
    """Why a file is no recording, or None."""
    suffix = path.suffix.lower()
    if path.name.startswith("._"):
        return _MACOS
    if suffix not in AUDIO_SUFFIXES:
        return _NO_AUDIO
    try:
        mode = path.stat().st_mode
    except OSError:
        return _BROKEN
    if not stat.S_ISREG(mode):
        return _IRREGULAR
    if suffix in CONTAINER_SUFFIXES and importlib.util.find_spec("av") is None:
        return _NO_PYAV
    return None


def _lines(folder, others):
    for reason, paths in others.items():
        one, several = reason
        if reason in (_NO_AUDIO, _NO_PYAV):
            counts = Counter(p.suffix.lower() or "no suffix" for p in paths)
            names = [f"{suffix} {count}" for suffix, count in counts.most_common()]
        else:
            names = [str(path.relative_to(folder)) for path in sorted(paths)]
        rest = ["..."] if len(names) > _NAMED else []
        listed = ", ".join(names[:_NAMED] + rest)
        what = f"file {one}" if len(paths) == 1 else f"files {several}"
        yield f"{len(paths)} {what} ({listed})"
