"""The journal of a shard, and the temporary files of the process that writes it."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import threading
from pathlib import Path

from lafufu_sb.files import named_errors

PARTIAL, JOURNAL = "partial", "journal.jsonl"


class Shard:
    """Journal and temporary files of one process."""

    def __init__(self, folder):
        self._partial = folder.parent / PARTIAL
        shutil.rmtree(folder / "tmp", ignore_errors=True)  # left by a killed run
        (folder / "tmp").mkdir(exist_ok=True)
        # Unique, so that no two processes share a file even where locks do not work.
        self._temporary = Path(tempfile.mkdtemp(dir=folder / "tmp"))
        self._lock = threading.Lock()
        self._path = folder / JOURNAL
        _cut_torn_line(self._path)
        self._journal = open(self._path, "ab", buffering=0)

    @contextlib.contextmanager
    def whole(self, target, index):
        """Context of a temporary path, renamed to ``target`` once it is on disk.

        Arguments
        ---------
        target : str or Path
            The final name; its folder is created.
        index : int
            Unique number of the file.

        Raises
        ------
        OSError
            If it cannot be written; the message names ``target``.
        """
        target = Path(target)
        temporary = self.temporary(f"{index}{target.suffix}")
        try:
            yield temporary
            to_disk(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, target)
        except OSError as error:
            said = str(error).replace(str(temporary), str(target))
            raise OSError(
                f"{said}. Solve this, then run the same command to resume"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)

    def temporary(self, name):
        """Path of a temporary file, removed with the shard at the latest."""
        return self._temporary / name

    def partial(self, file):
        """Path of the ``PartialResult`` of a file in its present state."""
        now = os.fsencode(f"{file.size} {file.mtime_ns} {file.source}")
        return self._partial / hashlib.sha256(now).hexdigest()[:32]

    def note(self, row):
        """Append a row to the journal; it is on disk when this returns."""
        line = (json.dumps(row, allow_nan=False) + "\n").encode()
        with self._lock, named_errors(self._path):
            end = os.fstat(self._journal.fileno()).st_size
            try:
                if self._journal.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(self._journal.fileno())
            except OSError:
                os.ftruncate(self._journal.fileno(), end)  # or the next row joins it
                raise

    def close(self):
        """Close the journal and remove the temporary folder."""
        self._journal.close()
        shutil.rmtree(self._temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._temporary.parent.rmdir()


def read_journal(path):
    """Rows of a journal, without damaged lines and a last one left incomplete."""
    rows = []
    if path.exists():
        with open(path, "rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError, RecursionError):
                    row = json.loads(line) if line.endswith(b"\n") else None
                    if _is_row(row):
                        rows.append(row)
    return rows


def _is_row(row):
    marks = {"source": str, "target": str, "decision": str, "size": int}
    return isinstance(row, dict) and all(
        isinstance(row.get(name), kind) for name, kind in marks.items()
    )


def _cut_torn_line(path):
    if path.exists():
        whole = path.read_bytes().rpartition(b"\n")
        os.truncate(path, len(whole[0]) + len(whole[1]))


def to_disk(path):
    """Wait until a file is on disk."""
    with open(path, "r+b") as stream:
        os.fsync(stream.fileno())
