"""A corpus, and the command with a small model in place of a real one."""

import pytest
from corpora import small_model, write_noise

from lafufu_sb.cleaning.job import clean
from lafufu_sb.cli.main import build_parser


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


@pytest.fixture
def cleaning(monkeypatch):
    """``cleaning(*arguments)``: rows of ``lafufu clean``, unheard unless it says."""

    def run(*arguments, model=None):
        model = model or small_model()
        monkeypatch.setattr("lafufu_sb.cli.main.load_model", lambda options: model)
        arguments = [str(argument) for argument in arguments]
        if "--gate" not in arguments:
            arguments += ["--gate", "none"]
        options = vars(build_parser().parse_args(["clean", *arguments]))
        return clean(options | {"replacement": dict(options["replacement"])})

    return run
