"""Speech is found at any level, rate and length, and heard without its pauses."""

import importlib.util
import sys

import numpy as np
import pytest
import soundfile
import torch

from lafufu_sb.audio.recordings import Recording
from lafufu_sb.cleaning import speech as module
from lafufu_sb.cleaning.sound import FileSound, MemorySound
from lafufu_sb.cleaning.speech import SpeechSound, find_speech, heard_speech
from lafufu_sb.corpora.mini_corpus import __path__ as MINI
from lafufu_sb.errors import MissingPackageError

SENTENCE = f"{MINI[0]}/EARS-WHAM/test/clean/S06001/00000.wav"


@pytest.fixture(autouse=True)
def network():
    pytest.importorskip("onnxruntime")
    if module.vad_hint():
        pytest.skip("silero-vad is not installed")


@pytest.fixture(scope="module")
def padded():
    """A sentence between 2 s and 3 s of faint noise: (time,), rate and its stretch."""
    wav, rate = soundfile.read(SENTENCE, dtype="float32")
    parts = [np.zeros(2 * rate, "float32"), wav, np.zeros(3 * rate, "float32")]
    wavs = np.concatenate(parts)
    hiss = np.random.default_rng(0).standard_normal(len(wavs)).astype("float32")
    return torch.from_numpy(wavs + 1e-4 * hiss), rate, (2.0, 2.0 + len(wav) / rate)


@pytest.mark.parametrize("gain", [1.0, 0.003])
def test_speech_is_found_at_any_level(padded, gain):
    wav, rate, (start, end) = padded
    (found,) = find_speech(MemorySound(gain * wav[None], rate))
    spoken = sum(b - a for a, b in found)
    assert 0.3 * (end - start) < spoken < end - start + 0.4
    assert start - 0.3 < found[0][0] and found[-1][1] < end + 0.5


def test_memory_and_file_agree_and_channels_are_independent(padded, tmp_path):
    wav, rate, _ = padded
    wavs = torch.stack([wav, 1e-3 * torch.randn(len(wav))])
    path = tmp_path / "a.wav"
    soundfile.write(path, wavs.T.numpy(), rate, "FLOAT")
    found = find_speech(MemorySound(wavs, rate))
    assert found == find_speech(FileSound(Recording(path)))
    assert found[0] == find_speech(MemorySound(wavs[:1], rate))[0] and found[0]
    assert found[1] == []


def test_pieces_do_not_show(padded, monkeypatch):
    wav, rate, _ = padded
    whole = find_speech(MemorySound(wav[None], rate))
    monkeypatch.setattr(module, "_READ_SECONDS", 0.5)
    assert find_speech(MemorySound(wav[None], rate)) == whole


@pytest.mark.parametrize("samples", [1, 100, 512])
def test_short_recordings(samples):
    assert find_speech(MemorySound(torch.zeros(1, samples), 16000)) == [[]]


def test_the_package_is_not_imported(padded):
    """It would set PyTorch to one thread."""
    find_speech(MemorySound(padded[0][None], padded[1]))
    assert "silero_vad" not in sys.modules


def test_a_missing_package_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "silero_vad" else find(n)
    )
    with pytest.raises(MissingPackageError, match=r"lafufu_sb\[vad\]"):
        find_speech(MemorySound(torch.zeros(1, 100), 16000))


def test_speech_is_read_without_pauses():
    sound = MemorySound(torch.arange(200.0).reshape(2, 100), 10)
    speech = SpeechSound(sound, 1, [(1.0, 2.0), (5.0, 7.5)])
    assert speech.seconds == 3.5
    samples = torch.cat([torch.arange(110.0, 120), torch.arange(150.0, 175)])
    assert speech.read(0.0, 10.0)[0].tolist() == samples.tolist()
    assert speech.read(0.5, 1.0)[0].tolist() == samples[5:15].tolist()
    assert speech.read(3.5, 1.0).shape == (1, 0)


def test_without_stretches_all_is_speech():
    sound = MemorySound(torch.zeros(2, 100), 10)
    assert [speech.seconds for speech in heard_speech(sound)] == [10.0, 10.0]
    assert heard_speech(sound, [[], [(0.0, 1.0)]])[0] is None
