"""Containers out: pictures untouched, sound where it was, nothing random."""

import numpy as np
import pytest
import torch
from films import CLICKS, packets, places, write_container

from lafufu_sb.audio.files import read_recording
from lafufu_sb.audio.sound_files import read_metadata
from lafufu_sb.audio.writer import recording_writer, write_recording
from lafufu_sb.errors import UsageError

av = pytest.importorskip("av")

FILMS = {"mpeg4": "aac", "libvpx": "libopus"}


@pytest.mark.parametrize(
    "source, target, pictures, late",
    [
        ("a.mp4", "b.mp4", "mpeg4", 0.0),
        ("a.mp4", "b.mov", "mpeg4", 0.1),
        ("a.mkv", "b.mkv", "mpeg4", 0.1),
        ("a.mkv", "b.m4v", "mpeg4", 0.0),
        ("a.webm", "b.webm", "libvpx", 0.0),
    ],
)
def test_film(tmp_path, unchanging, source, target, pictures, late):
    source, target = tmp_path / source, tmp_path / target
    precise = {"movie_timescale": "48000"} if source.suffix == ".mp4" else {}
    write_container(source, FILMS[pictures], pictures, late=late, options=precise)
    unchanging.enhance_file(source, target)
    assert packets(target) == packets(source)
    old, new = (read_recording(path)[0][0].numpy() for path in (source, target))
    assert len(old) == len(new)
    assert places(new) == places(old) == [round(48000 * time) for time in CLICKS]
    with av.open(str(target)) as file:
        names = {name.lower(): text for name, text in file.metadata.items()}
        assert (names["title"], names["artist"]) == ("A film", "Somebody")
        titles = [chapter["metadata"]["title"] for chapter in file.chapters()]
    assert titles == ["One", "Two"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [source.name, target.name]


@pytest.mark.parametrize(
    "source, target, codec, kept",
    [
        ("a.mp4", "b.mp4", "mov_text", True),
        ("a.mkv", "b.mkv", "subrip", True),
        ("a.mkv", "b.mp4", "subrip", False),
    ],
)
def test_subtitles_are_copied_or_missed_aloud(
    tmp_path, unchanging, caplog, source, target, codec, kept
):
    source, target = tmp_path / source, tmp_path / target
    write_container(source, pictures="mpeg4", subtitles=codec)
    unchanging.enhance_file(source, target)
    texts = [data for _, data in packets(target, "subtitle")]
    assert any(b"Hello" in text for text in texts) == kept
    assert ("subtitle 2 of the input is left out" in caplog.text) != kept


def test_further_sound_tracks_are_copied(tmp_path, unchanging):
    write_container(tmp_path / "a.mp4", pictures="mpeg4", tracks=2)
    unchanging.enhance_file(tmp_path / "a.mp4", tmp_path / "b.mp4")
    with av.open(str(tmp_path / "a.mp4")) as a, av.open(str(tmp_path / "b.mp4")) as b:
        second = [
            [bytes(p) for p in file.demux(file.streams.audio[1])] for file in (a, b)
        ]
    assert second[0] == second[1]


def test_pictures_that_a_container_cannot_hold_are_refused_at_once(tmp_path):
    write_container(tmp_path / "a.mp4", pictures="mpeg4")
    with pytest.raises(UsageError, match="b.webm cannot hold mpeg4 pictures"):
        with recording_writer(
            tmp_path / "b.webm", 48000, 1, 100, source=tmp_path / "a.mp4"
        ):
            raise AssertionError("began to write")
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def codec(path):
    with av.open(str(path)) as file:
        (stream,) = file.streams.audio
        return stream.codec_context.codec.canonical_name


@pytest.mark.parametrize(
    "source, target, subtype, expected",
    [
        ("aac", "b.m4a", None, "aac"),
        ("alac", "b.m4a", None, "alac"),
        ("aac", "b.m4a", "PCM_24", "alac"),
        ("aac", "b.mka", None, "flac"),
        ("aac", "b.webm", None, "opus"),
    ],
)
def test_sound_alone(tmp_path, unchanging, source, target, subtype, expected):
    write_container(tmp_path / "a.m4a", source)
    unchanging.enhance_file(tmp_path / "a.m4a", tmp_path / target, subtype=subtype)
    assert codec(tmp_path / target) == expected
    assert read_metadata(tmp_path / target).tags["title"] == "A film"


def test_m4a_of_a_film_has_no_pictures(tmp_path, unchanging):
    write_container(tmp_path / "a.mp4", pictures="mpeg4")
    unchanging.enhance_file(tmp_path / "a.mp4", tmp_path / "b.m4a")
    assert codec(tmp_path / "b.m4a") == "aac"
    with av.open(str(tmp_path / "b.m4a")) as file:
        assert not file.streams.video


@pytest.mark.parametrize("subtype, bits", [("PCM_16", 16), ("PCM_24", 24)])
@pytest.mark.parametrize("suffix", [".m4a", ".mka"])
def test_lossless_codecs_keep_every_bit(tmp_path, suffix, subtype, bits):
    rng = np.random.default_rng(0)
    whole = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (2, 10000))
    wavs = torch.from_numpy((whole / 2.0 ** (bits - 1)).astype("float32"))
    path = tmp_path / f"a{suffix}"
    with recording_writer(path, 44100, 2, 10000, subtype) as write:
        write(wavs[:, :7000])
        write(wavs[:, 7000:])
    assert read_recording(path)[0].equal(wavs)
    assert read_metadata(path).subtype == subtype


@pytest.mark.parametrize("suffix", [".m4a", ".mp4", ".mka", ".webm"])
def test_bytes_do_not_differ_between_runs(tmp_path, suffix):
    for name in "ab":
        write_recording(
            tmp_path / f"{name}{suffix}", torch.rand(2, 9999) * 0 + 0.1, 48000
        )
    a, b = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert a == b


@pytest.mark.parametrize(
    "name, rate, channels, message",
    [
        ("a.webm", 44100, 1, "webm cannot hold libopus sound with 1 channels at 44100"),
        ("a.m4a", 48000, 9, "cannot hold 9 channels"),
    ],
)
def test_sound_that_a_codec_does_not_have_is_refused(
    tmp_path, name, rate, channels, message
):
    with pytest.raises(UsageError, match=message):
        write_recording(tmp_path / name, torch.zeros(channels, 10), rate)
    assert not list(tmp_path.iterdir())
