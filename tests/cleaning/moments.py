"""End a cleaning at a chosen moment: by a signal in a process of its own, or an error.

A moment is a call of a function of the package. Processes are forked from one that has
imported everything, so that many moments fit in a fast test.
"""

import contextlib
import csv
import errno
import importlib.util
import itertools
import multiprocessing
import os
import re
import signal
from typing import NamedTuple
from unittest import mock

from corpora import small_model, write_noise

from lafufu_sb.cleaning import loading, work
from lafufu_sb.cleaning.gate import Gate, Verdict
from lafufu_sb.cli.main import main
from lafufu_sb.inference.loading import ModelChoice

IN_MEMORY = 1.5  # seconds x channels; a file with more goes from disk to disk
KEPT = 400  # samples of the recording that the gate keeps
PACKAGE = "lafufu_sb"
PRELOADED = [f"{PACKAGE}.cleaning.job", f"{PACKAGE}.inference.interface"]
PRELOADED += [f"{PACKAGE}.cli.main", "matplotlib.backends.backend_agg"]


class Moment(NamedTuple):
    """A call of a function, named below the package: its start or its end."""

    name: str
    call: int = 1
    after: bool = False

    def __str__(self):
        return f"{'after' if self.after else 'at'}_{self.name}_{self.call}"


def make_corpus(folder):
    """Short recordings, one that is kept and one long one; returns their manifest."""
    seconds = {"a": 0.01, "b": KEPT / 16000, "c": 0.02, "d": 0.015, "long": 0.05}
    for seed, (name, length) in enumerate(seconds.items()):
        path, channels = folder / f"{name[0]}_" / f"{name}.wav", 1 + (name == "long")
        write_noise(path, length, 16000, channels, seed=seed)
    manifest = folder / "train.csv"
    rows = [f"{name},{folder}/{name[0]}_/{name}.wav,word" for name in seconds]
    manifest.write_text("\n".join(["ID,wav,wrd", *rows]) + "\n")
    return manifest


@contextlib.contextmanager
def prepared():
    """Context with a small model, a gate that keeps one file, and a low memory."""
    judge = mock.Mock(side_effect=_judge)
    with (
        mock.patch.object(ModelChoice, "load", lambda choice: small_model()),
        mock.patch.object(loading, "load_gate", lambda *_: Gate([judge])),
        mock.patch.object(work, "IN_MEMORY", IN_MEMORY),
    ):
        yield


def _judge(before, after):
    return Verdict({}, "no" if before.samples == KEPT else "")


@contextlib.contextmanager
def acting(moment, act):
    """Context in which ``act(*arguments)`` is called at a moment.

    Yields
    ------
    list
        Has one item once the moment has come.
    """
    parts = f"{PACKAGE}.{moment.name}".split(".")
    depth = next(n for n in range(len(parts), 0, -1) if _is_module(parts[:n]))
    owner = importlib.import_module(".".join(parts[:depth]))
    for part in parts[depth:-1]:
        owner = getattr(owner, part)
    function, calls, come = getattr(owner, parts[-1]), itertools.count(1), []

    def wrapped(*arguments, **named):
        due = next(calls) == moment.call
        if due:
            come.append(moment)
        if due and not moment.after:
            act(*arguments)
        result = function(*arguments, **named)
        if due and moment.after:
            act(*arguments)
        return result

    with mock.patch.object(owner, parts[-1], wrapped):
        yield come


def _is_module(parts):
    try:
        return importlib.util.find_spec(".".join(parts)) is not None
    except ModuleNotFoundError:
        return False


def failing(number, path=None):
    """An act: the error of the operating system with a number of ``errno``."""

    def act(*_):
        raise OSError(number, os.strerror(number), path)

    return act


def half_a_row(shard, row):
    """An act at ``Shard.note``: a part of the line, then the end."""
    os.write(shard._journal.fileno(), f'{{"source": "{row["source"]}'.encode())
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_copy(source, target):
    """An act at ``copyfile``: a part of the file, then the end."""
    with open(source, "rb") as old, open(target, "wb") as new:
        new.write(old.read(100))
    os.kill(os.getpid(), signal.SIGKILL)


def clean_here(manifest, output, *options):
    """Clean in this process; returns the exit status."""
    with prepared():
        return main(["clean", str(manifest), "-o", str(output), *options])


def _child(arguments, moment, act, log):
    for number in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):  # nohup ignores the latter
        signal.signal(number, signal.SIG_DFL)
    if isinstance(act, int):
        number, act = act, lambda *_: os.kill(os.getpid(), number)
    with acting(moment, act):
        os._exit(clean_here(*arguments))


def start(manifest, output, *options, moment, act=signal.SIGKILL):
    """Start to clean in a process of its own, which a signal or ``act`` may end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    log = manifest.parent / "log.txt"
    arguments = (manifest, output, *options)
    process = context.Process(target=_child, args=(arguments, moment, act, log))
    process.start()
    return process


def end_of(process):
    """Exit status of a process; minus the signal that ended it."""
    process.join(600)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError("the run does not end")
    return process.exitcode


def outcome(output):
    """What a cleaning has made, to be compared with that of another folder.

    Returns
    -------
    dict of str to object
        Bytes of all files by name, the manifest with relative paths, and the report
        without run times. The journals are left out.
    """
    made = {}
    for path in sorted(output.rglob("*")):
        name = str(path.relative_to(output))
        if path.is_file() and not name.startswith(".lafufu-clean"):
            made[name] = path.read_bytes().replace(os.fsencode(output), b"OUT")
    made["cleaning_report.html"] = len(made["cleaning_report.html"]) > 1000
    rows = list(csv.DictReader(made.pop("cleaning_report.csv").decode().splitlines()))
    made["report"] = [{**row, "rtf": bool(row["rtf"])} for row in rows]
    state = output / ".lafufu-clean"
    made["left"] = sorted(
        re.sub("^shard-.*", "shard", path.name)
        for path in state.rglob("*")
        if not path.name.endswith("lock") and path.is_file()
    )
    return made


DISK_FULL, NO_PERMISSION = errno.ENOSPC, errno.EACCES
