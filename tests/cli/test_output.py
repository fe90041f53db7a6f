"""What the terminal shows of names and texts that strangers wrote."""

import logging

import pytest
from odd import wav

from lafufu_sb.cli.main import main
from lafufu_sb.errors import printable

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\x7f\u2028"
HIDDEN = set("\x1b\x07\x9b\u202e\u2066\x7f\u2028\r")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ä, 語, 🎤", "plain, ä, 語, 🎤"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        (EVIL, r"\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\x7f\u2028"),
        ("می\u200cشود", "می\u200cشود"),  # a joiner within a word
        ("\udcff", r"\udcff"),
        (3, "3"),
    ],
)
def test_hidden_characters_are_shown_as_escapes(text, shown):
    assert printable(text) == shown


def checked(captured):
    text = captured.out + captured.err
    assert text and not HIDDEN & set(text), repr(text)
    return text


def test_names_of_files_are_escaped(tmp_path, capsys):
    assert main(["enhance", str(tmp_path / f"{EVIL}.wav"), "-o", "x.wav"]) == 2
    assert r"\x1b[2J" in checked(capsys.readouterr())


def test_names_in_tracebacks_are_escaped(tmp_path, capsys):
    arguments = ["--traceback", "export", str(tmp_path / EVIL), "-o", "x"]
    assert main(arguments) == 2
    assert "Traceback" in checked(capsys.readouterr())


def test_names_of_results_and_failures_are_escaped(tmp_path, capsys, monkeypatch):
    from small import small_model

    from lafufu_sb.inference.loading import ModelChoice

    monkeypatch.setattr(ModelChoice, "load", lambda _: small_model())
    folder = tmp_path / "in"
    folder.mkdir()
    wav(f"{EVIL}.wav")(folder)
    (folder / f"{EVIL}2.wav").write_text("no sound")
    assert main(["enhance", str(folder), "-o", str(tmp_path / "out")]) == 1
    text = checked(capsys.readouterr())
    assert "1 of 2 files failed" in text and text.count(r"\x1b[2J") >= 3


def test_texts_of_a_yaml_are_escaped(tmp_path, capsys):
    (tmp_path / "m").mkdir()
    text = 'restorer: "a\\e[2J"\n"b\\e[2J\\u202E": 1\n'
    (tmp_path / "m" / "hyperparams.yaml").write_text(text)
    wav()(tmp_path)
    arguments = ["enhance", str(tmp_path / "in.wav"), "-o", str(tmp_path / "o.wav")]
    assert main([*arguments, "-m", str(tmp_path / "m")]) == 2
    assert "hyperparams.yaml" in checked(capsys.readouterr())


def test_the_log_is_escaped(capsys):
    main(["export", "nothing", "-o", "x"])  # sets it up
    record = logging.LogRecord("a", 30, "b", 1, "%s is odd", (EVIL,), None)
    assert logging.lastResort.format(record).startswith(r"\x1b]0;title")
