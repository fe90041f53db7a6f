"""Recordings that are read piece by piece."""

import numpy as np
import pytest
import soundfile
import torch

from lafufu_sb.audio import recordings
from lafufu_sb.audio.recordings import Recording, read, read_header
from lafufu_sb.audio.resampling import resample
from lafufu_sb.errors import UsageError


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(recordings, "BLOCK", 100)


@pytest.fixture
def wavs():
    return 0.9 * torch.rand(2, 1234, generator=torch.Generator().manual_seed(0)) - 0.45


@pytest.fixture
def path(wavs, tmp_path):
    soundfile.write(tmp_path / "a.wav", wavs.T.numpy(), 44100, subtype="FLOAT")
    return tmp_path / "a.wav"


def test_it_knows_length_and_rate(path):
    recording = Recording(path)
    assert (recording.channels, recording.samples) == (2, 1234)
    assert recording.sample_rate == recording.file_rate == 44100


@pytest.mark.parametrize("rate", [None, 48000, 8000])
@pytest.mark.parametrize("step", [1, 64, 500])
def test_windows_are_those_of_the_whole(path, wavs, rate, step):
    whole = wavs if rate is None else resample(wavs, 44100, rate)
    with Recording(path, rate) as recording:
        assert recording.samples == whole.shape[1] and recording.frames == 1234
        for start in range(0, recording.samples, step):
            piece = recording.read(start, start + 90)
            wanted = whole[:, start : start + 90]
            torch.testing.assert_close(piece, wanted, atol=1e-6, rtol=0)
        assert torch.equal(recording.read(0, 20), recording.read(0, 20))
        torch.testing.assert_close(recording.read(0, 20), whole[:, :20])


def test_little_is_kept(path):
    recording, longest = Recording(path), 0
    for start in range(0, 1234, 50):
        recording.read(start, start + 60)
        longest = max(longest, recording._buffer.shape[1])
    assert longest <= 60 + 100


def test_channels_are_signals(path, wavs):
    left, right = Recording(path).signals(seed=3)
    assert (left.key, right.key, left.seed) == (0, 1, 3)
    for signal, wav in ((left, wavs[0]), (right, wavs[1])):
        assert signal.samples == 1234
        assert torch.equal(signal.read(100, 300), wav[100:300])


def test_file_that_shrinks_while_it_is_read_is_an_error(path, wavs):
    recording = Recording(path)
    soundfile.write(path, wavs[:, :500].T.numpy(), 44100, subtype="FLOAT")
    with pytest.raises(UsageError, match="a.wav has changed while it was read"):
        recording.read(0, 1234)


def test_fault_near_the_end_shows_before_anything_is_read(path, wavs):
    wavs[1, -1] = float("nan")
    soundfile.write(path, wavs.T.numpy(), 44100, subtype="FLOAT")
    with pytest.raises(UsageError, match="NaN or infinite"):
        Recording(path)


def test_segments_and_headers_are_those_of_the_file(path, wavs):
    header = read_header(path)
    assert (header.sample_rate, header.channels, header.frames) == (44100, 2, 1234)
    assert header.seconds == 1234 / 44100
    whole, rate = read(path)
    assert rate == 44100 and torch.equal(whole, wavs)
    assert torch.equal(read(path, 1200, 100)[0], wavs[:, 1200:])
    assert torch.equal(read(path, 10, 20)[0], wavs[:, 10:30])
    assert read(path, 5000)[0].shape == (2, 0)
    assert torch.equal(read(path, dtype="float64")[0], wavs.double())


@pytest.mark.parametrize("reader", [read, read_header, Recording])
def test_all_readers_refuse_in_the_same_words(tmp_path, reader):
    (tmp_path / "text.wav").write_text("not audio")
    with pytest.raises(UsageError, match="text.wav is not audio that can be read"):
        reader(tmp_path / "text.wav")
    with pytest.raises(FileNotFoundError, match="gone.wav does not exist"):
        reader(tmp_path / "gone.wav")


@pytest.mark.parametrize("reader", [read, Recording])
def test_damaged_flac_says_where(tmp_path, reader):
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(0).normal(0, 0.1, 48000)
    soundfile.write(path, noise, 48000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20000] = b"\0" * 20000
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"a.flac is damaged after 0\.\d\d seconds"):
        reader(path)
