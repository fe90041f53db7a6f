"""New sound files: no time stamps, and what the source says about itself."""

import os
import struct

import numpy as np
import pytest
import soundfile
import torch

from lafufu_sb.audio import sound_files
from lafufu_sb.audio.sound_files import create, read_metadata
from lafufu_sb.audio.writer import recording_writer, write_recording
from lafufu_sb.errors import UsageError

FRONT_AND_SURROUND = [2, 3, 4, 11, 12, 13]  # libsndfile's numbers of 5.1


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("suffix", [".wav", ".wavex", ".rf64", ".aiff", ".caf", ".w64"])
def test_no_chunk_of_peaks(tmp_path, suffix, subtype):
    path = tmp_path / f"a{suffix}"
    with recording_writer(path, 48000, 1, 100, subtype) as write:
        write(torch.full((1, 100), 0.5))
    assert soundfile.info(path).subtype == subtype
    assert b"peak" not in path.read_bytes().lower()


def command(file, number, data):
    """Send bytes to libsndfile."""
    block = soundfile._ffi.from_buffer(bytearray(data))
    assert sound_files._command(file, number, block, len(data))


def described(path, kind="WAVEX", channels=6, rate=16000):
    """Write a recording with texts, and in RIFF files a mask and a bext chunk."""
    with create(path, rate, channels, kind, "PCM_16") as file:
        file.title, file.artist, file.comment = "Tïtle", "Artist", "Comment"
        if kind in ("WAV", "WAVEX"):
            bext = bytearray(sound_files._BROADCAST_SIZE)
            bext[:10], bext[256:260] = b"Interview 1"[:10], b"Radio"[:4]
            struct.pack_into("=2I", bext, 340, 16000 * 3600, 0)
            struct.pack_into("=h5h", bext, 348, 2, *[0] * 5)
            struct.pack_into("=5h", bext, 414, -2300, 1, 2, 3, 4)
            command(file, sound_files._SET_BROADCAST, bext)
        if kind == "WAVEX":
            command(
                file,
                sound_files._SET_CHANNEL_MAP,
                np.array(FRONT_AND_SURROUND, "int32").tobytes(),
            )
        file.write(np.zeros((160, channels)))
    return path


def copied(source, target, rate=48000):
    channels = soundfile.info(source).channels
    with recording_writer(target, rate, channels, 480, source=source) as write:
        write(torch.full((channels, 480), 0.25))
    return read_metadata(target)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".aiff"])
def test_texts_are_kept(tmp_path, suffix):
    source = described(tmp_path / "a.wav", "WAV", 1)
    tags = copied(source, tmp_path / f"b{suffix}").tags
    expected = {"title": "Tïtle", "artist": "Artist", "comment": "Comment"}
    assert {name: tags[name] for name in expected} == expected


def test_texts_of_flac_reach_containers(tmp_path):
    pytest.importorskip("av")
    source = described(tmp_path / "a.flac", "FLAC", 1)
    assert copied(source, tmp_path / "b.m4a").tags["title"] == "Tïtle"


def test_mask_is_kept(tmp_path):
    metadata = copied(described(tmp_path / "a.wav"), tmp_path / "b.wav")
    assert np.frombuffer(metadata.channel_map, "int32").tolist() == FRONT_AND_SURROUND
    assert soundfile.info(tmp_path / "b.wav").format == "WAVEX"


def test_stereo_is_no_extensible_file(tmp_path):
    with create(tmp_path / "c.wav", 16000, 2, "WAVEX", "PCM_16") as file:
        file.write(np.zeros((160, 2)))
    copied(tmp_path / "c.wav", tmp_path / "d.wav")
    assert soundfile.info(tmp_path / "d.wav").format == "WAV"


def test_bext_keeps_its_time_and_forgets_its_loudness(tmp_path):
    metadata = copied(described(tmp_path / "a.wav"), tmp_path / "b.wav")
    bext = metadata.broadcast
    assert bext.startswith(b"Interview ") and bext[256:260] == b"Radi"
    assert struct.unpack_from("=2I", bext, 340) == (48000 * 3600, 0)
    assert struct.unpack_from("=5h", bext, 414) == (0x7FFF,) * 5


def test_recordings_without_source_say_nothing(tmp_path):
    write_recording(tmp_path / "a.wav", torch.zeros(1, 10), 48000)
    metadata = read_metadata(tmp_path / "a.wav")
    assert (metadata.tags, metadata.channel_map, metadata.broadcast) == ({}, b"", b"")


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(UsageError, match="is not a regular file"):
        read_metadata(tmp_path / "a.wav")
