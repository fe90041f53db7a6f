"""Folders: every recording is found, every other file is counted by its reason."""

import os
import sys

import pytest

from lafufu_sb.audio.finding import find_recordings, search
from lafufu_sb.audio.suffixes import AUDIO_SUFFIXES, CONTAINER_SUFFIXES
from lafufu_sb.corpora.sources import gather
from lafufu_sb.errors import UsageError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(folder):
    return [str(path.relative_to(folder)) for path in search(folder)[0]]


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_every_suffix_is_found_in_any_case(tmp_path, change):
    pytest.importorskip("av")
    wanted = sorted(change(f"a{suffix}") for suffix in AUDIO_SUFFIXES)
    touch(tmp_path, *wanted)
    assert names(tmp_path) == wanted
    assert sorted(gather([tmp_path])) == find_recordings(tmp_path)
    asked = ".opus .oga .aif .aiff .aifc .sph .snd .au .wave .bwf .w64 .caf "
    asked += ".wav .flac .mp3 .ogg .m4a .mp4 .webm .mka .mov .mkv .aac"
    assert set(asked.split()) <= set(AUDIO_SUFFIXES)


def test_all_others_are_counted_by_their_reason(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "av", None)
    touch(tmp_path, "a.wav", "x/notes.txt", "b.txt", "c.PDF", "README", "x/d.m4a")
    touch(tmp_path, "._a.wav", "x/._d.m4a", "._.DS_Store")
    (tmp_path / "gone.wav").symlink_to("nothing.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    assert [path.name for path in find_recordings(tmp_path)] == ["a.wav"]
    lines = {record.getMessage() for record in caplog.records}
    assert lines == {
        f"{tmp_path}: {line}"
        for line in (
            "4 files are not audio (.txt 2, no suffix 1, .pdf 1)",
            '1 file needs PyAV, pip install "lafufu_sb[av]" (.m4a 1)',
            "3 files hold attributes of macOS (._.DS_Store, ._a.wav, x/._d.m4a)",
            "1 file is a broken link (gone.wav)",
            "1 file is no regular file (pipe.wav)",
        )
    }


def test_folder_without_audio_is_refused_with_what_it_has(tmp_path):
    touch(tmp_path, *(f"{letter}.{letter}" for letter in "abcdefg"))
    message = r"holds no audio files; 7 files are not audio \(\.a 1, .*\.e 1, \.\.\.\)"
    with pytest.raises(UsageError, match=message):
        find_recordings(tmp_path)


def test_links_to_folders_are_followed_once(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    touch(inside, "a/1.wav", "z/2.wav")
    touch(outside, "3.wav", "deep/4.wav")
    (inside / "linked").symlink_to(outside)
    (inside / "a" / "up").symlink_to("..")
    (inside / "b").symlink_to("z")
    (outside / "back").symlink_to(inside)
    (inside / "file.wav").symlink_to(outside / "3.wav")
    found, others = search(inside)
    assert [str(path.relative_to(inside)) for path in found] == [
        "a/1.wav",
        "file.wav",
        "linked/3.wav",
        "linked/deep/4.wav",
        "z/2.wav",
    ]
    (again,) = others.values()
    assert {path.name for path in again} == {"up", "b", "back"}


def test_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch, caplog):
    touch(tmp_path, "a.wav", "secret/b.wav")
    really = os.scandir

    def refusing(path):
        if str(path).endswith("secret"):
            raise PermissionError
        return really(path)

    monkeypatch.setattr("os.scandir", refusing)
    assert len(find_recordings(tmp_path)) == 1
    assert "1 file is a folder that cannot be read (secret)" in caplog.text


def test_containers_and_others_share_no_suffix():
    assert len(set(AUDIO_SUFFIXES)) == len(AUDIO_SUFFIXES)
    assert set(CONTAINER_SUFFIXES) < set(AUDIO_SUFFIXES)
