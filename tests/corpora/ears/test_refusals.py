"""Requests that cannot be met: the message says what is missing and what to do."""

import shutil

import mock_sources
import numpy as np
import pytest
import soundfile
from mock_sources import RATE, ask, one_pair

from lafufu_sb.corpora.ears import benchmark, generate
from lafufu_sb.corpora.ears.sources import Request
from lafufu_sb.errors import UsageError


def test_a_full_disk_is_noticed_before_the_start(sources, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UsageError, match=r"needs 0.01 GB for 7 more pairs.*0.00 GB"):
        generate.generate_corpus(ask(sources, tmp_path, subsets=("test",)))
    assert not list(tmp_path.rglob("*.wav"))


@pytest.mark.parametrize(
    "task, version, gone, message",
    [
        ("EARS-WHAM", "v1", "EARS", r"train: .*EARS(.|\n)*no subset can be generated"),
        ("EARS-WHAM", "v1", "WHAM48kHz", r"high_res_wham/audio(.|\n)*no subset"),
        (
            "EARS-WHAM",
            "v1",
            "test_files.json",
            r"test: .*test_files.json.*\n.*--subsets train valid",
        ),
        ("EARS-WHAM", "v1", "EARS/p100 EARS/p101", r"--subsets train test"),
        (
            "EARS-Reverb",
            "v2",
            "ACE-Challenge",
            r"test: room responses ACE\n.*--subsets train valid; or use other rooms",
        ),
        ("EARS-Reverb", "v1", "AIR", r"room responses AIR\n.*no subset.*--rirs ACE"),
        ("EARS-Reverb", "v2", "ARNI", r"train: .*ARNI\n.*--subsets valid test"),
    ],
)
def test_missing_sources_are_named_and_what_can_be_made(
    sources, tmp_path, task, version, gone, message
):
    for path in sources.iterdir():
        if path.name != "EARS":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "EARS").mkdir()
    for path in (sources / "EARS").iterdir():
        (tmp_path / "EARS" / path.name).symlink_to(path)
    for name in gone.split():
        path = tmp_path / name
        path.unlink() if path.is_symlink() else shutil.rmtree(path)
    with pytest.raises(UsageError, match=message):
        generate.generate_corpus(ask(tmp_path, tmp_path / "out", task, version))


def test_refusals_name_the_file(tmp_path):
    rng = np.random.default_rng(0)
    speech = mock_sources.syllables(rng, 4.1, 0.3)
    request = one_pair(tmp_path, speech, rng.standard_normal(RATE))
    with pytest.raises(UsageError, match=r"p001/a.wav has 196800 samples.*48000"):
        generate.generate_corpus(request)
    soundfile.write(tmp_path / "EARS/p001/b.wav", speech, 44100)
    with pytest.raises(UsageError, match=r"b.wav has 44100 Hz"):
        generate.generate_corpus(request)
    (tmp_path / "EARS/p001/a.wav").write_text("not audio")
    with pytest.raises(UsageError, match=r"a.wav is not audio"):
        generate.generate_corpus(request)
    with pytest.raises(UsageError, match="--version=v2"):
        Request("EARS-WHAM", "x", "x", sample_rate=16000)
    (tmp_path / "list.json").write_text('{"p102": ["x"]}')
    with pytest.raises(UsageError, match="lists no test segments"):
        benchmark.read_test_list(tmp_path / "list.json", "EARS-WHAM", "v1")
    entries = [("p102/gone.wav", [(0, -1)])]
    with pytest.raises(UsageError, match="lacks 1 recordings.*p102/gone.wav"):
        benchmark.test_stretches(tmp_path / "EARS", entries)


def test_wrong_use_of_the_command_ends_in_a_message(tmp_path):
    command = ["EARS-WHAM", "--data_folder", str(tmp_path / "nowhere")]
    with pytest.raises(SystemExit, match="nowhere/EARS") as caught:
        generate.main(command)
    assert "repeat the command to resume" in str(caught.value)
