"""The recordings of a plan: opening them, and what may be wrong with them."""

import contextlib
import os

from lafufu_sb.audio.recordings import Recording
from lafufu_sb.errors import UsageError

# A recording may be a little shorter than its manifest states: share and seconds.
_SHARE, _TOLERANCE = 0.99, 0.1


def opened(file, sample_rate=None):
    """The recording of a planned file, which is as long as the manifest states."""
    recording = Recording(file.source, sample_rate)
    seconds = recording.frames / recording.file_rate
    if seconds < _SHARE * file.stated - _TOLERANCE:
        raise UsageError(
            f"{file.source} has {seconds:.2f} seconds, but the manifest states "
            f"{file.stated:.2f}"
        )
    return recording


@contextlib.contextmanager
def memory_errors(file):
    """Raise a MemoryError that names the file, for those of numpy and torch."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
            raise MemoryError(
                f"{file.source} needs more memory than is free"
            ) from error
        raise


def change_of(file):
    """What has happened to a recording since it was planned, or an empty text."""
    try:
        status = os.stat(file.source)
    except OSError as error:
        return f"{file.source} has vanished ({error.strerror})"
    if not os.access(file.source, os.R_OK):
        return f"{file.source} may not be read any more"
    if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
        return f"{file.source} has changed since the run began: run it again"
    return ""


def one_line(error):
    """The message of an error in one line."""
    return " ".join(str(error).split())
