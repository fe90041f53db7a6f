"""File locks that the operating system releases with the process, however it ends."""

import contextlib

from filelock import FileLock, Timeout

from lafufu_sb.errors import UsageError


@contextlib.contextmanager
def locked(path, what):
    """Hold a lock, waiting for it if need be only when ``what`` is None.

    Arguments
    ---------
    path : Path
        The lock file. It is created if missing and stays in place.
    what : str or None
        What the lock protects, for the message; None to wait for the lock.

    Raises
    ------
    UsageError
        If another process holds the lock and ``what`` is given, or if the file system
        has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=-1 if what is None else 0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UsageError(
            f"another process is working on {what}: wait until it has ended"
        ) from error
    except NotImplementedError as error:  # older filelock
        raise UsageError(
            f"the file system of {path.parent} has no file locks, which keep two runs "
            "from writing one result: choose an output folder on another one"
        ) from error
    try:
        yield
    finally:
        lock.release()
