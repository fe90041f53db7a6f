"""End ``lafufu clean`` repeatedly by signals; the result is that of one whole run.

    export PYTHONPATH=.:tests
    python tests/cleaning/kills.py --kills 20 INPUT OUTPUT -m denoise --threads 1

cleans INPUT into OUTPUT/killed with signals at random moments, into OUTPUT/whole
without, checks after each that every recording is complete, and compares the bytes.
"""

import argparse
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import soundfile
from corpora import contents

_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGKILL", "SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
    if hasattr(signal, name)
]
_LONGEST_WAIT = 120.0  # seconds for a run to make progress


def start(source, output, options):
    """A ``lafufu clean`` in a process of its own."""
    command = [sys.executable, "-m", "lafufu_sb.cli.main", "clean", source]
    return subprocess.Popen(
        [*map(str, command), "-o", str(output), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(source, output, options):
    """Run to the end; returns exit status and output."""
    process = start(source, output, options)
    printed, _ = process.communicate()
    return process.returncode, printed


def kill(source, output, options, chance):
    """Run, and end it by a signal after up to two more files.

    Returns
    -------
    bool
        Whether the process was killed before its end.
    """
    began, before = time.time(), _done(output)
    process = start(source, output, options)
    more = chance.choice([0, 1, 1, 2])
    deadline = time.monotonic() + _LONGEST_WAIT
    while process.poll() is None and not (
        _is_at_work(output, began) and _done(output) >= before + more
    ):
        if time.monotonic() > deadline:
            process.kill()
            raise TimeoutError("the run makes no progress")
        time.sleep(0.01)
    time.sleep(chance.uniform(0.0, 0.1))
    was_running = process.poll() is None
    process.send_signal(chance.choice(_SIGNALS))
    process.communicate()
    return was_running


def check_complete(folder):
    """Read every result to its end; AssertionError if one is incomplete."""
    for path in folder.rglob("*.*"):
        if path.suffix in (".wav", ".flac") and ".lafufu-clean" not in path.parts:
            wav, _ = soundfile.read(path)
            assert len(wav) == soundfile.info(path).frames > 0, path


def _done(output):
    journals = (output / ".lafufu-clean").glob("shard-*/journal.jsonl")
    return sum(journal.read_bytes().count(b"\n") for journal in journals)


def _is_at_work(output, began):
    """Whether a process that began later than ``began`` (s) holds its shard."""
    folders = (output / ".lafufu-clean").glob("shard-*/tmp")
    return any(folder.stat().st_ctime > began for folder in folders)


def main():
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("options", nargs="...", help="options of lafufu clean")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    source, killed = arguments.input, arguments.output / "killed"
    kills = 0
    for _ in range(arguments.kills):
        kills += kill(source, killed, arguments.options, chance)
        check_complete(killed)
        print(f"kill {kills}: {_done(killed)} files done", flush=True)
    for output in (killed, arguments.output / "whole"):
        status, printed = finish(source, output, arguments.options)
        print(f"{output}: exit status {status}; {printed.splitlines()[-2]}")
    same = contents(killed) == contents(arguments.output / "whole")
    print(f"{kills} kills, bytes {'equal' if same else 'DIFFER'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
