"""Shared by the benchmarks: facts of the machine, peak memory, numbers, files."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from lafufu_sb import __version__
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.figures import save_png
from lafufu_sb.files import written_whole
from lafufu_sb.restoration.devices import device_name

ROOT = Path(__file__).resolve().parents[1]


def describe_run(device="cpu"):
    """Facts that a reader needs to judge the numbers of this process, a dict."""
    script = Path(sys.argv[0]).resolve()
    script = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script.name
    return {
        "command": shlex.join(["python", str(script), *sys.argv[1:]]),
        "device": device_name(torch.device(device)),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "lafufu_sb": __version__,
        "load_average": round(os.getloadavg()[0], 2),  # at the start, of one minute
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def with_sampler(restorer, sampler, **options):
    """A restorer with the same networks, another sampler and one phase average."""
    return restorer.with_settings(sampler=sampler, phase_averages=1, **options)


def run_alone(script, *arguments):
    """Run a script in a process of its own; returns the JSON of its last line."""
    command = [sys.executable, str(script), *map(str, arguments)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    if process.returncode:
        raise RuntimeError(
            f"{shlex.join(command)} ended with {process.returncode}: "
            f"{process.stderr[-2000:] or 'no message (out of memory?)'}"
        )
    return json.loads(process.stdout.splitlines()[-1])


def significant(value, digits=3):
    """A number with so many significant digits, without an exponent.

    Example
    -------
    >>> significant(1234.5), significant(12.345), significant(0.001234)
    ('1234', '12.3', '0.00123')
    """
    if value == 0:
        return "0"
    if abs(value) >= 1:
        return f"{value:.{max(digits - len(str(int(abs(value)))), 0)}f}"
    return f"{value:.{digits - 1 - int(f'{abs(value):e}'.split('e')[1])}f}"


def bench_parser(description, name=None):
    """A command line; with ``name``, it has the options that ``publish`` needs."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    if name:
        parser.add_argument(
            "-o",
            "--output",
            type=Path,
            default=Path("results/benchmarks") / name,
            help="name of .json, .md and .png, without suffix",
        )
        parser.add_argument(
            "--document", type=Path, help="put the tables between its marks of NAME"
        )
    return parser


def write_text(path, text):
    """Write a file whole, in a folder that is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_text(text)


def write_json(stem, results):
    """Write ``stem``.json."""
    write_text(
        stem.with_name(f"{stem.name}.json"), json.dumps(results, indent=1) + "\n"
    )


def publish(options, results, text, figure=None):
    """Write .json, .md and .png, update a document if one is named, print the tables.

    ``options`` have ``output`` and ``document``, see ``bench_parser``.
    """
    stem = options.output
    write_json(stem, results)
    write_text(stem.with_name(f"{stem.name}.md"), f"{text}\n")
    if figure is not None:
        save_png(figure, stem.with_name(f"{stem.name}.png"), dpi=120)
    if options.document:
        put_into_document(options.document, stem.name, text)
    print(text)


def put_into_document(document, name, text):
    """Replace the text between two marks of a document; UsageError if it lacks them.

    They are the lines ``<!-- name: begin -->`` and ``<!-- name: end -->``.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = document.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UsageError(f"{document} lacks the lines {begin!r} and {end!r}")
    write_text(document, f"{before}{begin}\n{text}\n{end}{after}")
