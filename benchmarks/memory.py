"""Peak memory of restoring a file, against its length.

    python benchmarks/memory.py                              # 0.5, 1 and 5 minutes
    python benchmarks/memory.py --minutes 1 10 60 --model my_model --device cuda

Each length runs ``EnhanceLatent.enhance_file`` from file to file in a process of its
own. Writes JSON, Markdown and a plot.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy
import soundfile
import torch

from common import (
    add_output_arguments,
    describe_run,
    peak_rss,
    publish,
    run_alone,
    significant,
)
from lafufu_sb import EnhanceLatent
from lafufu_sb.evaluation.tables import markdown_table
from lafufu_sb.inference.shipped import model_folder

BLOCK = 48000 * 10  # samples written at once, so that 60 minutes need no memory here


def write_noise(path, minutes, sample_rate=48000):
    """Write a mono recording of noise, which costs what speech costs.

    Arguments
    ---------
    path : Path
        FLAC, 16 bits.
    minutes : float
        Its length.
    sample_rate : int
        Hz.
    """
    generator = numpy.random.default_rng(0)
    left = round(minutes * 60 * sample_rate)
    with soundfile.SoundFile(path, "w", sample_rate, 1) as file:
        while left > 0:
            block = 0.1 * generator.standard_normal(min(BLOCK, left)).clip(-4, 4)
            file.write(block.astype(numpy.float32))
            left -= len(block)


def restore_file(options):
    """Restore one file in this process.

    Arguments
    ---------
    options : argparse.Namespace
        Of ``parse_arguments``.

    Returns
    -------
    dict
        ``bytes`` at the peak, ``loaded`` when the model was there, and ``seconds``.
        On a CUDA device the first two are those of its allocator, and ``host_bytes``
        the peak of the process.
    """
    model = EnhanceLatent.from_hparams(
        source=model_folder(options.model), run_opts={"device": options.device}
    )
    if options.precision:
        model.restorer.set_precision(options.precision)
    on_cuda = torch.device(options.device).type == "cuda"
    peak = torch.cuda.max_memory_allocated if on_cuda else peak_rss
    loaded = peak()
    start = time.perf_counter()
    model.enhance_file(options.alone, options.alone.with_name("restored.wav"))
    seconds = time.perf_counter() - start
    row = {"bytes": peak(), "loaded": loaded, "seconds": seconds}
    return row | ({"host_bytes": peak_rss()} if on_cuda else {})


def measure(options):
    """One process after another, a length each.

    Returns
    -------
    dict
        ``run`` and ``rows``, a dict of ``minutes`` and what ``restore_file`` gave.
    """
    passed = ["--model", options.model, "--device", options.device]
    passed += ["--threads", options.threads]
    passed += ["--precision", options.precision] if options.precision else []
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "noise.flac"
        for minutes in sorted(options.minutes):
            write_noise(recording, minutes)
            row = run_alone(__file__, "--alone", recording, *passed)
            rows.append({"minutes": minutes} | row)
    run = describe_run(torch.device(options.device))
    return {"run": run | {"model": options.model}, "rows": rows}


def write_table(results):
    """Markdown of ``measure``'s results."""
    run, rows = results["run"], results["rows"]
    table = markdown_table(
        ["minutes", "peak, MB", "with the model loaded, MB", "real-time factor"],
        [
            [
                f"{row['minutes']:g}",
                f"{row['bytes'] / 1e6:.0f}",
                f"{row['loaded'] / 1e6:.0f}",
                significant(row["seconds"] / 60 / row["minutes"], 2),
            ]
            for row in rows
        ],
    )
    slope = ""
    if len(rows) > 1:
        first, last = rows[0], rows[-1]
        growth = (last["bytes"] - first["bytes"]) / 1e6
        growth /= last["minutes"] - first["minutes"]
        slope = f" From the shortest to the longest: {growth:.1f} MB a minute."
    return (
        f"`{Path(run['model']).name}` on {run['device']}, threads: {run['threads']}, "
        f"torch {run['torch']}.{slope}\n\n    {run['command']}\n\n{table}"
    )


def draw(results):
    """Peak memory against minutes.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = results["rows"]
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    minutes = [row["minutes"] for row in rows]
    axes.plot(minutes, [row["bytes"] / 1e6 for row in rows], "o-", label="peak")
    loaded = [row["loaded"] / 1e6 for row in rows]
    axes.plot(minutes, loaded, "--", color="grey", label="with the model loaded")
    axes.set_xlabel("minutes of the recording")
    axes.set_ylabel("MB")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.4)
    axes.legend()
    return figure


def parse_arguments(arguments=None):
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wham", help="wham, reverb or a folder")
    parser.add_argument("--minutes", type=float, nargs="+", default=[0.5, 1, 5])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--precision", choices=["fp32", "bf16"], help="by default the model's own"
    )
    add_output_arguments(parser, "memory")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main():
    """Measure each length in a process of its own, or be that process."""
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    if options.alone:
        print(json.dumps(restore_file(options)))
        return
    results = measure(options)
    publish(options, results, write_table(results), draw(results))


if __name__ == "__main__":
    main()
