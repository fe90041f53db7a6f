"""Quality of model folders and of other enhancers on the same paired clips.

Example::

    python benchmarks/quality.py --data corpora/EARS-WHAM/test --models denoise \
        --peers DeepFilterNet3 NSNet2 RNNoise --wer 'r0*' --output quality/wham

Each system gets a result folder, which is kept: a second run measures what is missing,
and ``lafufu report quality/wham/*`` makes more of them. A model may carry options,
``folder?num_steps=4``; with ``?dry=1`` it is the unprocessed input, with ``?autoencoder_bound``
the autoencoder's bound, decode(clean latent, distorted skips), with ``?predictor``
what its predictor hands to the encoder.
"""

import argparse
import fnmatch
import json
import time
from functools import partial
from pathlib import Path

import torch
import yaml
from speechbrain.utils.edit_distance import count_ops, op_table

from lafufu_sb.corpora.pairs import read_wav
from lafufu_sb.evaluation.metrics import METRICS
from lafufu_sb.evaluation.report import REPORT, write_report
from lafufu_sb.evaluation.runs import (
    RESTORED,
    RESULT,
    ModelSystem,
    describe_model,
    describe_pairs,
    find_pairs,
    run_system,
    write_result,
)
from lafufu_sb.files import written_whole
from lafufu_sb.inference.interface import EnhanceLatent
from peers import PEERS, RATE, Whisper

WORDS = "words.json"


class ModelByText:
    """``folder?num_steps=4&sampler=bridge_ode`` as a system; ``?autoencoder_bound`` its bound,
    ``?predictor`` what goes into its encoder."""

    def __init__(self, text):
        folder, _, options = text.partition("?")
        options = dict(part.partition("=")[::2] for part in options.split("&") if part)
        self.autoencoder_bound = options.pop("autoencoder_bound", None) is not None
        self.predictor = options.pop("predictor", None) is not None
        options = {name: yaml.safe_load(value) for name, value in options.items()}
        self.model = EnhanceLatent.from_hparams(source=folder, **options)
        self.facts = describe_model(self.model)
        self.system = ModelSystem(self.model)

    def __call__(self, distorted, clean_path):
        """(time,) to the restored (time,) and its times."""
        if self.predictor:
            return self.model.restorer.predict(distorted[None])[0], {}
        if not self.autoencoder_bound:
            return self.system(distorted)
        clean = read_wav(clean_path, RATE)[: len(distorted)]
        pair = (signal[None, : len(clean)] for signal in (distorted, clean))
        return self.model.restorer.autoencoder_bound(*pair)[0], {}


class Peer:
    """Another enhancer as a system."""

    facts = {}

    def __init__(self, name):
        self.peer = PEERS[name]()

    def __call__(self, distorted, clean_path):
        """(time,) to the restored (time,) and its time."""
        start = time.perf_counter()
        restored = torch.from_numpy(self.peer(distorted.numpy()))
        seconds = time.perf_counter() - start
        return restored, {"rtf": seconds * RATE / len(distorted)}


def evaluate_system(name, build, pairs, folder, listen):
    """Measure a system unless its folder is there already.

    Arguments
    ---------
    name : str
        Of the system.
    build : callable
        Gives the system.
    pairs : list of tuple
        See ``find_pairs``.
    folder : Path
        Its result folder.
    listen : callable or None
        Counts word errors of the restored folder, see ``word_errors``.
    """
    if (folder / RESULT).is_file():
        return
    system = build()
    run_system(
        system, pairs, folder, sample_rate=RATE, metrics=METRICS, keep_audio=True
    )
    if listen is not None:
        with written_whole(folder / WORDS) as path:
            path.write_text(json.dumps(listen(folder / RESTORED), indent=1))
    facts = describe_pairs(pairs) | system.facts
    write_result(folder, name, [{"folder": "."}], **facts)


def word_errors(pairs, pattern):
    """A function that transcribes restored recordings and counts word errors.

    Arguments
    ---------
    pairs : list of tuple
        See ``find_pairs``.
    pattern : str
        Glob on ids of English clips.
    """
    transcribe = Whisper()
    clips = [pair for pair in pairs if fnmatch.fnmatch(pair[0], pattern)]
    said = {name: transcribe(read_wav(clean, RATE).numpy()) for name, _, clean in clips}

    def listen(folder):
        texts = {
            n: transcribe(read_wav(folder / f"{n}.wav", RATE).numpy()) for n in said
        }
        counts = [count_errors(said[name], texts[name]) for name in said]
        errors, words = (sum(column) for column in zip(*counts, strict=True))
        return {"errors": errors, "words": words, "texts": texts}

    return listen


def count_errors(reference, text):
    """(errors, words of the reference) of two transcriptions."""
    reference, text = reference.split(), text.split()
    return sum(count_ops(op_table(reference, text)).values()), len(reference)


def error_lines(folders):
    """A line for each result folder whose words were counted."""
    for folder in folders:
        if (folder / WORDS).is_file():
            counted = json.loads((folder / WORDS).read_text())
            rate = 100 * counted["errors"] / counted["words"]
            yield f"- {folder.name}: WER {rate:.1f} % of {counted['words']} words"


def main():
    """Measure what is missing, then print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True, help="folder with noisy and clean")
    parser.add_argument("--models", nargs="*", default=[], help="name=folder[?options]")
    parser.add_argument("--peers", nargs="*", default=[], choices=list(PEERS))
    parser.add_argument("--wer", help="glob on ids of English clips")
    parser.add_argument("--clips", type=int, help="only so many, spread over all")
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    pairs = find_pairs(options.data, options.clips)
    systems = {name: partial(Peer, name) for name in options.peers}
    for text in options.models:
        name, _, folder = text.partition("=")
        systems[name] = partial(ModelByText, folder)
    listen = word_errors(pairs, options.wer) if options.wer else None
    for name, build in systems.items():
        evaluate_system(name, build, pairs, options.output / name, listen)
    folders = [options.output / name for name in systems]
    write_report(folders, options.output)
    report = options.output / REPORT
    text = "\n".join([report.read_text(), *error_lines(folders)])
    report.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
