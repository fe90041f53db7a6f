"""Every recording is read to its end, or refused: wrong, lost and absurd headers."""

import struct
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile
import torch
from sounds import (
    RATE,
    SECONDS,
    encoded,
    flac,
    lost_page,
    mp3,
    noise,
    odd_stamps,
    replaced,
    with_size,
    without_xing,
)

from lafufu_sb.audio.recordings import Recording, read, read_header
from lafufu_sb.errors import UsageError

SAMPLES = SECONDS * RATE
WAV, AU, RF64 = (encoded(kind, "PCM_16") for kind in ("WAV", "AU", "RF64"))
MP3 = mp3()
FRAMES = MP3.index(b"Xing") + 8  # their number
ID3 = b"TAG" + b"a" * 125
APE = b"APETAGEX" + struct.pack("<4I", 2000, 9000, 1, 2**31) + bytes(8)
STEREO = noise(channels=2)


def opus(seconds=SECONDS):
    return encoded("OGG", "OPUS", noise(seconds))


WHOLE = {  # bytes, and what the recording's note says
    "WAV": (WAV, ""),
    "WAV of a recorder without power": (with_size("WAV", 0), "never completed"),
    "WAV through a pipe": (with_size("WAV", -1), ""),
    "WAV that is cut": (with_size("WAV", 4 * SAMPLES), "cut off: 64000 of 128000"),
    "AU through a pipe": (replaced(AU, 8, b"\xff" * 4), ""),
    "AU of size 0": (replaced(AU, 8, bytes(4)), "never completed"),
    "RF64 of size 0": (replaced(RF64, 28, bytes(8)), "never completed"),
    "CAF through a pipe": (with_size("CAF", -1, width=8, order="big"), ""),
    "CAF of size 0": (with_size("CAF", 0, width=8, order="big"), "never completed"),
    "chunk after the samples": (
        WAV + b"LIST" + struct.pack("<I", 9**5) + ID3 * 500,
        "",
    ),
    "zeros after the samples": (WAV + bytes(99_999), ""),
    "FLAC through a pipe": (flac(total=0), ""),
    "FLAC with tags at its end": (encoded("FLAC") + ID3, ""),
    "MP3 with tags at its end": (MP3 + APE + bytes(8968) + APE + ID3, ""),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_libsndfile_alone_reads_to_the_end(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "a"
    data, note = WHOLE[name]
    path.write_bytes(data)
    recording = Recording(path)
    assert recording.frames == pytest.approx(SAMPLES, abs=8)
    assert note in recording.note and bool(note) == bool(recording.note)
    assert read(path)[0].shape[1] == recording.frames
    assert read_header(path).frames in (recording.frames, SAMPLES)
    assert read(path, 3 * SAMPLES // 4, 50)[0].abs().max() > 0.05
    assert read(path, 2 * SAMPLES)[0].shape == (1, 0)


LONGER = {  # bytes, and seconds
    "MP3 of variable rate without a Xing header": (without_xing(MP3), SECONDS),
    "MP3 whose Xing header states less": (replaced(MP3, FRAMES, b"\0\0\0\7"), SECONDS),
    "joined MP3": (MP3 + MP3, 2 * SECONDS),
    "joined MP3 with tags": (MP3 + ID3 + b"ID3\3\0\0\0\0\0\x10" + bytes(16) + MP3, 4),
    "joined FLAC": (encoded("FLAC") * 2, 2 * SECONDS),
    "joined FLAC through a pipe": (flac(total=0) * 2, 2 * SECONDS),
    "FLAC that states less": (flac(total=999), SECONDS),
    "joined Vorbis": (encoded("OGG", "VORBIS") * 2, 2 * SECONDS),
    "joined Opus": (opus() * 2, 2 * SECONDS),
    "Opus with odd time stamps": (odd_stamps(), 4),
}


@pytest.mark.parametrize("name", LONGER)
def test_what_libsndfile_stops_in_is_read_with_pyav(tmp_path, name):
    pytest.importorskip("av")
    path = tmp_path / "a"
    data, seconds = LONGER[name]
    path.write_bytes(data)
    recording = Recording(path)
    assert recording.frames / recording.file_rate == pytest.approx(seconds, abs=0.2)
    assert read(path)[0].shape[1] == recording.frames
    end = recording.segment(recording.frames - 4000, 1000)
    assert end.shape == (1, 1000) and end.abs().max() > 0.05
    wavs = torch.cat(list(recording.blocks()), dim=1)
    torch.testing.assert_close(wavs[:, -4000:-3000], end, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", LONGER)
def test_without_pyav_it_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a").write_bytes(LONGER[name][0])
    with pytest.raises(UsageError, match=r"after (the )?\d\.\d\d sec.*PyAV") as caught:
        Recording(tmp_path / "a")
    assert "\n" not in str(caught.value)


def wav_header(rate, channels, size=1000):
    form = struct.pack("<HHIIHH", 1, channels, rate, rate, 2 * channels % 2**16, 16)
    return b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", size)


REFUSED = {
    "joined MP3 of two rates": (MP3 + mp3(rate=22050), "goes on after the 2.00 sec"),
    "joined MP3, then stereo": (MP3 + mp3(samples=STEREO), "goes on after the 2.00"),
    "joined WAV": (WAV + WAV, "several WAV files in one"),
    "WAV that states less": (with_size("WAV", SAMPLES), "goes on after the 1.00 sec"),
    "MP3 that is cut": (MP3[: 3 * len(MP3) // 4], r"ends after 1.\d\d of 2.00 sec"),
    "FLAC that is cut": (encoded("FLAC")[:-9000], r"is damaged after [01].\d\d sec"),
    "FLAC that states more": (flac(total=99_999), "ends after 2.00 of 6.25 sec"),
    "Opus without a page": (lost_page(), "is cut off or damaged|is damaged after"),
    "FLAC of hours": (flac(total=2**36 - 1), "has 4294967 seconds in"),
    "MP3 of years": (replaced(MP3, FRAMES, b"\xff" * 4), r"has \d+ seconds in"),
    "rate of 1 Hz": (wav_header(1, 1) + bytes(1000), "sample rate of 1 Hz"),
    "FLAC of 1 Hz": (flac(rate=1), "sample rate of 1 Hz"),
    "rate of 1 GHz": (wav_header(10**9, 1) + bytes(1000), "of 1000000000 Hz"),
    "rate of 0": (wav_header(0, 1) + bytes(1000), "not audio"),
    "65,535 channels": (wav_header(RATE, 65535) + bytes(1000), "[Tt]oo many channels"),
    "1024 channels": (wav_header(RATE, 1024) + bytes(4096), "has 1024 channels"),
    "no samples": (wav_header(RATE, 1, size=0) + b"LIST\4\0\0\0INFO", "no samples"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nothing_reads_wholly_is_refused(tmp_path, name):
    (tmp_path / "a").write_bytes(REFUSED[name][0])
    tracemalloc.start()
    try:
        for reader in (Recording, read):
            if reader is read and name == "no samples":
                continue
            with pytest.raises(UsageError, match=REFUSED[name][1]) as caught:
                reader(tmp_path / "a")
            assert "\n" not in str(caught.value)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_size_that_exceeds_32_bits_is_read_to_the_end(tmp_path):
    """Of 4 GB of samples the header states what is left after division by 2**32."""
    path = tmp_path / "a.wav"
    with open(path, "wb") as file:
        file.write(wav_header(RATE, 1, size=1000))
        file.truncate(2**32 + 1044)
        file.seek(-1000, 2)
        file.write(b"\1\1" * 500)
    assert read_header(path).frames == (2**32 + 1000) // 2
    assert read(path, 2**31 - 50)[0].abs().sum(dim=1) == 500 * 257 / 2**15


def test_claim_of_4_gb_in_a_small_file_is_read_as_it_is(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav_header(RATE, 1, size=2**32 - 100_000) + bytes(1000))
    assert Recording(path).note.startswith("is cut off")
    samples, _ = read(path)
    assert samples.shape == (1, 500)


def test_patched_files_read_as_whole_ones(tmp_path):
    for name, data in (("a.wav", WAV), ("b.wav", with_size("WAV", 0))):
        (tmp_path / name).write_bytes(data)
    whole, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    patched = read(tmp_path / "b.wav")[0]
    assert np.array_equal(patched[0].numpy(), whole)
    assert torch.equal(read(tmp_path / "b.wav", 333, 44)[0], patched[:, 333:377])
