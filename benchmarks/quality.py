"""Quality of models and of other enhancers on the same paired clips.

Example::

    python benchmarks/quality.py --data corpora/EARS-WHAM/test --models denoise \
        --peers DeepFilterNet3 NSNet2 RNNoise --wer 'r0*' --output quality/wham

Each system gets a result folder, which is kept: a second run measures only new systems,
and ``lafufu report quality/wham/*`` writes the tables. A model is ``model`` or
``name=model``, with settings as in ``model?num_steps=4&sampler=bridge_ode``. Special
settings: ``?dry=1`` is the unprocessed input, ``?autoencoder_bound`` the autoencoder
bound (clean latent, distorted skips), ``?pre_enhancer`` the pre-enhancer alone.
"""

import argparse
import fnmatch
import json
import time
from functools import partial
from pathlib import Path

import yaml
from speechbrain.utils.edit_distance import count_ops, op_table

from common import write_text
from lafufu_sb.cli.evaluate import add_comparison_options, find_pairs
from lafufu_sb.evaluation.clips import read_signal
from lafufu_sb.evaluation.metrics import METRICS, available, missing_hints
from lafufu_sb.evaluation.report import REPORT, write_report
from lafufu_sb.evaluation.runs import (
    RESTORED,
    RESULT,
    ModelSystem,
    describe_model,
    describe_pairs,
    run_system,
    write_result,
)
from lafufu_sb.inference.loading import ModelChoice
from peers import PEERS, RATE, Whisper

WORDS = "words.json"


class ModelByText:
    """A model with settings, such as ``folder?num_steps=4``, as a system."""

    def __init__(self, text):
        folder, _, options = text.partition("?")
        options = dict(part.partition("=")[::2] for part in options.split("&") if part)
        self.bound = options.pop("autoencoder_bound", None) is not None
        self.pre_enhancer = options.pop("pre_enhancer", None) is not None
        settings = {name: yaml.safe_load(value) for name, value in options.items()}
        names = ("preset", "device", "backend", "trust")
        chosen = {name: settings.pop(name) for name in names if name in settings}
        self.model = ModelChoice(folder, settings=settings, **chosen).load()
        self.facts = describe_model(self.model)
        self.system = ModelSystem(self.model)

    def __call__(self, distorted, clean_path):
        """Restore (time,); returns the restored (time,) and its real-time factors."""
        restorer = self.model.restorer
        if self.pre_enhancer:
            return restorer.pre_enhance(distorted[None])[0], {}
        if not self.bound:
            return self.system(distorted)
        clean = read_signal(clean_path, RATE)[: len(distorted)]
        pair = (signal[None, : len(clean)] for signal in (distorted, clean))
        return restorer.autoencoder_bound(*pair)[0], {}


class Peer:
    """Another enhancer as a system."""

    facts = {}

    def __init__(self, name):
        self.peer = PEERS[name]()

    def __call__(self, distorted, clean_path):
        """Restore (time,); returns the restored (time,) and its real-time factor."""
        start = time.perf_counter()
        restored = self.peer.enhance(distorted, RATE)
        seconds = time.perf_counter() - start
        return restored, {"rtf": seconds * RATE / len(distorted)}


def evaluate_system(name, build, pairs, folder, listen=None, metrics=None):
    """Build and measure a system unless its result folder exists already.

    ``listen`` counts word errors of the restored folder, see ``word_errors``; the
    metrics are by default all that are installed.
    """
    if (folder / RESULT).is_file():
        return
    system, metrics = build(), metrics or available()
    run_system(
        system, pairs, folder, sample_rate=RATE, metrics=metrics, keep_audio=True
    )
    if listen is not None:
        write_text(folder / WORDS, json.dumps(listen(folder / RESTORED), indent=1))
    facts = describe_pairs(pairs) | system.facts
    write_result(folder, name, [{"folder": "."}], **facts)


def word_errors(pairs, pattern):
    """A function that counts word errors of restored clips whose ids match a glob.

    The reference is what the recogniser hears in the clean clip, in the language that
    it hears there.
    """
    transcribe = Whisper()
    languages, said = {}, {}
    for name, _, clean in pairs:
        if fnmatch.fnmatch(name, pattern):
            signal = read_signal(clean, RATE).numpy()
            languages[name] = transcribe.language_of(signal)
            said[name] = transcribe(signal, languages[name])

    def listen(folder):
        signals = {name: read_signal(folder / f"{name}.wav", RATE) for name in said}
        texts = {
            name: transcribe(signal.numpy(), languages[name])
            for name, signal in signals.items()
        }
        counts = [count_errors(said[name], texts[name]) for name in said]
        errors, words = (sum(column) for column in zip(*counts, strict=True))
        clips = dict(zip(said, counts, strict=True))
        return {"errors": errors, "words": words, "clips": clips, "texts": texts}

    return listen


def count_errors(reference, text):
    """(errors, words of the reference) of two transcriptions."""
    reference, text = reference.split(), text.split()
    return sum(count_ops(op_table(reference, text)).values()), len(reference)


def error_lines(folders):
    """A line for each result folder with counted words."""
    for folder in folders:
        if (folder / WORDS).is_file():
            counted = json.loads((folder / WORDS).read_text())
            rate = 100 * counted["errors"] / counted["words"]
            yield f"- {folder.name}: WER {rate:.1f} % of {counted['words']} words"


def named_model(text):
    """(name, model with settings) of ``[name=]model[?settings]``.

    Example
    -------
    >>> named_model("fast=my/model?num_steps=1"), named_model("denoise")
    (('fast', 'my/model?num_steps=1'), ('denoise', 'denoise'))
    """
    if "=" in text.partition("?")[0]:
        name, _, model = text.partition("=")
        return name, model
    return Path(text.partition("?")[0]).name, text


def main():
    """Measure new systems, then print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True, help="folder with noisy and clean")
    parser.add_argument("--models", nargs="*", default=[], help="[name=]model[?...]")
    parser.add_argument("--peers", nargs="*", default=[], choices=list(PEERS))
    parser.add_argument("--wer", help="glob on ids of clips whose words are counted")
    parser.add_argument("--clips", type=int, help="number of clips, spread over all")
    parser.add_argument("--output", required=True, type=Path)
    add_comparison_options(parser)
    options = parser.parse_args()
    pairs = find_pairs(options.data, options.clips)
    systems = {name: partial(Peer, name) for name in options.peers}
    for name, model in map(named_model, options.models):
        systems[name] = partial(ModelByText, model)
    listen = word_errors(pairs, options.wer) if options.wer else None
    for name, build in systems.items():
        evaluate_system(name, build, pairs, options.output / name, listen)
    folders = [options.output / name for name in systems]
    comparison = {"reference": options.reference, "groups": dict(options.groups)}
    write_report(folders, options.output, **comparison)
    hints = [f"- not measured: {hint}" for hint in missing_hints(METRICS)]
    report = options.output / REPORT
    text = "\n".join([report.read_text(), *error_lines(folders), *hints])
    write_text(report, text)
    print(text)


if __name__ == "__main__":
    main()
