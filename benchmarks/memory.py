"""Peak memory of restoring a file, against its length.

    python benchmarks/memory.py                              # 0.5, 1 and 5 minutes
    python benchmarks/memory.py --minutes 1 10 60 --model my_model --device cuda

Each length runs ``EnhanceLatent.enhance_file`` from file to file in a process of its
own. Writes JSON and Markdown.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy
import soundfile
import torch

from common import (
    bench_parser,
    describe_run,
    publish,
    run_alone,
    significant,
)
from lafufu_sb.evaluation.tables import markdown_table
from lafufu_sb.inference.loading import ModelChoice
from lafufu_sb.restoration.devices import peak_rss

BLOCK = 48000 * 10  # samples written at once, so that writing needs little memory


def write_noise(path, minutes, sample_rate=48000):
    """Write a mono recording of noise, which costs as much as speech."""
    generator = numpy.random.default_rng(0)
    left = round(minutes * 60 * sample_rate)
    with soundfile.SoundFile(path, "w", sample_rate, 1) as file:
        while left > 0:
            block = 0.1 * generator.standard_normal(min(BLOCK, left)).clip(-4, 4)
            file.write(block.astype(numpy.float32))
            left -= len(block)


def restore_file(options):
    """Restore one file in this process: ``bytes`` at the peak, ``loaded``, ``seconds``.

    On a CUDA device the sizes are those of its allocator, and ``host_bytes`` is the
    peak of the process.
    """
    settings = {"precision": options.precision} if options.precision else {}
    model = ModelChoice(options.model, settings=settings, device=options.device).load()
    on_cuda = torch.device(options.device).type == "cuda"
    peak = torch.cuda.max_memory_allocated if on_cuda else peak_rss
    loaded = peak()
    start = time.perf_counter()
    model.enhance_file(options.alone, options.alone.with_name("restored.wav"))
    seconds = time.perf_counter() - start
    row = {"bytes": peak(), "loaded": loaded, "seconds": seconds}
    return row | ({"host_bytes": peak_rss()} if on_cuda else {})


def measure(options):
    """Rows of ``minutes`` and the results of ``restore_file``."""
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
    run = describe_run(options.device) | {"model": options.model}
    return {"run": run, "rows": rows}


def write_table(results):
    """Markdown of the results."""
    run, rows = results["run"], results["rows"]
    heads = ["minutes", "peak, MB", "with the model loaded, MB", "real-time factor"]
    cells = []
    for row in rows:
        factor = significant(row["seconds"] / 60 / row["minutes"], 2)
        sizes = [f"{row[name] / 1e6:.0f}" for name in ("bytes", "loaded")]
        cells.append([f"{row['minutes']:g}", *sizes, factor])
    slope = ""
    if len(rows) > 1:
        growth = (rows[-1]["bytes"] - rows[0]["bytes"]) / 1e6
        growth /= rows[-1]["minutes"] - rows[0]["minutes"]
        slope = f" From the shortest to the longest: {growth:.1f} MB a minute."
    return (
        f"`{Path(run['model']).name}` on {run['device']}, threads: {run['threads']}, "
        f"torch {run['torch']}.{slope}\n\n    {run['command']}\n\n"
        f"{markdown_table(heads, cells)}"
    )


def main(arguments=None):
    """Measure each length in a process of its own, or be that process."""
    parser = bench_parser(__doc__, "memory")
    parser.add_argument("--model", default="denoise")
    parser.add_argument("--minutes", type=float, nargs="+", default=[0.5, 1, 5])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", help="by default the model's own")
    parser.add_argument("--alone", type=Path, help="restore this file and print")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.alone:
        print(json.dumps(restore_file(options)))
        return
    results = measure(options)
    publish(options, results, write_table(results))


if __name__ == "__main__":
    main()
