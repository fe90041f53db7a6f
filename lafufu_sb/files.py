"""Files that appear under their names when they are whole."""

import contextlib
import hashlib
import os
from pathlib import Path

from lafufu_sb.errors import UsageError

_LONGEST_NAME = 255  # bytes, of most file systems


@contextlib.contextmanager
def written_whole(path):
    """Write to a temporary name beside ``path``, renamed once the block succeeds.

    Arguments
    ---------
    path : str or Path
        The final name; an existing file is replaced.

    Yields
    ------
    Path
        Where to write. Gone again if the block raises.
    """
    path = Path(path)
    temporary = path.with_name(_temporary_name(path.name))
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_name(name):
    temporary = f".{name}.part"
    if len(os.fsencode(temporary)) <= _LONGEST_NAME:
        return temporary
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.part"


def refuse_same_file(source, target):
    """UsageError if writing ``target`` would overwrite ``source``, links included."""
    source, target = Path(source), Path(target)
    if source.exists() and target.exists() and source.samefile(target):
        raise UsageError(f"{target} would overwrite its input: choose another output")
