"""Sound of containers: at the right time, whole, and of this file alone."""

import logging
import sys

import numpy as np
import pytest
from films import CLICKS, places, write_container

from lafufu_sb.audio.containers import open_container
from lafufu_sb.audio.files import read_recording
from lafufu_sb.audio.recordings import read, read_header
from lafufu_sb.audio.sound_files import read_metadata
from lafufu_sb.errors import MissingPackageError, UsageError

av = pytest.importorskip("av")


@pytest.mark.parametrize(
    "name, codec, rate",
    [
        ("a.m4a", "aac", 48000),
        ("a.mp4", "aac", 44100),
        ("a.mov", "alac", 44100),
        ("a.mka", "flac", 16000),
        ("a.webm", "libopus", 48000),
        ("a.mkv", "libopus", 48000),
    ],
)
def test_delay_and_padding_of_the_encoder_are_cut_off(tmp_path, name, codec, rate):
    wav = write_container(tmp_path / name, codec, rate=rate)
    wavs, read_rate = read_recording(tmp_path / name)
    assert (read_rate, wavs.shape) == (rate, (1, len(wav)))
    assert places(wavs[0].numpy()) == places(wav)


@pytest.mark.parametrize("late", [0.0, 0.1])
def test_sound_lies_on_the_time_line_of_the_pictures(tmp_path, late):
    path = tmp_path / "a.mp4"
    options = {"movie_timescale": "48000"}
    write_container(path, pictures="mpeg4", late=late, options=options)
    wav = read_recording(path)[0][0].numpy()
    assert places(wav) == [round(48000 * time) for time in CLICKS]
    silent = max(0, round(48000 * late) - 1024)
    assert np.abs(wav[:silent]).max(initial=0.0) < 1e-6


@pytest.mark.parametrize(
    "codec, format, subtype",
    [("alac", "s16p", "PCM_16"), ("alac", "s32p", "PCM_24"), ("aac", None, "AAC")],
)
def test_header_and_metadata(tmp_path, codec, format, subtype):
    wav = write_container(tmp_path / "a.m4a", codec, format=format)
    header = read_header(tmp_path / "a.m4a")
    assert (header.sample_rate, header.channels) == (48000, 1)
    assert abs(header.frames - len(wav)) < 100
    metadata = read_metadata(tmp_path / "a.m4a")
    assert metadata.subtype == subtype
    assert metadata.tags == {"title": "A film", "artist": "Somebody"}


def test_lossless_samples_come_as_they_are(tmp_path):
    wav = write_container(tmp_path / "a.m4a", "alac", format="s32p")
    read_wav = read_recording(tmp_path / "a.m4a")[0][0].numpy()
    assert np.abs(read_wav - wav).max() <= 2.0**-23


def test_pieces_are_those_of_the_whole(tmp_path):
    write_container(tmp_path / "a.m4a")
    whole = read_recording(tmp_path / "a.m4a")[0]
    for start, frames in ((30000, 2000), (100, 50), (47990, 100), (10**6, 10)):
        piece, _ = read(tmp_path / "a.m4a", start, frames)
        assert piece.equal(whole[:, start : start + frames])


def test_gap_in_the_time_stamps_is_silent(tmp_path):
    with av.open(str(tmp_path / "a.mka"), "w") as file:
        stream = file.add_stream("flac", rate=16000, layout="mono")
        for start in (0, 16000):
            samples = np.full((1, 4608), 999, "int16")
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.sample_rate, frame.pts = 16000, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    wav = read_recording(tmp_path / "a.mka")[0][0]
    assert len(wav) == 16000 + 4608
    assert wav[:4608].all() and not wav[4608:16000].any() and wav[16000:].all()


def test_the_default_track_is_read_and_said_once(tmp_path, caplog):
    wav = write_container(tmp_path / "a.mp4", tracks=2)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert places(read_recording(tmp_path / "a.mp4")[0][0].numpy()) == places(
                wav
            )
    assert caplog.text.count("has 2 sound tracks: number 1 is read") == 1


def test_container_without_sound_is_refused(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10, width=32, height=32)
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), "uint8"), "rgb24")
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with pytest.raises(UsageError, match="a.mp4 has no sound track"):
        read_recording(tmp_path / "a.mp4")


def test_without_the_package_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_text("x")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r'pip install "lafufu_sb\[av\]"'):
        read_recording(tmp_path / "a.m4a")


@pytest.mark.parametrize(
    "name, message",
    [
        ("short.mkv", "cut off: it ends after"),
        ("short.mp4", "is damaged after|cut off"),
        ("broken.mp4", "is damaged after 0"),
        ("text.mp4", "is not audio that can be read"),
    ],
)
def test_damage_is_refused(tmp_path, name, message):
    path = tmp_path / name
    write_container(path, options={"movflags": "faststart"} if ".mp4" in name else {})
    data = bytearray(path.read_bytes())
    if name.startswith("short"):
        data = data[: len(data) // 2]
    elif name.startswith("broken"):
        data[len(data) // 2 : len(data) // 2 + 300] = b"\xff" * 300
    else:
        data = b"no container"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=message):
        read_recording(path)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {}\n",
    ],
)
def test_playlists_reach_no_other_file(tmp_path, text):
    write_container(tmp_path / "secret.m4a")
    (tmp_path / "a.mp4").write_text(text.format(tmp_path / "secret.m4a"))
    with pytest.raises(UsageError, match="a.mp4 is not audio that can be read"):
        open_container(tmp_path / "a.mp4")


def test_any_file_name(tmp_path):
    wav = write_container(tmp_path / "a.m4a")
    path = (tmp_path / "a.m4a").rename(tmp_path / "http:ü\udcff.m4a")
    assert read_recording(path)[0].shape == (1, len(wav))
