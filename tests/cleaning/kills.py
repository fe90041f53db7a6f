"""Kill ``lafufu clean`` again and again, with signal 9, and compare what is left.

    export PYTHONPATH=.:tests
    python tests/cleaning/kills.py --kills 20 INPUT OUTPUT -m wham --threads 1

cleans INPUT into OUTPUT/whole in one go and into OUTPUT/killed with kills at random
moments, in between with checks that no recording is there half, and compares bytes.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import soundfile
from corpora import contents

_WAITS = 120.0  # seconds for a run to get anywhere, before something must be wrong


def start(source, output, options):
    """A ``lafufu clean`` in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "lafufu_sb.cli.main",
        "clean",
        source,
        "-o",
        output,
    ]
    return subprocess.Popen(
        [*map(str, command), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(source, output, options):
    """Run to the end; gives exit status and what was said."""
    process = start(source, output, options)
    said, _ = process.communicate()
    return process.returncode, said


def kill(source, output, options, chance):
    """Run, and kill once it works, at a moment between here and two more files.

    Returns
    -------
    bool
        Whether it was killed before its end.
    """
    process = start(source, output, options)
    beginning = _done(output)
    deadline = time.monotonic() + _WAITS
    more = chance.choice([0, 1, 1, 2])
    while process.poll() is None and not _at_work(output, process):
        _wait(deadline)
    while process.poll() is None and _done(output) < beginning + more:
        _wait(deadline)
    time.sleep(chance.uniform(0.0, 0.2))
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def whole(folder):
    """Read every recording under its final name to its end; an error if one is half."""
    for path in folder.rglob("*.*"):
        if path.suffix in (".wav", ".flac") and ".lafufu-clean" not in path.parts:
            wav, _ = soundfile.read(path)
            assert len(wav) == soundfile.info(path).frames > 0, path


def _done(output):
    journals = (output / ".lafufu-clean").glob("shard-*/journal.jsonl")
    return sum(journal.read_bytes().count(b"\n") for journal in journals)


def _at_work(output, process):
    """Whether the process holds its shard: it has read the journal and goes on."""
    folders = (output / ".lafufu-clean").glob("shard-*/tmp")
    return any(folder.stat().st_ctime >= process_began(process) for folder in folders)


def process_began(process):
    """Seconds since the epoch."""
    return Path(f"/proc/{process.pid}").stat().st_ctime


def _wait(deadline):
    if time.monotonic() > deadline:
        raise TimeoutError("the run gets nowhere")
    time.sleep(0.01)


def main():
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("options", nargs="...", help="of lafufu clean")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    source, killed = arguments.input, arguments.output / "killed"
    kills = 0
    for _ in range(arguments.kills):
        kills += kill(source, killed, arguments.options, chance)
        whole(killed)
        print(f"kill {kills}: {_done(killed)} files done", flush=True)
    for output in (killed, arguments.output / "whole"):
        status, said = finish(source, output, arguments.options)
        print(f"{output}: exit status {status}; {said.splitlines()[-2]}")
    same = contents(killed) == contents(arguments.output / "whole")
    print(f"{kills} kills, bytes {'equal' if same else 'DIFFER'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
