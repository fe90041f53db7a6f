"""Model options are those of the settings, and reach the model."""

import argparse
from dataclasses import fields

import pytest

from lafufu_sb.cli.main import build_parser
from lafufu_sb.cli.options import add_model_options, model_choice
from lafufu_sb.errors import UsageError
from lafufu_sb.restoration.settings import RestoreSettings


def parse(*arguments, several=False):
    parser = argparse.ArgumentParser()
    add_model_options(parser, several)
    return parser.parse_args(arguments)


def test_without_options_nothing_differs_from_the_preset():
    choice = model_choice(parse())
    assert (choice.model, choice.preset, choice.settings) == ("denoise", None, {})


def test_every_setting_is_an_option():
    given = {
        "sampler": ["bridge_sde"],
        "num_steps": ["4"],
        "options": ["spacing=quadratic"],
        "phase_averages": ["3"],
        "window": ["1.5"],
        "overlap": ["0.5"],
        "precision": ["fp32"],
        "compile": [],
        "windows_per_batch": ["2"],
        "seed": ["7"],
        "dry": ["0.25"],
    }
    assert set(given) == {field.name for field in fields(RestoreSettings)}
    arguments = []
    for name, values in given.items():
        name = "option" if name == "options" else name
        arguments += [f"--{name.replace('_', '-')}", *values]
    settings = RestoreSettings(**model_choice(parse(*arguments)).settings)
    assert settings == RestoreSettings(
        "bridge_sde", 4, {"spacing": "quadratic"}, 3, 1.5, 0.5, "fp32", True, 2, 7, 0.25
    )


@pytest.mark.parametrize("command", ["enhance", "clean", "evaluate"])
def test_commands_that_restore_share_the_options(command):
    required = {"enhance": ["a"], "clean": ["a"], "evaluate": []}[command]
    arguments = [command, *required, "-o", "o", "--phase-averages", "2", "--dry", "0.5"]
    arguments += ["--backend", "onnx", "--no-fallback", "--trust", "--threads", "1"]
    options = build_parser().parse_args(arguments)
    choice = model_choice(options, model="denoise")
    assert choice.settings == {"phase_averages": 2, "dry": 0.5}
    assert (choice.backend, choice.fallback, choice.trust) == ("onnx", False, True)


def test_second_model_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        parse("-m", "denoise", "-m", "dereverb")
    assert "-m is given twice" in capsys.readouterr().err


def test_several_models_have_no_default():
    assert parse(several=True).model is None
    assert parse("-m", "a", "b", several=True).model == ["a", "b"]


def test_threads_below_one_are_refused():
    with pytest.raises(UsageError, match="--threads must be at least 1, got 0"):
        model_choice(parse("--threads", "0"))
