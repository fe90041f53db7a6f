"""What is done: journals that survive a kill, and files that appear whole.

Below the output folder, ``.lafufu-clean`` holds the settings that all results were made
with and a folder per shard: its journal (a JSON line per finished file, on the disk
before the next), its lock, and its temporary files, which become results by renaming.
Beside these is what is restored so far of long files.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import threading
from pathlib import Path

from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole

FOLDER = ".lafufu-clean"
PARTIAL = "partial"  # its sub-folder for long files that are begun


class State:
    """The memory of a cleaning, in its output folder.

    Arguments
    ---------
    output : str or Path
        Folder of the results.
    """

    def __init__(self, output):
        self.output = Path(os.path.abspath(output))
        self.folder = self.output / FOLDER
        self._settings = self.folder / "settings.json"

    def open(self, restart=False):
        """Begin a cleaning or go on with one; sweeps what killed runs left behind.

        Arguments
        ---------
        restart : bool
            Forget what was done; its files stay until they are replaced.

        Raises
        ------
        UsageError
            If the folder holds what was not made here, or a restart finds another
            process at work.
        """
        if not self.folder.is_dir():
            if self.output.exists() and any(self.output.iterdir()):
                raise UsageError(
                    f"{self.output} is not empty and not of an earlier `lafufu clean`: "
                    "choose another output folder"
                )
            self.folder.mkdir(parents=True, exist_ok=True)
        with self.locked():
            if restart:
                self._forget()
            self._sweep()

    def agree(self, settings):
        """Note the settings, or compare with those that all results so far have.

        Arguments
        ---------
        settings : dict of str to object
            All that results depend on but the recordings, JSON's types.

        Raises
        ------
        UsageError
            If settings differ.
        """
        settings = json.loads(json.dumps(settings))  # as it will be read
        with self.locked():
            if self._settings.exists():
                self._compare(json.loads(self._settings.read_text()), settings)
            else:
                with written_whole(self._settings) as temporary:
                    temporary.write_text(json.dumps(settings, indent=2))

    def _compare(self, then, now):
        for name in sorted(then | now):
            if then.get(name) != now.get(name):
                raise UsageError(
                    f"{self.output} was begun with {name} {then.get(name)!r}, now it "
                    f"is {now.get(name)!r}: results would be mixed. Go on as begun, "
                    "choose another output folder, or --restart to do all anew"
                )

    def _forget(self):
        for shard in self._shards():
            with locked(shard / "lock", f"{self.output} is being cleaned"):
                shutil.rmtree(shard)
        shutil.rmtree(self.folder / PARTIAL, ignore_errors=True)
        self._settings.unlink(missing_ok=True)

    def _sweep(self):
        """Remove temporary files of runs that were killed."""
        for shard in self._shards():
            with contextlib.suppress(UsageError), locked(shard / "lock", ""):
                shutil.rmtree(shard / "tmp", ignore_errors=True)

    def _shards(self, name="*"):
        found = self.folder.glob(f"shard-{name}")
        return sorted(path for path in found if path.is_dir())

    def rows(self, files, name="*"):
        """What the journals say about files as they are now.

        Arguments
        ---------
        files : sequence of PlannedFile
            Of a plan.
        name : str
            Of the shard to ask, by default all.

        Returns
        -------
        dict of str to dict
            By source: the row of a result that is in place, else of a failure. Files of
            which neither is known are missing.
        """
        wanted = {file.source: file for file in files}
        found = {}
        for shard in self._shards(name):
            for row in read_journal(shard / "journal.jsonl"):
                file = wanted.get(row["source"])
                done = row["decision"] != "failed"
                if file and (done or file.source not in found) and _holds(row, file):
                    found[file.source] = row
        return found

    @contextlib.contextmanager
    def shard(self, name):
        """A ``Shard`` to write to, locked against another process.

        Raises
        ------
        UsageError
            If another process is at work on it.
        """
        folder = self.folder / f"shard-{name}"
        with contextlib.ExitStack() as locks:
            with self.locked():  # whoever sweeps holds the shard's lock for a moment
                what = f"shard {name} of {self.output}"
                locks.enter_context(locked(folder / "lock", what))
            shard = Shard(folder)
            try:
                yield shard
            finally:
                shard.close()

    def locked(self):
        """Lock of the whole, held for moments: to begin, and to write the report."""
        return locked(self.folder / "lock", "", wait=True)


class Shard:
    """Journal and temporary files of one process."""

    def __init__(self, folder):
        self._temporary, self._partial = folder / "tmp", folder.parent / PARTIAL
        shutil.rmtree(self._temporary, ignore_errors=True)  # of a run that was killed
        self._temporary.mkdir()
        self._lock = threading.Lock()
        path = folder / "journal.jsonl"
        _cut_torn_line(path)
        self._journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    @contextlib.contextmanager
    def whole(self, target, index):
        """Path to write to, which becomes ``target`` once it is on the disk."""
        target = Path(target)
        temporary = self.temporary(f"{index}{target.suffix}")
        try:
            yield temporary
            with open(temporary, "rb") as stream:
                os.fsync(stream.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, target)
        except OSError as error:
            said = str(error).replace(str(temporary), str(target))
            raise OSError(
                f"{said}. Once that is mended, the same command goes on"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)

    def temporary(self, name):
        """Path of a temporary file, swept away if nobody removes it."""
        return self._temporary / name

    def partial(self, file):
        """Path for what is restored so far of a file as it is now."""
        now = os.fsencode(f"{file.size} {file.mtime_ns} {file.source}")
        return self._partial / hashlib.sha256(now).hexdigest()[:32]

    def note(self, row):
        """Append a row, on the disk when this returns."""
        line = (json.dumps(row, allow_nan=False) + "\n").encode()
        with self._lock:
            if os.write(self._journal, line) < len(line):
                raise OSError(errno.ENOSPC, "no room left for the journal")
            os.fsync(self._journal)

    def close(self):
        """Close the journal and remove the temporary folder."""
        os.close(self._journal)
        shutil.rmtree(self._temporary, ignore_errors=True)


def read_journal(path):
    """Rows of a journal, without a last one that a kill cut off."""
    rows = []
    if path.exists():
        for line in path.read_bytes().split(b"\n")[:-1]:
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
    return rows


def _holds(row, file):
    """Whether a row is of the file as it is now, and its result in place."""
    mark = row["target"], row["size"], row["mtime_ns"]
    if mark != (file.target, file.size, file.mtime_ns):
        return False
    try:
        return row["decision"] == "failed" or (
            os.stat(file.target).st_size == row["bytes"]
        )
    except OSError:
        return False


def _cut_torn_line(path):
    if path.exists():
        whole = path.read_bytes().rpartition(b"\n")
        os.truncate(path, len(whole[0]) + len(whole[1]))


@contextlib.contextmanager
def locked(path, what, wait=False):
    """Hold a lock that the system releases with the process, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise UsageError(
                f"another `lafufu clean` is at work ({what}): wait until it has ended"
            ) from error
        yield
