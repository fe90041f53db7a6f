"""The state of a cleaning: journals that survive a kill, files that appear whole.

The folder ``.lafufu-clean`` below the output folder holds

- ``settings.json``: the settings that all results were made with,
- ``shard-NAME/``: journal and temporary files of one shard. The journal has one line of
  JSON per finished file, written to disk before the next file is finished. Temporary
  files become results by renaming,
- ``partial/``: what is restored so far of long files,
- ``unpacked/``, ``restored/``: originals and results of manifests that contain audio,
- ``lock`` and ``shard-NAME.lock``: the locks. A process holds that of its shard from
  before it reads the settings until its last row is written.
"""

import contextlib
import json
import os
import shutil
from pathlib import Path

from lafufu_sb.cleaning.journal import JOURNAL, PARTIAL, Shard, read_journal, to_disk
from lafufu_sb.cleaning.locks import locked
from lafufu_sb.errors import UsageError
from lafufu_sb.files import checked_path, written_whole

FOLDER = ".lafufu-clean"
UNPACKED, RESTORED = "unpacked", "restored"


class State:
    """The state of a cleaning or scoring in its output folder.

    Arguments
    ---------
    output : str or Path
        Folder of the results.
    name : str
        Of the folder of the state below it.

    Attributes
    ----------
    output, folder : Path
        Absolute path of the output folder, and of the state in it.
    unpacked, restored : Path
        Folders for the originals and results of a packed manifest.
    """

    def __init__(self, output, name=FOLDER):
        self.output = Path(os.path.abspath(checked_path(output)))
        self.folder = self.output / name
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
            If the folder is a file or has files that were not made here, or if another
            process is at work and ``restart`` is set. Nothing is discarded then.
        """
        if self.output.exists() and not self.output.is_dir():
            raise UsageError(f"{self.output} is a file: choose an output folder")
        if not self.folder.is_dir():
            # Another process may make the folder of the state at this moment. Scores
            # may be among other files.
            alone = self.folder.name == FOLDER and self.output.exists()
            if alone and set(os.listdir(self.output)) - {FOLDER}:
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
                self._compare(self._read_settings(), settings)
            else:
                with written_whole(self._settings) as temporary:
                    temporary.write_text(json.dumps(settings, indent=2))
                    to_disk(temporary)

    def _read_settings(self):
        try:
            settings = json.loads(self._settings.read_bytes())
        except ValueError:
            settings = None
        if not isinstance(settings, dict):
            raise UsageError(
                f"{self._settings} is damaged, so the settings of the results are "
                "unknown: discard all results with --restart"
            )
        return settings

    def _compare(self, then, now):
        for name in sorted(then | now):
            if then.get(name) != now.get(name):
                raise UsageError(
                    f"{self.output} was started with {name} {then.get(name)!r}, now it "
                    f"is {now.get(name)!r}: use the same settings, choose another "
                    "output folder, or discard all results with --restart"
                )

    def _forget(self):
        for name in self._names():
            with self._held(name):  # refused before anything is discarded
                pass
        for name in self._names():
            shutil.rmtree(self._folder_of(name), ignore_errors=True)
        self.forget_temporary()
        self._settings.unlink(missing_ok=True)

    def forget_temporary(self):
        """Remove unpacked originals, and what is restored so far of long files."""
        for folder in (self.folder / PARTIAL, self.unpacked):
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self):
        """Remove temporary files of shards on which no process works."""
        for name in self._names():
            with contextlib.suppress(UsageError), self._held(name):
                shutil.rmtree(self._folder_of(name) / "tmp", ignore_errors=True)

    def _names(self, pattern="*"):
        """Names of the shards on which a process works or has worked."""
        found = self.folder.glob(f"shard-{pattern}")
        shards = {path.name.removesuffix(".lock") for path in found}
        return sorted(shard.removeprefix("shard-") for shard in shards)

    def _folder_of(self, name):
        return self.folder / f"shard-{name}"

    def _held(self, name):
        """Context of the lock of a shard; UsageError if another process holds it.

        To be entered under ``locked``: other processes hold it for moments there.
        """
        what = f"shard {name} of {self.output}"
        return locked(self.folder / f"shard-{name}.lock", what)

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
        for shard in self._names(name):
            for row in read_journal(self._folder_of(shard) / JOURNAL):
                file = wanted.get(row["source"])
                done = row["decision"] != "failed"
                if file and (done or file.source not in found) and _holds(row, file):
                    found[file.source] = row
        return found

    def complete(self, files):
        """Rows of all files in the order of the plan; None, with a line, if some miss.

        Arguments
        ---------
        files : sequence of PlannedFile
            Of a plan.

        Returns
        -------
        list of dict or None
        """
        found = self.rows(files)
        if missing := len(files) - len(found):
            print(
                f"{missing} of {len(files)} files belong to other shards: the last "
                "shard to end writes the results of all"
            )
            return None
        return [found[file.source] for file in files]

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
            If another process is working on it, or on a shard of another division,
            which has files in common with it.
        """
        folder = self._folder_of(name)
        with contextlib.ExitStack() as locks:
            with self.locked():
                for other in self._names():
                    if _division(other) != _division(name):
                        with self._held(other):
                            pass
                locks.enter_context(self._held(name))
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


def _holds(row, file):
    """Whether a row describes the file in its present state and its result exists."""
    mark = row["target"], row["size"], row.get("mtime_ns")
    if mark != (file.target, file.size, file.mtime_ns):
        return False
    try:
        if row["decision"] == "failed" or not file.target:
            return True
        return os.stat(file.target).st_size == row.get("bytes")
    except OSError:
        return False


def _division(name):
    """What shards that have no files in common share in their names.

    >>> _division("1-of-8"), _division("ray-3")
    ('8', 'ray')
    """
    number, _, count = name.partition("-of-")
    return count or number.partition("-")[0]
