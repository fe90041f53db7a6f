"""How much audio ``lafufu clean`` gets through: alone, and on Ray with workers.

    python benchmarks/clean_speed.py --minutes 20 -o results/clean_speed

makes a corpus of the embedded recordings, repeated to files of 1 to 30 s and one of
several minutes, and cleans it in each way. *Steady* leaves out the start and the files
until the first is done, whichever way it is measured; *all* is the whole command.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import soundfile
import torch

from common import (
    ROOT,
    describe_run,
    put_into_document,
    significant,
    write_json,
)
from lafufu_sb.cleaning.manifests import open_manifest
from lafufu_sb.cleaning.plan import make_plan
from lafufu_sb.corpora.mini_corpus import __path__ as mini_corpus
from lafufu_sb.evaluation.tables import markdown_table
from lafufu_sb.files import written_whole

WAYS = {
    "one process": [],
    "one process, --gate none": ["--gate", "none"],
    "Ray, 1 worker": ["--engine", "ray", "--workers", "1"],
    "Ray, 2 workers": ["--engine", "ray", "--workers", "2"],
}
_LONGEST = 30.0  # seconds, but for one file
_LONG = 0.2  # share of the one long file in the corpus


def make_corpus(folder, minutes, seed=0):
    """Write a corpus of embedded recordings, noisy and clean, repeated.

    Lengths are drawn evenly on a logarithmic scale from 1 to 30 s; one file holds a
    fifth of it all, since corpora have such.

    Arguments
    ---------
    folder : Path
        To write to.
    minutes : float
        Audio in all.
    seed : int
        Of the lengths.

    Returns
    -------
    float
        Seconds of audio.
    """
    sources = sorted(Path(mini_corpus[0]).rglob("*.wav"))
    generator = np.random.default_rng(seed)
    total, lengths = 60.0 * minutes, [60.0 * minutes * _LONG]
    while sum(lengths) < total:
        drawn = float(np.exp(generator.uniform(0.0, np.log(_LONGEST))))
        lengths.append(max(1.0, min(drawn, total - sum(lengths))))
    for number, seconds in enumerate(lengths):
        wav, rate = soundfile.read(sources[number % len(sources)])
        wav = np.resize(wav, round(seconds * rate))
        path = folder / f"speaker{number % 7}" / f"{number:05}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wav, rate)
    return sum(lengths)


def measure(corpus, output, options):
    """Clean a corpus; seconds in all, steady speed, and what was waited for."""
    start = time.perf_counter()
    command = ["-m", "lafufu_sb.cli.main", "clean", corpus, "-o", output, *options]
    process = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True
    )
    if process.returncode:
        raise RuntimeError(f"lafufu clean failed: {process.stderr[-2000:]}")
    seconds = time.perf_counter() - start
    rows = []
    for journal in output.rglob("journal.jsonl"):
        rows += [json.loads(line) for line in journal.read_text().splitlines()]
    shares = re.search(r"computing (\d+) %", process.stderr)
    return {
        "seconds": seconds,
        "steady": steady_speed(rows),
        "computing": int(shares[1]) / 100 if shares else None,
    }


def measure_plan(folder, count):
    """Seconds and bytes that the plan of so many files takes."""
    (folder / "plan").mkdir()
    first = folder / "plan" / "0.wav"
    soundfile.write(first, np.zeros(1600), 16000)
    for number in range(1, count):
        os.link(first, folder / "plan" / f"{number}.wav")
    tracemalloc.start()
    start = time.perf_counter()
    files = make_plan(open_manifest(folder / "plan"), folder / "planned")
    seconds = time.perf_counter() - start
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return {"files": len(files), "seconds": seconds, "bytes": size}


def steady_speed(rows):
    """Seconds of audio a second, from the first finished file to the last.

    Example
    -------
    >>> steady_speed([{"finished": f, "seconds": 6.0} for f in (10.0, 11.0, 13.0)])
    4.0
    """
    rows = sorted(rows, key=lambda row: row["finished"])
    audio = sum(row["seconds"] for row in rows[1:])
    return audio / max(rows[-1]["finished"] - rows[0]["finished"], 1e-9)


def row_bytes(output):
    """Mean bytes of a row of the journals."""
    lines = [line for path in output.rglob("journal.jsonl") for line in path.open("rb")]
    return sum(map(len, lines)) / len(lines)


def table(results):
    """Markdown of what was measured."""
    rows = []
    for way, found in results["ways"].items():
        share = found["computing"]
        rows.append(
            [
                way,
                significant(results["seconds"] / found["seconds"]),
                significant(found["steady"]),
                "" if share is None else f"{100 * share:.0f} %",
            ]
        )
    header = ["", "x real time, all", "x real time, steady", "of it computing"]
    run = results["run"]
    plan = results["plan"]
    per_file = (
        f"Planning {plan['files']} files, with tracemalloc on: "
        f"{1e3 * plan['seconds'] / plan['files']:.2f} ms and "
        f"{plan['bytes'] / plan['files'] / 1e3:.1f} kB a file; a row of the journal: "
        f"{results['row_bytes']:.0f} bytes."
    )
    return (
        f"{run['device']}, threads a worker: {results['threads']}, torch "
        f"{run['torch']}, load average at the start {run['load_average']}; "
        f"{results['seconds'] / 60:.1f} minutes in {results['files']} files.\n\n"
        f"    {run['command']}\n\n{markdown_table(header, rows)}\n\n"
        f"{per_file}"
    )


def main(arguments=None):
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="of audio")
    parser.add_argument("--files", type=int, default=20000, help="to plan alone")
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("-m", "--model", default="wham")
    parser.add_argument("-o", "--output", type=Path, help="NAME of .json and .md")
    parser.add_argument("--document", type=Path, help="to put the table into")
    options = parser.parse_args(arguments)
    run = describe_run(torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        results = {
            "run": run,
            "threads": options.threads,
            "seconds": make_corpus(folder / "corpus", options.minutes),
            "files": sum(1 for _ in (folder / "corpus").rglob("*.wav")),
            "ways": {},
        }
        common = ["-m", options.model, "--threads", options.threads]
        for number, way in enumerate(options.ways):
            output = folder / str(number)
            found = measure(folder / "corpus", output, common + WAYS[way])
            results["ways"][way] = found
        results["row_bytes"] = row_bytes(output)
        results["plan"] = measure_plan(folder, options.files)
    text = table(results)
    print(text)
    if options.output:
        write_json(options.output, results)
        with written_whole(options.output.with_name(options.output.name + ".md")) as md:
            md.write_text(text + "\n")
    if options.document:
        put_into_document(ROOT / options.document, "clean_speed", text)


if __name__ == "__main__":
    main()
