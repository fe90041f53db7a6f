"""Speed of ``lafufu clean`` in one process, and on Ray with several workers.

    python benchmarks/clean_speed.py --minutes 20 -o results/clean_speed

Makes a corpus of the embedded recordings, repeated to files of 1 to 30 s and one of
several minutes, and cleans it in each mode. *All* is the whole command; *steady* leaves
out the start and the files until the first is finished.
"""

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

from common import bench_parser, describe_run, publish, significant
from lafufu_sb.cleaning.manifests import open_manifest
from lafufu_sb.cleaning.plan import make_plan
from lafufu_sb.corpora.mini_corpus import __path__ as mini_corpus
from lafufu_sb.evaluation.tables import markdown_table

MODES = {
    "one process": [],
    "one process, --gate none": ["--gate", "none"],
    "Ray, 1 worker": ["--engine", "ray", "--workers", "1"],
    "Ray, 2 workers": ["--engine", "ray", "--workers", "2"],
}
_LONGEST = 30.0  # seconds, except for one file
_LONG = 0.2  # share of the one long file in the corpus


def make_corpus(folder, minutes, seed=0):
    """Write a corpus of embedded recordings, noisy and clean, repeated.

    Lengths are drawn evenly on a logarithmic scale from 1 to 30 s; one file holds a
    fifth of the audio, as happens in real corpora. Returns the seconds of audio.
    """
    sources = sorted(Path(mini_corpus[0]).rglob("*.wav"))
    generator = np.random.default_rng(seed)
    total, lengths = 60.0 * minutes, [60.0 * minutes * _LONG]
    while sum(lengths) < total:
        drawn = float(np.exp(generator.uniform(0.0, np.log(_LONGEST))))
        lengths.append(max(1.0, min(drawn, total - sum(lengths))))
    for number, seconds in enumerate(lengths):
        wav, rate = soundfile.read(sources[number % len(sources)])
        path = folder / f"speaker{number % 7}" / f"{number:05}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.resize(wav, round(seconds * rate)), rate)
    return sum(lengths)


def measure(corpus, output, options):
    """Clean a corpus: seconds, steady speed, and the share spent computing."""
    start = time.perf_counter()
    command = ["-m", "lafufu_sb.cli.main", "clean", corpus, "-o", output, *options]
    process = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True
    )
    if process.returncode:
        raise RuntimeError(f"lafufu clean failed: {process.stderr[-2000:]}")
    seconds = time.perf_counter() - start
    shares = re.search(r"computing (\d+) %", process.stderr)
    return {
        "seconds": seconds,
        "steady": steady_speed([json.loads(line) for line in journal_lines(output)]),
        "computing": int(shares[1]) / 100 if shares else None,
    }


def journal_lines(output):
    """Lines of all journals of an output folder, bytes."""
    return [line for path in output.rglob("journal.jsonl") for line in path.open("rb")]


def measure_plan(folder, count):
    """Seconds and bytes that planning so many files takes."""
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
    """Seconds of audio per second, from the first finished file to the last.

    Example
    -------
    >>> steady_speed([{"finished": f, "seconds": 6.0} for f in (10.0, 11.0, 13.0)])
    4.0
    """
    rows = sorted(rows, key=lambda row: row["finished"])
    audio = sum(row["seconds"] for row in rows[1:])
    return audio / max(rows[-1]["finished"] - rows[0]["finished"], 1e-9)


def table(results):
    """Markdown of the results."""
    rows = []
    for mode, found in results["ways"].items():
        speeds = results["seconds"] / found["seconds"], found["steady"]
        share = found["computing"]
        computing = "" if share is None else f"{100 * share:.0f} %"
        rows.append([mode, *map(significant, speeds), computing])
    heads = ["", "x real time, all", "x real time, steady", "of it computing"]
    run, plan = results["run"], results["plan"]
    return (
        f"{run['device']}, threads a worker: {results['threads']}, torch "
        f"{run['torch']}, load average at the start {run['load_average']}; "
        f"{results['seconds'] / 60:.1f} minutes in {results['files']} files.\n\n"
        f"    {run['command']}\n\n{markdown_table(heads, rows)}\n\n"
        f"Planning {plan['files']} files, with tracemalloc on: "
        f"{1e3 * plan['seconds'] / plan['files']:.2f} ms and "
        f"{plan['bytes'] / plan['files'] / 1e3:.1f} kB a file; a row of the journal: "
        f"{results['row_bytes']:.0f} bytes."
    )


def main(arguments=None):
    """Make the corpus, clean it in each mode, write the table."""
    parser = bench_parser(__doc__, "clean_speed")
    parser.set_defaults(threads=1)  # of each worker
    parser.add_argument("--minutes", type=float, default=20.0, help="of audio")
    parser.add_argument("--files", type=int, default=20000, help="to plan alone")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("-m", "--model", default="denoise")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        corpus, ways = folder / "corpus", {}
        results = {"run": describe_run(), "threads": options.threads}
        results["seconds"] = make_corpus(corpus, options.minutes)
        results["files"] = sum(1 for _ in corpus.rglob("*.wav"))
        for number, mode in enumerate(options.modes):
            output = folder / str(number)
            own = ["-m", options.model, "--threads", options.threads, *MODES[mode]]
            ways[mode] = measure(corpus, output, own)
        lines = journal_lines(output)
        results |= {"ways": ways, "row_bytes": sum(map(len, lines)) / len(lines)}
        results["plan"] = measure_plan(folder, options.files)
    publish(options, results, table(results))


if __name__ == "__main__":
    main()
