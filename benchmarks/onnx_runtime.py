"""ONNX Runtime beside PyTorch on the CPU: time of each network, RTF, quality.

    python benchmarks/onnx_runtime.py --threads 2
    python benchmarks/onnx_runtime.py --model my_model --rounds 3
    python benchmarks/onnx_runtime.py --quality-only

Exports the model to a temporary folder, then times all contenders in turn, round after
round, so that other load on the machine affects them alike. Prints one Markdown table.

time     milliseconds for one window (2.04 s with the shipped models), medians over the
         rounds, and the real-time factor of a whole clip
quality  on the test clips of the embedded mini corpus: SI-SDR against the clean
         clips, and how far the difference from PyTorch in fp32 lies below it
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch

from common import bench_parser
from lafufu_sb.cli.evaluate import find_pairs
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.evaluation.clips import read_signal
from lafufu_sb.evaluation.metrics import evaluate
from lafufu_sb.evaluation.tables import markdown_table
from lafufu_sb.inference.loading import ModelChoice
from lafufu_sb.inference.shipped import model_folder
from lafufu_sb.training.export import export_onnx
from timing import time_parts

REFERENCE = "PyTorch fp32"
COLUMNS = ("encoder", "call", "decoder", "restore")


def main(arguments=None):
    """Measure and print."""
    parser = bench_parser(__doc__)
    parser.add_argument("--model", default="denoise")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip-int8", action="store_true")
    parser.add_argument("--quality-only", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    corpus = "EARS-Reverb" if "rev" in options.model else "EARS-WHAM"
    with tempfile.TemporaryDirectory() as folder:
        models = contenders(options.model, Path(folder), not options.skip_int8)
        rate = models[REFERENCE].sample_rate
        pairs = find_pairs(mini_corpus_folder(corpus))
        clips = [[read_signal(path, rate) for path in pair[1:]] for pair in pairs]
        rounds = 0 if options.quality_only else options.rounds
        times = time_in_turn(models, clips[0][0], rounds)
        quality = compare_quality(models, clips)
    sampling = models[REFERENCE].restorer.describe()
    print(f"{options.model}, {sampling}, {options.threads} threads, torch", end=" ")
    print(torch.__version__)
    heads = ["", *(f"{column}, ms" for column in COLUMNS[:-1])]
    rows = []
    for name in models:
        *parts, factor = times[name]
        cells = [f"{1e3 * seconds:.0f}" for seconds in parts] + [f"{factor:.3f}"]
        rows.append([name, *cells, *(f"{value:.2f}" for value in quality[name])])
    print(markdown_table([*heads, "RTF", "SI-SDR, dB", "below, dB"], rows))


def contenders(model, folder, int8):
    """{name: EnhanceLatent}."""

    def load(source, precision=None, backend="torch"):
        settings = {"precision": precision} if precision else {}
        choice = ModelChoice(str(source), settings=settings, backend=backend)
        return choice.load()

    models = {REFERENCE: load(model, "fp32"), "PyTorch bf16": load(model, "bf16")}
    for name, quantize in {"ONNX fp32": None, "ONNX int8": "int8"}.items():
        if quantize is None or int8:
            export_onnx(model_folder(model), folder / name, quantize=quantize)
            models[name] = load(folder / name, backend="onnx")
    return models


def time_in_turn(models, clip, rounds):
    """{name: medians of the columns}, NaN without rounds; the first does not count."""
    taken = {name: [] for name in models}
    for _ in range(1 + rounds if rounds else 0):
        for name, model in models.items():
            parts = time_parts(model.restorer)
            start = time.perf_counter()
            model.restorer.restore(clip[None])
            whole = time.perf_counter() - start
            parts["restore"] = whole * model.sample_rate / len(clip)
            taken[name].append([parts[column] for column in COLUMNS])
    nothing = [float("nan")] * len(COLUMNS)
    return {
        name: list(map(statistics.median, zip(*rows[1:], strict=True))) or nothing
        for name, rows in taken.items()
    }


def compare_quality(models, clips):
    """{name: (SI-SDR against clean, level of the difference from the reference)}."""
    restored = {
        name: [model.enhance_batch(distorted[None])[0] for distorted, _ in clips]
        for name, model in models.items()
    }
    quality = {}
    for name, estimates in restored.items():
        ratios, levels = [], []
        for estimate, first, clip in zip(
            estimates, restored[REFERENCE], clips, strict=True
        ):
            ratios.append(
                evaluate(estimate, clip[1], 48000, ["si_sdr"])["si_sdr"].value
            )
            difference = (estimate - first).square().sum()
            levels.append(float(10 * torch.log10(first.square().sum() / difference)))
        quality[name] = statistics.mean(ratios), statistics.mean(levels)
    return quality


if __name__ == "__main__":
    main()
