"""A corpus, a model folder that loads fast, and the command with a small model."""

import io

import pytest
import torch
from corpora import Halving, small_model, write_noise
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML

from lafufu_sb.cleaning import job
from lafufu_sb.cleaning.job import clean
from lafufu_sb.cleaning.options import CleaningOptions
from lafufu_sb.cli.clean import cleaning_options
from lafufu_sb.cli.main import build_parser
from lafufu_sb.inference.loading import ModelChoice
from lafufu_sb.inference.shipped import shipped_model
from lafufu_sb.inference.weights import save_weights
from lafufu_sb.lobes.fingerprint import fingerprint


@pytest.fixture
def corpus(tmp_path):
    """Formats, rates, channels and lengths in three folders."""
    folder = tmp_path / "corpus"
    write_noise(folder / "a.wav", 0.11, seed=1)
    write_noise(folder / "one" / "b.flac", 0.1, 44100, 2, seed=2)
    write_noise(folder / "one" / "c.wav", 0.05, 48000, seed=3)
    write_noise(folder / "two" / "deep" / "d.ogg", 0.1, 22050, seed=4)
    write_noise(folder / "two" / "e.wav", 0.2, 8000, seed=5)
    return folder


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory):
    """Model folder of a tiny network with random weights."""
    folder = tmp_path_factory.mktemp("untrained")
    settings = YAML().load(shipped_model("denoise") / "hyperparams.yaml")
    settings["representation"]["channels"] = 4
    settings["score_model"].update(base_channels=8, multipliers=[1, 1])
    settings["restorer"].update(window_frames=64, overlap_frames=16, preset="fast")
    text = io.StringIO()
    YAML().dump(settings, text)
    torch.manual_seed(0)
    modules = load_hyperpyyaml(text.getvalue())
    for name in ("representation", "score_model"):
        save_weights(modules[name], folder / f"{name}.safetensors")
    mark = fingerprint(modules["representation"])
    settings["representation_fingerprint"] = mark
    YAML().dump(settings, folder / "hyperparams.yaml")
    return folder


@pytest.fixture
def cleaning(monkeypatch):
    """``cleaning(*arguments)``: rows of ``lafufu clean``, by default without judges."""

    def run(*arguments, model=None):
        model = model or small_model()

        def load(choice):
            return model.with_settings(**choice.settings) if choice.settings else model

        monkeypatch.setattr(ModelChoice, "load", load)
        arguments = [str(argument) for argument in arguments]
        if "--gate" not in arguments:
            arguments += ["--gate", "none"]
        options = build_parser().parse_args(["clean", *arguments])
        return clean(cleaning_options(options))

    return run


@pytest.fixture
def halving(monkeypatch):
    """``halving(input, output, **options)``: clean with ``Halving``; its rows."""

    def run(source, output, stop_after=None, **options):
        monkeypatch.setattr(job, "load_cleaner", lambda *_: Halving(stop_after))
        return clean(CleaningOptions(str(source), str(output), **options))

    return run
