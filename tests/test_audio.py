"""Recordings in and out: what is read, what is refused, what is written."""

import numpy as np
import pytest
import soundfile
import torch

from lafufu_sb.audio import find_recordings, read_recording, resample, write_recording


def refusals(folder):
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("not audio")
    soundfile.write(folder / "none.wav", np.zeros((0, 1)), 48000)
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        samples = np.array([0.0, value, 0.0])
        soundfile.write(folder / f"{name}.wav", samples, 48000, subtype="FLOAT")
    return {
        "missing.wav": (FileNotFoundError, "does not exist"),
        ".": (IsADirectoryError, "is a folder"),
        "empty.wav": (ValueError, "is empty"),
        "text.wav": (ValueError, "not audio"),
        "none.wav": (ValueError, "holds no samples"),
        "nan.wav": (ValueError, "NaN or infinite"),
        "inf.wav": (ValueError, "NaN or infinite"),
    }


@pytest.mark.parametrize(
    "name",
    ["missing.wav", ".", "empty.wav", "text.wav", "none.wav", "nan.wav", "inf.wav"],
)
def test_bad_recordings_are_refused_by_name(tmp_path, name):
    error, message = refusals(tmp_path)[name]
    with pytest.raises(error, match=message):
        read_recording(tmp_path / name)


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
        ("a.flac", ValueError, "would clip"),
        ("a.xyz", ValueError, "cannot write"),
        ("a", ValueError, "cannot write"),
        ("no/a.wav", FileNotFoundError, "folder"),
    ],
)
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path, name, error, message):
    with pytest.raises(error, match=message):
        write_recording(tmp_path / name, torch.tensor([2.0]), 48000)
    assert not list(tmp_path.iterdir())


def test_resampling_keeps_a_tone(tmp_path):
    time = torch.arange(44100) / 44100
    tone = torch.sin(2 * torch.pi * 1000 * time)
    out = resample(tone, 44100, 48000)
    assert out.shape == (48000,)
    wanted = torch.sin(2 * torch.pi * 1000 * torch.arange(48000) / 48000)
    assert (out - wanted)[1000:-1000].abs().max() < 1e-3


def test_folder_without_audio_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="holds no audio"):
        find_recordings(tmp_path)
