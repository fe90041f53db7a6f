"""What the benchmarks share: facts of the machine, peak memory, tables, files."""

import json
import os
import platform
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from lafufu_sb import __version__
from lafufu_sb.files import written_whole
from lafufu_sb.restoration.devices import device_name

ROOT = Path(__file__).resolve().parents[1]


def describe_run(device):
    """What a reader must know to place the numbers of this process.

    Arguments
    ---------
    device : torch.device
        Where the networks run.

    Returns
    -------
    dict
        Strings and numbers; ``device``, ``threads`` and ``torch`` say whether two runs
        may stand in one table.
    """
    return {
        "command": shlex.join(["python", _from_root(sys.argv[0]), *sys.argv[1:]]),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "lafufu_sb": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "load_average": round(os.getloadavg()[0], 2),  # at the start, of one minute
        "tf32": {
            "matmul": torch.backends.cuda.matmul.allow_tf32,
            "convolution": torch.backends.cudnn.allow_tf32,
        },
    }


def _from_root(path):
    path = Path(path).resolve()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name)


def peak_rss():
    """Largest resident memory that this process has had so far, bytes."""
    # Not ru_maxrss where it can be helped: on Linux a child begins with its parent's.
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def run_alone(script, *arguments):
    """Run one of these scripts in a process of its own.

    Arguments
    ---------
    script : str or Path
        Prints one line of JSON as its last.
    *arguments
        Of its command line.

    Returns
    -------
    object
        What that line holds.

    Raises
    ------
    RuntimeError
        If the process fails; with the end of what it said.
    """
    command = [sys.executable, str(script), *map(str, arguments)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    if process.returncode:
        raise RuntimeError(
            f"{shlex.join(command)} ended with {process.returncode}: "
            f"{process.stderr[-2000:] or 'it said nothing (out of memory?)'}"
        )
    return json.loads(process.stdout.splitlines()[-1])


def significant(value, digits=3):
    """A number as a table has it: so many digits, without an exponent.

    Example
    -------
    >>> significant(1234.5), significant(12.345), significant(0.001234)
    ('1234', '12.3', '0.00123')
    """
    if value == 0:
        return "0"
    magnitude = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if magnitude:
        return f"{value:.{max(digits - magnitude, 0)}f}"
    leading = f"{abs(value):e}".split("e")[1]
    return f"{value:.{digits - 1 - int(leading)}f}"


def write_json(stem, results):
    """Write ``stem``.json whole; its folder is made if it is missing."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(stem.with_name(stem.name + ".json")) as path:
        path.write_text(json.dumps(results, indent=1) + "\n")


def write_report(stem, results, text, figure):
    """Write ``stem``.json, .md and .png, each whole or not at all.

    Arguments
    ---------
    stem : Path
        Folder and name without suffix; the folder is made if it is missing.
    results : dict
        Everything that was measured.
    text : str
        Tables.
    figure : matplotlib.figure.Figure
        Plot.
    """
    write_json(stem, results)
    with written_whole(stem.with_name(stem.name + ".md")) as path:
        path.write_text(text + "\n")
    with written_whole(stem.with_name(stem.name + ".png")) as path:
        figure.savefig(path, format="png", dpi=120)


def add_output_arguments(parser, name):
    """Give a benchmark's command line the options that ``publish`` needs.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Gets ``--output`` and ``--document``.
    name : str
        Of the benchmark.
    """
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("results/benchmarks") / name,
        help="name of .json, .md and .png, without suffix",
    )
    parser.add_argument(
        "--document", type=Path, help="put the tables between its marks of this name"
    )


def publish(options, results, text, figure):
    """Write a report, put its tables into a document if one is named, print them.

    Arguments
    ---------
    options : argparse.Namespace
        With ``output`` and ``document``.
    results, text, figure
        See ``write_report``.
    """
    write_report(options.output, results, text, figure)
    if options.document:
        put_into_document(options.document, options.output.name, text)
    print(text)


def put_into_document(document, name, text):
    """Replace what stands between the two marks of ``name`` in a document.

    Arguments
    ---------
    document : Path
        Has the lines ``<!-- name: begin -->`` and ``<!-- name: end -->``.
    name : str
        Of the block.
    text : str
        Its new content.

    Raises
    ------
    ValueError
        If the document lacks the marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = document.read_text()
    before, found, rest = old.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{document} lacks the lines {begin!r} and {end!r}")
    with written_whole(document) as path:
        path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
