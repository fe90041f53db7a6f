"""ONNX Runtime beside PyTorch on the CPU: time of each network, RTF, quality.

    python benchmarks/onnx_runtime.py --threads 2
    python benchmarks/onnx_runtime.py --model my_model --rounds 3
    python benchmarks/onnx_runtime.py --quality-only

Exports the model to a temporary folder, then times all contenders in turn, round after
round, so that whatever else the machine does falls on all of them alike. Prints one
Markdown table.

time     milliseconds for one window (2.04 s with the shipped models), medians over the
         rounds, and the same for the whole of ``restore`` per second of audio (RTF)
quality  on the test clips of the embedded mini corpus: SI-SDR against the clean
         clips, and how far the difference from PyTorch in fp32 lies below it
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from lafufu_sb import EnhanceLatent
from lafufu_sb.corpora.manifests import pair_recordings
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.corpora.pairs import read_wav
from lafufu_sb.evaluation.metrics import si_sdr
from lafufu_sb.evaluation.tables import markdown_table
from lafufu_sb.inference.shipped import model_folder
from lafufu_sb.training.export import export_onnx

CPU = {"device": "cpu"}
REFERENCE = "PyTorch fp32"
COLUMNS = ("encoder", "call", "decoder", "restore")


def main():
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="wham", help="wham, reverb or a folder")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip-int8", action="store_true")
    parser.add_argument("--quality-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = Path(model_folder(options.model))
    with tempfile.TemporaryDirectory() as folder:
        models = contenders(source, Path(folder), not options.skip_int8)
        clips = read_clips(models[REFERENCE].sample_rate, options.model)
        times = {name: dict.fromkeys(COLUMNS, float("nan")) for name in models}
        if not options.quality_only:
            times = time_in_turn(models, clips[0][0], options.rounds)
        quality = compare_quality(models, clips)
    restorer = models[REFERENCE].restorer
    steps = f"{restorer.sampler_name} {restorer.sampler_options}"
    print(f"{options.model}, {steps}, {options.threads} threads, torch", end=" ")
    print(torch.__version__)
    header = ["", *(f"{column}, ms" for column in COLUMNS[:-1])]
    header += ["RTF", "SI-SDR, dB", "below, dB"]
    rows = [
        [name, *(f"{times[name][column]:.0f}" for column in COLUMNS[:-1])]
        + [f"{times[name]['restore']:.3f}"]
        + [f"{value:.2f}" for value in quality[name]]
        for name in models
    ]
    print(markdown_table(header, rows))


def contenders(source, folder, int8):
    """{name: EnhanceLatent}."""
    load = partial(EnhanceLatent.from_hparams, run_opts=CPU)
    models = {REFERENCE: load(source=source), "PyTorch bf16": load(source=source)}
    models[REFERENCE].restorer.set_precision("fp32")
    models["PyTorch bf16"].restorer.set_precision("bf16")
    for name, quantize in {"ONNX fp32": None, "ONNX int8": "int8"}.items():
        if quantize is None or int8:
            export_onnx(source, folder / name, quantize=quantize)
            models[name] = load(source=folder / name, backend="onnx")
    return models


def read_clips(sample_rate, task):
    """List of (distorted, clean) test clips, (time,) each."""
    corpus = "EARS-Reverb" if task == "reverb" else "EARS-WHAM"
    pairs = pair_recordings(mini_corpus_folder(corpus) / "test")
    return [[read_wav(path, sample_rate) for path in pair[1:]] for pair in pairs]


def time_in_turn(models, clip, rounds):
    """{name: {column: median}}; the first round warms up and does not count."""
    taken = {name: [] for name in models}
    for _ in range(1 + rounds):
        for name, model in models.items():
            taken[name].append(time_once(model, clip))
    return {
        name: {c: statistics.median(row[c] for row in rows[1:]) for c in COLUMNS}
        for name, rows in taken.items()
    }


@torch.inference_mode()
def time_once(model, clip):
    """{column: ms of one window, or RTF of the whole clip}."""
    restorer = model.restorer
    window = restorer.plan.window
    audio = torch.nn.functional.pad(clip, (0, window))[:window]
    spectrogram = restorer.spectrogram(audio[None])
    networks = restorer.inference_networks()
    row = {}
    encode = partial(networks.encode, spectrogram)
    row["encoder"], (latent, skips, size) = timed(encode)
    network = networks.bind(latent)
    row["call"], _ = timed(partial(network, latent, latent, torch.ones(1)))
    decode = partial(networks.decode, latent, skips, size)
    row["decoder"], _ = timed(decode)
    milliseconds, _ = timed(partial(restorer.restore, clip[None]))
    row["restore"] = milliseconds * 1e-3 * model.sample_rate / len(clip)
    return row


def timed(function):
    """Milliseconds, and the result."""
    start = time.perf_counter()
    result = function()
    return 1e3 * (time.perf_counter() - start), result


def compare_quality(models, clips):
    """{name: (SI-SDR against clean, level of the difference from the reference)}."""
    restored = {
        name: [model.enhance_batch(distorted[None])[0] for distorted, _ in clips]
        for name, model in models.items()
    }

    def level(estimate, reference):
        difference = (estimate - reference).square().sum()
        return float(10 * torch.log10(reference.square().sum() / difference))

    return {
        name: (
            statistics.mean(map(si_sdr, estimates, (clean for _, clean in clips))),
            statistics.mean(map(level, estimates, restored[REFERENCE])),
        )
        for name, estimates in restored.items()
    }


if __name__ == "__main__":
    main()
