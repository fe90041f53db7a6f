"""Recordings out: formats, sample formats, nothing half-written."""

import math
import os
import subprocess
import sys

import pytest
import soundfile
import torch

from lafufu_sb.audio import writer
from lafufu_sb.audio.files import read_recording
from lafufu_sb.audio.writer import recording_writer, write_recording
from lafufu_sb.errors import UsageError
from lafufu_sb.files import temporary_file, written_whole


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_channels_survive_writing(tmp_path, suffix):
    wavs = 0.5 * torch.rand(2, 100) - 0.25
    write_recording(tmp_path / f"a{suffix}", wavs, 44100)
    read, rate = read_recording(tmp_path / f"a{suffix}")
    assert rate == 44100
    assert torch.allclose(read, wavs, atol=2**-23)


def test_loud_wav_becomes_float_instead_of_clipping(tmp_path):
    write_recording(tmp_path / "a.wav", torch.tensor([0.0, 1.5, -2.0]), 48000)
    assert soundfile.info(tmp_path / "a.wav").subtype == "FLOAT"
    assert read_recording(tmp_path / "a.wav")[0].tolist() == [[0.0, 1.5, -2.0]]


@pytest.mark.parametrize(
    "name, error, message",
    [
        ("a.xyz", UsageError, "cannot write"),
        ("a", UsageError, "cannot write"),
        ("no/a.wav", FileNotFoundError, "folder"),
    ],
)
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path, name, error, message):
    with pytest.raises(error, match=message):
        write_recording(tmp_path / name, torch.tensor([2.0]), 48000)
    assert not list(tmp_path.iterdir())


def written(path, *blocks, samples=300):
    with recording_writer(path, 48000, 2, samples) as write:
        for block in blocks:
            write(block)
    samples, _ = soundfile.read(path, dtype="float32")
    return torch.from_numpy(samples.T)


@pytest.fixture
def wavs():
    return torch.rand(2, 300, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.mark.parametrize("kind", ["wav", "w64", "rf64", "caf", "aiff", "au"])
def test_peak_in_a_later_block_changes_the_file_to_float(tmp_path, wavs, kind):
    path = tmp_path / f"a.{kind}"
    loud = 5 * wavs
    whole = written(path, wavs, loud, wavs, loud)
    assert soundfile.info(path).subtype == "FLOAT"
    torch.testing.assert_close(
        whole, torch.cat([wavs, loud, wavs, loud], dim=1), atol=2**-23, rtol=0
    )
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("order", [(1, 5), (5, 1), (5, 1, 7)])
def test_format_without_float_is_turned_down_until_the_peak_fits(tmp_path, wavs, order):
    path = tmp_path / "a.flac"
    with recording_writer(path, 48000, 2, 300 * len(order)) as write:
        for gain in order:
            write(gain * wavs)
    whole = torch.cat([gain * wavs for gain in order], dim=1)
    peak = float(whole.abs().max())
    assert write.gain_db == pytest.approx(-20 * math.log10(peak))
    assert soundfile.info(path).subtype == "PCM_24"
    torch.testing.assert_close(
        read_recording(path)[0], whole / peak, atol=2**-22, rtol=0
    )
    assert [p.name for p in tmp_path.iterdir()] == ["a.flac"]


def test_wav_that_may_pass_its_limit_is_rf64(tmp_path, wavs, monkeypatch):
    monkeypatch.setattr(writer, "LARGEST_FILE", 4 * 2 * 300)
    for samples, container in ((300, "WAV"), (301, "RF64")):
        for block in (wavs, 5 * wavs):
            whole = written(tmp_path / "a.wav", wavs, block, samples=samples)
            assert soundfile.info(tmp_path / "a.wav").format == container
            torch.testing.assert_close(whole[:, 300:], block, atol=2**-23, rtol=0)


def test_format_that_cannot_hold_as_much_is_refused_at_once(tmp_path):
    with pytest.raises(UsageError, match=r"24.0 GB, more than .aiff holds, use .wav"):
        with recording_writer(tmp_path / "a.aiff", 48000, 2, 3 * 10**9):
            raise AssertionError("began to write")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_disk_that_is_full_is_one_error_and_leaves_nothing(tmp_path, wavs, kind):
    """A limit on the size of files makes writing stop short as a full disk does."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match=rf"a.{kind} cannot be .* is the disk full"):
            written(tmp_path / f"a.{kind}", *[wavs] * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_error_while_writing_leaves_nothing(tmp_path, wavs):
    with pytest.raises(KeyboardInterrupt):
        with recording_writer(tmp_path / "a.wav", 48000, 2, 300) as write:
            write(wavs)
            raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_two_writers_of_a_file_do_not_mix_samples(tmp_path, wavs):
    path = tmp_path / "a.wav"
    with recording_writer(path, 48000, 2, 600) as first:
        first(wavs)
        with recording_writer(path, 48000, 2, 600) as second:
            second(-wavs)
            first(wavs)
            second(-wavs)
        assert torch.allclose(read_recording(path)[0], -wavs.repeat(1, 2), atol=2**-23)
    assert torch.allclose(read_recording(path)[0], wavs.repeat(1, 2), atol=2**-23)
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


KILLED = """
import os, signal, sys
from lafufu_sb.files import written_whole
with written_whole(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_writer_leaves_nothing_after_the_next_one(tmp_path):
    path = tmp_path / "a.txt"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    (left,) = tmp_path.iterdir()
    assert left.suffix == ".part" and left.read_text() == "half"
    with temporary_file(path) as running:
        running.write_text("still being written")
        with written_whole(path) as temporary:
            temporary.write_text("whole")
        assert running.exists() and not left.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "whole"


@pytest.mark.parametrize("name", ["ä" * 120, "x" * 251])
def test_names_as_long_as_they_may_be(tmp_path, wavs, name):
    path = tmp_path / f"{name}.wav"
    written(path, wavs)
    assert list(tmp_path.iterdir()) == [path]


def as_written(path, wavs, subtype=None, source=None):
    with recording_writer(path, 48000, *wavs.shape, subtype, source) as write:
        write(wavs)
    return soundfile.info(path).subtype


@pytest.mark.parametrize(
    "source, suffix, expected",
    [
        ("PCM_U8", ".wav", "PCM_16"),
        ("ULAW", ".wav", "PCM_16"),
        ("PCM_16", ".wav", "PCM_16"),
        ("PCM_16", ".flac", "PCM_16"),
        ("PCM_24", ".wav", "PCM_24"),
        ("PCM_24", ".flac", "PCM_24"),
        ("PCM_32", ".wav", "PCM_32"),
        ("PCM_32", ".flac", "PCM_24"),
        ("FLOAT", ".wav", "FLOAT"),
        ("FLOAT", ".flac", "PCM_24"),
        ("DOUBLE", ".wav", "FLOAT"),
        ("PCM_24", ".opus", "OPUS"),
        ("PCM_24", ".oga", "VORBIS"),
        ("PCM_24", ".mp3", "MPEG_LAYER_III"),
        ("PCM_24", ".aif", "PCM_24"),
        (None, ".wav", "PCM_24"),
    ],
)
def test_sample_format_is_that_of_the_source(tmp_path, wavs, source, suffix, expected):
    path = None
    if source is not None:
        path = tmp_path / "source.wav"
        soundfile.write(path, wavs.T.numpy(), 48000, source)
    assert as_written(tmp_path / f"a{suffix}", wavs, source=path) == expected


def test_sample_format_of_a_compressed_source(tmp_path, wavs):
    soundfile.write(tmp_path / "a.mp3", wavs.T.numpy(), 48000)
    assert as_written(tmp_path / "a.wav", wavs, source=tmp_path / "a.mp3") == "PCM_16"


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize(
    "subtype, bits, shifts", [("PCM_16", 16, (0.0, 0.4, -0.4)), ("PCM_24", 24, (0.0,))]
)
def test_integers_are_rounded_and_come_back(tmp_path, suffix, subtype, bits, shifts):
    full = 2 ** (bits - 1)
    whole = torch.tensor([[-full, -12345, -1, 0, 1, 12345, full - 1]])
    path = tmp_path / f"a{suffix}"
    for shift in shifts:
        assert as_written(path, ((whole + shift) / full).clip(-1), subtype) == subtype
        assert (read_recording(path)[0] * full).equal(whole.float())


def test_a_chosen_sample_format_is_kept_and_the_peak_turned_down(tmp_path, wavs):
    loud = 4.0 * wavs / wavs.abs().max()
    with recording_writer(tmp_path / "a.wav", 48000, 2, 300, "PCM_16") as write:
        write(loud)
    assert write.gain_db == pytest.approx(-20 * math.log10(4))
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"
    written_wavs, _ = read_recording(tmp_path / "a.wav")
    torch.testing.assert_close(written_wavs, loud / 4, atol=2**-15, rtol=0)


@pytest.mark.parametrize(
    "name, subtype", [("a.flac", "FLOAT"), ("a.ogg", "PCM_16"), ("a.wav", "magic")]
)
def test_sample_format_that_a_file_does_not_have_is_refused(
    tmp_path, wavs, name, subtype
):
    with pytest.raises(UsageError, match=f"(?i){subtype}"):
        as_written(tmp_path / name, wavs, subtype)
    assert not list(tmp_path.iterdir())
