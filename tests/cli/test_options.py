"""Model options are those of the settings, and reach the model."""

import argparse
import re
from dataclasses import fields

import pytest

from lafufu_sb.cli.main import build_parser, main
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


@pytest.mark.parametrize("threads", ["0", "-1", "100000"])
def test_threads_outside_their_range_are_refused(threads):
    message = f"--threads must be a whole number from 1 to 1024, got {threads}"
    with pytest.raises(UsageError, match=message):
        model_choice(parse("--threads", threads))


@pytest.mark.parametrize(
    "option, value, bounds",
    [
        *(
            ("max-dnsmos-drop", value, "0 to 4")
            for value in ("nan", "inf", "-0.1", "5")
        ),
        *(("max-cer", value, "0 to 1") for value in ("nan", "-inf", "-0.1", "1.1")),
        *(("min-cosine", value, "-1 to 1") for value in ("nan", "inf", "-1.1", "2")),
        *(("judge-pieces", value, "0 to 1000") for value in ("-1", "1001")),
        *(("io-threads", value, "1 to 256") for value in ("0", "-1", "100000")),
        *(("workers", value, "1 to 10000") for value in ("0", "100000000")),
        ("shard", "5/99999999", "N in --shard I/N .* 1 to 10000, got 99999999"),
        ("shard", "3/2", "I in --shard I/N .* 1 to 2, got 3"),
        ("shard", "0/2", "I in --shard I/N .* 1 to 2, got 0"),
    ],
)
def test_numbers_of_clean_outside_their_range_are_refused_with_the_range(
    tmp_path, capsys, option, value, bounds
):
    arguments = ["clean", str(tmp_path), "-o", "out", f"--{option}={value}"]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(f"lafufu: error: .*{bounds}", line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_a_corrector_step_that_is_no_number_is_refused(capsys, value):
    assert main(["import-sgmse", "a.ckpt", "-o", "out", f"--snr={value}"]) == 2
    assert "--snr must be a number from 0 to 100" in capsys.readouterr().err
