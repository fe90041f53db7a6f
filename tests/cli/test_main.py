"""The command line: one-line errors, exit statuses, nothing half-done."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from lafufu_sb import __version__
from lafufu_sb.cli.main import main


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "in" / "a.wav"
    path.parent.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 20000)
    soundfile.write(path, noise, 48000)
    return path


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_enhance_one_file(recording, tiny_model, tmp_path, capsys):
    out = tmp_path / "out.wav"
    assert run("enhance", recording, "-o", out, "-m", tiny_model) == 0
    assert soundfile.info(out).frames == 20000
    line = capsys.readouterr().out
    measured = (
        r"0\.42 s in [\d.]+ s, RTF [\d.]+, preset balanced, 1 call, 2 phase averages"
    )
    assert re.fullmatch(rf".*a\.wav -> .*out\.wav  {measured}\n", line)


@pytest.mark.parametrize(
    "arguments, sampling",
    [
        (["--preset", "fast"], "preset fast, 1 call"),
        (
            ["--preset", "balanced", "--num-steps", "2"],
            "bridge_ode, 2 calls, 2 phase averages",
        ),
        (
            ["--preset", "fast", "--phase-averages", "3"],
            "bridge_ode, 1 call, 3 phase averages",
        ),
        (["--preset", "paper", "--sampler", "bridge_ode"], "bridge_ode, 1 call"),
        (["--preset", "paper", "--num-steps", "2"], "bridge_sde, 2 calls"),
        (["--num-steps", "3"], "bridge_ode, 3 calls, 2 phase averages"),
    ],
)
def test_explicit_options_override_the_preset(
    recording, tiny_model, tmp_path, capsys, arguments, sampling
):
    out = tmp_path / "out.wav"
    assert run("enhance", recording, "-o", out, "-m", tiny_model, *arguments) == 0
    assert capsys.readouterr().out.endswith(f", {sampling}\n")


def test_enhance_folder_keeps_its_structure(recording, tiny_model, tmp_path):
    (tmp_path / "in" / "sub").mkdir()
    noise = np.random.default_rng(1).normal(0, 0.1, 9000)
    soundfile.write(tmp_path / "in" / "sub" / "b.flac", noise, 44100)
    assert run("enhance", tmp_path / "in", "-o", tmp_path / "o", "-m", tiny_model) == 0
    written = sorted(
        str(p.relative_to(tmp_path / "o")) for p in tmp_path.rglob("o/**/*.wav")
    )
    assert written == ["a.wav", "sub/b.wav"]


def test_broken_file_of_a_folder_is_reported_and_the_rest_restored(
    recording, tiny_model, tmp_path, capsys
):
    (tmp_path / "in" / "broken.wav").write_text("not audio")
    assert run("enhance", tmp_path / "in", "-o", tmp_path / "o", "-m", tiny_model) == 1
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["a.wav"]
    error = capsys.readouterr().err
    assert "broken.wav is not audio" in error and "1 of 2 files failed" in error


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["missing.wav", "-o", "o"], "missing.wav does not exist"),
        (["{folder}/nothing", "-o", "o"], "holds no audio files"),
        (["{folder}/in/text.wav", "-o", "o.wav"], "not audio"),
        (["{folder}/in/a.wav", "-o", "o", "--sampler", "magic"], "'magic' is unknown"),
        (["{folder}/in/a.wav", "-o", "o", "--num-steps", "-1"], "10000, got -1"),
        (
            ["{folder}/in/a.wav", "-o", "o", "--preset", "best"],
            "no preset 'best': this model has fast, balanced, paper",
        ),
        (
            ["{folder}/in/a.wav", "-o", "o", "--sampler", "predictor_corrector"],
            "does not fit this model",
        ),
        (["{folder}/in/a.wav", "-o", "{folder}/in"], "would overwrite its input"),
        (["{folder}/in/a.wav", "-o", "o\0.wav"], "holds a null byte"),
        (["{folder}/in/a.wav", "{folder}/in/sub/a.wav", "-o", "o"], "several inputs"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line_and_writes_nothing(
    recording, tiny_model, tmp_path, monkeypatch, capsys, arguments, message
):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "in" / "text.wav").write_text("x")
    (tmp_path / "in" / "sub").mkdir()
    (tmp_path / "in" / "sub" / "a.wav").write_bytes(recording.read_bytes())
    workplace = tmp_path / "workplace"
    workplace.mkdir()
    monkeypatch.chdir(workplace)
    arguments = [a.format(folder=tmp_path) for a in arguments]
    assert run("enhance", *arguments, "-m", tiny_model) == 2
    captured = capsys.readouterr()
    error = [line for line in captured.err.splitlines() if "error" in line]
    assert len(error) == 1 and error[0].startswith("lafufu: error: ")
    assert message in error[0]
    assert not list(workplace.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_missing_device_gives_way_unless_told_not_to(
    recording, tiny_model, tmp_path, capsys
):
    command = ["enhance", recording, "-m", tiny_model, "--device", "cuda"]
    assert run(*command, "-o", tmp_path / "a.wav") == 0
    assert run(*command, "-o", tmp_path / "b.wav", "--no-fallback") == 2
    assert "device 'cuda' cannot be used" in capsys.readouterr().err
    assert (tmp_path / "a.wav").exists() and not (tmp_path / "b.wav").exists()


def test_model_that_runs_programs_is_refused_unless_trusted(
    recording, tiny_model, tmp_path, capsys
):
    folder, mark = tmp_path / "model", tmp_path / "mark"
    shutil.copytree(tiny_model, folder)
    with open(folder / "hyperparams.yaml", "a") as file:
        file.write(f"extra: !apply:pathlib.Path.touch [!new:pathlib.Path [{mark}]]")
    command = ["enhance", recording, "-o", tmp_path / "out.wav", "-m", folder]
    assert run(*command) == 2 and not mark.exists()
    assert "--trust" in capsys.readouterr().err
    assert run(*command, "--trust") == 0 and mark.exists()


def test_export_command(tiny_run, tmp_path):
    assert run("export", tiny_run, "-o", tmp_path / "model", "--fp16-weights") == 0
    assert (tmp_path / "model" / "hyperparams.yaml").exists()


def test_export_of_no_run_is_an_error(tmp_path, capsys):
    assert run("export", tmp_path, "-o", tmp_path / "model") == 2
    assert "not a run folder" in capsys.readouterr().err


def test_only_refusals_and_file_errors_become_one_line(monkeypatch, capsys):
    from lafufu_sb.cli import demo
    from lafufu_sb.errors import UsageError

    errors = iter([UsageError("no such thing"), OSError("disk full"), KeyError("bug")])

    def fail(options):
        raise next(errors)

    monkeypatch.setattr(demo, "demo_command", fail)
    assert run("demo") == 2
    assert capsys.readouterr().err == "lafufu: error: no such thing\n"
    assert run("--traceback", "demo") == 2
    assert "Traceback" in capsys.readouterr().err
    with pytest.raises(KeyError, match="bug"):
        run("demo")


def test_package_is_a_program():
    command = [sys.executable, "-m", "lafufu_sb", "--version"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert process.stdout.strip() == __version__
