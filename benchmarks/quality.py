"""Quality of model folders and of other enhancers on the same paired clips.

Example::

    python benchmarks/quality.py --data corpora/EARS-WHAM/test --models denoise \
        --peers DeepFilterNet3 NSNet2 RNNoise --wer 'r0*' --output quality/wham

A system's csv is kept: a second run measures what is missing. A model may carry
options, ``folder?num_steps=4``; with ``?oracle`` it is the autoencoder's bound,
decode(clean latent, distorted hiddens).
"""

import argparse
import csv
import fnmatch
import time
from pathlib import Path

import torch
from tqdm import tqdm

from lafufu_sb.dataio import read_wav
from lafufu_sb.ears.manifests import pair_recordings
from lafufu_sb.files import written_whole
from lafufu_sb.inference import EnhanceLatent
from lafufu_sb.metrics import evaluate, summarise
from peers import PEERS, RATE, Whisper

METRICS = ("si_sdr", "pesq", "estoi", "dnsmos", "dnsmos_sig", "dnsmos_bak", "lsd")
DIGITS = {"si_sdr": 2, "words": 0}


def load_model(text):
    """``folder?num_steps=4&sampler=bridge_ode`` to a function (noisy, clean) -> wav."""
    folder, _, options = text.partition("?")
    options = dict(part.partition("=")[::2] for part in options.split("&") if part)
    oracle = options.pop("oracle", None) is not None
    if "num_steps" in options:
        options["num_steps"] = int(options["num_steps"])
    model = EnhanceLatent.from_hparams(source=folder, **options)

    def run(noisy, clean):
        if oracle:
            pair = (s[None] for s in (noisy, clean))
            return model.mods.restorer.oracle(*pair, torch.ones(1))[0]
        return model.enhance_batch(noisy[None])[0]

    return run


def load_peer(name):
    """A peer as a function (noisy, clean) -> wav."""
    peer = PEERS[name]()
    return lambda noisy, clean: torch.from_numpy(peer(noisy.numpy()))


def words(reference, text):
    """(errors, words of the reference) of two transcriptions."""
    import jiwer

    if not reference:
        return len(text.split()), 0
    alignment = jiwer.process_words(reference, text)
    errors = alignment.substitutions + alignment.insertions + alignment.deletions
    return errors, len(reference.split())


def measure(system, clips, transcribe, wer_glob):
    """One row per clip; its time is the time to restore, on whatever torch uses."""
    rows = []
    for name, noisy_path, clean_path in tqdm(clips):
        noisy, clean = (read_wav(path, RATE) for path in (noisy_path, clean_path))
        samples = min(len(noisy), len(clean))
        noisy, clean = noisy[:samples], clean[:samples]
        start = time.perf_counter()
        restored = system(noisy, clean).detach()
        rtf = (time.perf_counter() - start) * RATE / samples
        row = {"id": name} | evaluate(restored, clean, RATE, METRICS) | {"rtf": rtf}
        if transcribe is not None and fnmatch.fnmatch(name, wer_glob):
            texts = [transcribe(signal.numpy()) for signal in (clean, restored)]
            row["errors"], row["words"] = words(*texts)
            row["text"] = texts[1]
        rows.append(row)
    return rows


def line(name, rows):
    """A row of the Markdown table: means over clips."""
    summary = summarise(rows)
    cells = [f"{summary[m]['mean']:.{DIGITS.get(m, 3)}f}" for m in METRICS]
    total = sum(float(row.get("words") or 0) for row in rows)
    errors = sum(float(row.get("errors") or 0) for row in rows)
    cells.append(f"{100 * errors / total:.1f} %" if total else "")
    cells.append(f"{summary['rtf']['mean']:.3f}" if "rtf" in summary else "")
    return f"| {name} | {' | '.join(cells)} |"


def read_rows(path):
    """Rows of a finished csv, numbers as numbers."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    text = ("id", "text")
    return [
        {k: v if k in text else float(v) for k, v in row.items() if v != ""}
        for row in rows
    ]


def main():
    """Measure what is missing, then print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True, help="folder with noisy and clean")
    parser.add_argument("--models", nargs="*", default=[], help="name=folder[?options]")
    parser.add_argument("--peers", nargs="*", default=[], choices=list(PEERS))
    parser.add_argument("--wer", help="glob on ids of English clips")
    parser.add_argument("--clips", type=int, help="only the first so many")
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    clips = pair_recordings(options.data)[: options.clips]
    options.output.mkdir(parents=True, exist_ok=True)
    systems = {"unprocessed": lambda: lambda noisy, clean: noisy}
    systems |= {name: (lambda name=name: load_peer(name)) for name in options.peers}
    for text in options.models:
        name, _, folder = text.partition("=")
        systems[name] = lambda folder=folder: load_model(folder)
    transcribe = Whisper() if options.wer else None
    lines = [
        f"| {len(clips)} clips | {' | '.join(METRICS)} | WER | RTF |",
        "|---" * (len(METRICS) + 3) + "|",
    ]
    for name, load in systems.items():
        path = options.output / f"{name}.csv"
        if not path.exists():
            rows = measure(load(), clips, transcribe, options.wer)
            with written_whole(path) as temporary, open(temporary, "w") as file:
                keys = list(dict.fromkeys(key for row in rows for key in row))
                writer = csv.DictWriter(file, keys)
                writer.writeheader()
                writer.writerows(rows)
        lines.append(line(name, read_rows(path)))
    table = "\n".join(lines) + "\n"
    (options.output / "table.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
