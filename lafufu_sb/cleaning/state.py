"""The state of a cleaning: journals that survive a kill, files that appear whole.

The folder ``.lafufu-clean`` below the output folder holds

- ``settings.json``: the settings that all results were made with,
- ``shard-NAME/``: journal and temporary files of one shard. The journal has one line of
  JSON per finished file, written to disk before the next file is finished. Temporary
  files become results by renaming,
- ``partial/``: what is restored so far of long files,
- ``unpacked/``, ``restored/``: originals and results of manifests that contain audio,
- ``lock`` and ``shard-NAME.lock``: the locks.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import threading
from pathlib import Path

from lafufu_sb.cleaning.locks import locked
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole

FOLDER = ".lafufu-clean"
PARTIAL, UNPACKED, RESTORED = "partial", "unpacked", "restored"


class State:
    """The state of a cleaning in its output folder.

    Arguments
    ---------
    output : str or Path
        Folder of the results.

    Attributes
    ----------
    output, folder : Path
        Absolute path of the output folder, and of the state in it.
    unpacked, restored : Path
        Folders for the originals and results of a packed manifest.
    """

    def __init__(self, output):
        self.output = Path(os.path.abspath(output))
        self.folder = self.output / FOLDER
        self.unpacked, self.restored = self.folder / UNPACKED, self.folder / RESTORED
        self._settings = self.folder / "settings.json"

    def open(self, restart=False):
        """Start or resume a cleaning; removes temporary files of killed runs.

        Arguments
        ---------
        restart : bool
            Discard the journals. Results stay in place until they are replaced.

        Raises
        ------
        UsageError
            If the folder has files that were not made here, or if another process is
            at work and ``restart`` is set.
        """
        if not self.folder.is_dir():
            if self.output.exists() and any(self.output.iterdir()):
                raise UsageError(
                    f"{self.output} is not empty and has no results of `lafufu clean`: "
                    "choose another output folder"
                )
            self.folder.mkdir(parents=True, exist_ok=True)
        with self.locked():
            if restart:
                self._forget()
            self._sweep()

    def agree(self, settings):
        """Store the settings, or compare them with those of the present results.

        Arguments
        ---------
        settings : dict of str to object
            Everything but the recordings that results depend on, in JSON's types.

        Raises
        ------
        UsageError
            If settings differ.
        """
        settings = json.loads(json.dumps(settings))  # as they will be read
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
                    f"{self.output} was started with {name} {then.get(name)!r}, now it "
                    f"is {now.get(name)!r}: use the same settings, choose another "
                    "output folder, or discard all results with --restart"
                )

    def _forget(self):
        for shard in self._shards():
            with locked(self._lock_of(shard), f"a shard of {self.output}"):
                shutil.rmtree(shard)
        self.forget_temporary()
        self._settings.unlink(missing_ok=True)

    def forget_temporary(self):
        """Remove unpacked originals, and what is restored so far of long files."""
        for folder in (self.folder / PARTIAL, self.unpacked):
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self):
        """Remove temporary files of shards on which no process works."""
        for shard in self._shards():
            with contextlib.suppress(UsageError), locked(self._lock_of(shard), "it"):
                shutil.rmtree(shard / "tmp", ignore_errors=True)

    def _shards(self, name="*"):
        found = self.folder.glob(f"shard-{name}")
        return sorted(path for path in found if path.is_dir())

    def _lock_of(self, shard):
        return shard.with_name(f"{shard.name}.lock")  # beside it: it can be removed

    def rows(self, files, name="*"):
        """Journal rows of files in their present state.

        Arguments
        ---------
        files : sequence of PlannedFile
            Of a plan.
        name : str
            Shard whose journal is read, by default all.

        Returns
        -------
        dict of str to dict
            Source to the row of a result that is in place, else of a failure. Files
            with neither are missing.
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

    def pending(self, files, name="*"):
        """Split files into those to clean, failures included, and finished ones.

        Arguments
        ---------
        files, name
            See ``rows``.

        Returns
        -------
        left : list of PlannedFile
        done : list of dict
            Rows of the others.
        """
        rows = self.rows(files, name)
        done = {s: row for s, row in rows.items() if row["decision"] != "failed"}
        return [f for f in files if f.source not in done], list(done.values())

    @contextlib.contextmanager
    def shard(self, name):
        """Context of a ``Shard`` to write to, locked against other processes.

        Arguments
        ---------
        name : str
            Of the shard.

        Raises
        ------
        UsageError
            If another process is working on it.
        """
        folder = self.folder / f"shard-{name}"
        with contextlib.ExitStack() as locks:
            with self.locked():  # sweeping holds the locks of shards for a moment
                what = f"shard {name} of {self.output}"
                locks.enter_context(locked(self._lock_of(folder), what))
                folder.mkdir(exist_ok=True)
            shard = Shard(folder)
            try:
                yield shard
            finally:
                shard.close()

    def locked(self):
        """Context of the lock of the whole folder; waits for it.

        It is held for moments, to open the folder and to write the report.
        """
        return locked(self.folder / "lock", None)


class Shard:
    """Journal and temporary files of one process."""

    def __init__(self, folder):
        self._temporary, self._partial = folder / "tmp", folder.parent / PARTIAL
        shutil.rmtree(self._temporary, ignore_errors=True)  # left by a killed run
        self._temporary.mkdir()
        self._lock = threading.Lock()
        path = folder / "journal.jsonl"
        _cut_torn_line(path)
        self._journal = open(path, "ab", buffering=0)

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
            with open(temporary, "r+b") as stream:
                os.fsync(stream.fileno())
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
        with self._lock:
            if self._journal.write(line) < len(line):
                raise OSError(errno.ENOSPC, "no space left on disk for the journal")
            os.fsync(self._journal.fileno())

    def close(self):
        """Close the journal and remove the temporary folder."""
        self._journal.close()
        shutil.rmtree(self._temporary, ignore_errors=True)


def read_journal(path):
    """Rows of a journal, without a last line that a kill left incomplete."""
    rows = []
    if path.exists():
        for line in path.read_bytes().split(b"\n")[:-1]:
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
    return rows


def _holds(row, file):
    """Whether a row describes the file in its present state and its result exists."""
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
