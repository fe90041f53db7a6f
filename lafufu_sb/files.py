"""Files that appear under their names when they are whole."""

import contextlib
import os
from pathlib import Path


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
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
