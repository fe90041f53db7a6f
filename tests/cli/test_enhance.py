"""``lafufu enhance``: where results go."""

import numpy as np
import pytest
import soundfile

from lafufu_sb.cli.enhance import plan_outputs
from lafufu_sb.cli.main import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with recordings and a folder whose name has a suffix."""
    for name in ("a.wav", "b.flac", "rec/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, np.zeros(100), 16000)
    (tmp_path / "old.v2").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "inputs, output, targets",
    [
        (["a.wav"], "x.wav", ["x.wav"]),
        (["a.wav"], "x.OPUS", ["x.OPUS"]),
        (["a.wav"], "x.oga", ["x.oga"]),
        (["a.wav"], "x.aif", ["x.aif"]),
        (["a.wav"], "x.m4a", ["x.m4a"]),
        (["a.wav"], "x.mp4", ["x.mp4"]),
        (["a.wav"], "x", ["x/a.wav"]),
        (["a.wav"], "x.xyz/", ["x.xyz/a.wav"]),
        (["a.wav"], "old.v2", ["old.v2/a.wav"]),
        (["a.wav", "b.flac"], "new.v2", ["new.v2/a.wav", "new.v2/b.wav"]),
        (["rec"], "new.v2", ["new.v2/c.wav"]),
    ],
)
def test_outputs(folder, inputs, output, targets):
    assert [str(target) for _, target in plan_outputs(inputs, output)] == targets


@pytest.mark.parametrize(
    "source, output",
    [
        ("rec", "rec"),
        ("rec", "rec/out"),
        ("rec/../rec", "rec/new/out"),
        ("rec", "link/out"),
        ("link", "rec/out"),
        (".", "rec"),
        ("rec", "."),
        ("rec", "results"),
    ],
)
@pytest.mark.parametrize("command", ["enhance", "clean"])
def test_results_are_never_restored_again(folder, capsys, command, source, output):
    (folder / "link").symlink_to("rec")
    (folder / "results").mkdir()
    (folder / "a.wav").rename(folder / "results" / "a.wav")
    (folder / "rec" / "earlier.wav").symlink_to("../results/a.wav")
    before = sorted(folder.rglob("*"))
    assert main([command, source, "-o", output]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "is inside" in error
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["a.wav", "-o", "x.xyz"], "x.xyz: cannot write .xyz, use .wav"),
        (["a.wav", "-o", "x.mp2"], "cannot write .mp2"),
        (["a.wav", "b.flac", "-o", "x.m4a"], "x.m4a names one file"),
        (["rec", "-o", "x.wav"], "x.wav names one file"),
        (["a.wav", "-o", "file"], "file is a file: choose another folder"),
        (["a.wav", "-o", ""], "'' as output is no file"),
        (["a.wav", "-o", "-"], "'-' as output is no file"),
        (["", "-o", "x"], "'' as input is no file"),
        (["-", "-o", "x"], "'-' as input is no file"),
        (["a.wav", "-o", "x.flac", "--subtype", "float"], ".flac files cannot hold"),
        (["a.wav", "-o", "x.m4a", "--subtype", "pcm_32"], ".m4a files cannot hold"),
    ],
)
def test_outputs_that_are_refused_in_one_line(folder, capsys, arguments, message):
    before = sorted(folder.rglob("*"))
    assert main(["enhance", *arguments]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("lafufu: error: ") and message in line
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["clean", "evaluate", "export", "demo"])
def test_other_commands_refuse_empty_names_too(capsys, command):
    inputs = [] if command in ("evaluate", "demo") else ["in"]
    assert main([command, *inputs, "-o", ""]) == 2
    assert "'' as output is no file" in capsys.readouterr().err
