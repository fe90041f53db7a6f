"""Outputs that cannot be written: one clear error, and nothing lost."""

import errno
import os
import stat

import numpy as np
import pytest
import soundfile
from odd import NOISE, channels, entries, forbidden, wav
from small import NoChange, small_model

from lafufu_sb.errors import UsageError


def same(folder):
    return folder / "in.wav"


def same_by_another_way(folder):
    (folder / "sub").mkdir()
    return folder / "sub" / ".." / "in.wav"


def same_by_a_link(folder):
    (folder / "out.wav").symlink_to("in.wav")
    return folder / "out.wav"


def same_by_a_hard_link(folder):
    os.link(folder / "in.wav", folder / "out.wav")
    return folder / "out.wav"


def folder_in_the_way(folder):
    (folder / "out.wav").mkdir()
    return folder / "out.wav"


def file_in_the_way(folder):
    (folder / "sub").write_text("precious")
    return folder / "sub" / "out.wav"


OVERWRITES = "would overwrite its input"
UNWRITABLE = {
    "the input": (same, OVERWRITES),
    "the input, by another way": (same_by_another_way, OVERWRITES),
    "the input, by a link": (same_by_a_link, OVERWRITES),
    "the input, by a hard link": (same_by_a_hard_link, OVERWRITES),
    "a folder": (folder_in_the_way, "out.wav is a folder"),
    "below a file": (file_in_the_way, "sub"),
    "no suffix": (lambda folder: folder / "out", "a file without suffix"),
    "no format": (lambda folder: folder / "out.docx", "cannot write .docx"),
    "no header": (lambda folder: folder / "out.raw", "cannot write .raw"),
    "name too long": (lambda folder: folder / f"{'n' * 256}.wav", "name too long"),
}


@pytest.mark.parametrize("name", UNWRITABLE)
def test_unwritable_outputs_give_one_error_and_lose_nothing(unchanging, tmp_path, name):
    make, message = UNWRITABLE[name]
    source = wav(samples=4 * NOISE)(tmp_path)
    path = make(tmp_path)
    before, others = source.read_bytes(), entries(tmp_path)
    with pytest.raises((OSError, UsageError), match=message):
        unchanging.enhance_file(source, path)
    assert source.read_bytes() == before and entries(tmp_path) == others


def test_flac_is_attenuated_until_the_peak_fits(unchanging, tmp_path, caplog):
    source = wav(samples=4 * NOISE)(tmp_path)
    unchanging.enhance_file(source, tmp_path / "out.flac")
    given, result = (soundfile.read(p)[0] for p in (source, tmp_path / "out.flac"))
    peak = np.abs(given).max()
    assert np.allclose(result, given / peak, atol=1e-4)
    assert f"turned down by {20 * np.log10(peak):.1f} dB" in caplog.text


def test_too_many_channels_for_a_format_give_one_error(unchanging, tmp_path):
    source = wav(samples=channels(9))(tmp_path)
    with pytest.raises(UsageError, match="FLAC with 9 channels at 48000 Hz cannot"):
        unchanging.enhance_file(source, tmp_path / "out.flac")
    assert entries(tmp_path) == ["in.wav"]


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device", "a temporary name")


def full_at_once(monkeypatch):
    monkeypatch.setattr(soundfile.SoundFile, "write", no_space)


def full_later(monkeypatch):
    really, left = soundfile.SoundFile.write, [300]

    def write(self, samples):
        left[0] -= len(samples)
        return really(self, samples) if left[0] >= 0 else no_space()

    monkeypatch.setattr(soundfile.SoundFile, "write", write)


def short(monkeypatch):
    def write(self, samples):  # what soundfile does when fewer samples were taken
        raise AssertionError

    monkeypatch.setattr(soundfile.SoundFile, "write", write)


def full_when_closed(monkeypatch):
    really, faults = soundfile.SoundFile.close, [no_space]

    def close(self):
        really(self)
        if "w" in self.mode and faults:
            faults.pop()()

    monkeypatch.setattr(soundfile.SoundFile, "close", close)


def no_renaming(monkeypatch):
    monkeypatch.setattr(os, "replace", no_space)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (full_at_once, "No space left on device: .*out.wav"),
        (full_later, "No space left on device: .*out.wav"),
        (short, "out.wav cannot be written to its end: is the disk full"),
        (full_when_closed, "No space left on device: .*out.wav"),
        (no_renaming, "No space left on device"),
    ],
)
def test_fault_while_writing_gives_one_error_and_leaves_nothing(
    tmp_path, fault, message, monkeypatch
):
    model = small_model(windows_per_batch=1)
    source = wav()(tmp_path)
    (tmp_path / "out.wav").write_bytes(b"the result of last week")
    before = source.read_bytes()
    with monkeypatch.context() as patched:
        fault(patched)
        with pytest.raises(OSError, match=message):
            model.enhance_file(source, tmp_path / "out.wav")
    assert entries(tmp_path) == ["in.wav", "out.wav"]
    assert source.read_bytes() == before
    assert (tmp_path / "out.wav").read_bytes() == b"the result of last week"


def test_unwritable_folder_gives_one_error(unchanging, tmp_path, monkeypatch):
    source = wav()(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub").chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.geteuid() == 0:
        temporary = tmp_path / "sub" / ".out.wav.0.part"
        monkeypatch.setattr("lafufu_sb.files._tag", lambda: "0")
        monkeypatch.setattr("builtins.open", forbidden(temporary, open))
    with pytest.raises(PermissionError, match="sub/out.wav"):
        unchanging.enhance_file(source, tmp_path / "sub" / "out.wav")
    assert entries(tmp_path / "sub") == []


class Failing(NoChange):
    """Raises an error at its second call."""

    def __init__(self, error):
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, x_t, condition, t):
        self.calls += 1
        if self.calls > 1:
            raise self.error
        return super().forward(x_t, condition, t)


@pytest.mark.parametrize(
    "error", [RuntimeError("out of memory"), KeyboardInterrupt("stopped")]
)
def test_fault_while_restoring_leaves_nothing(tmp_path, error):
    model = small_model(score_model=Failing(error), windows_per_batch=1)
    source = wav()(tmp_path)
    with pytest.raises(type(error), match=str(error)):
        model.enhance_file(source, tmp_path / "out.wav")
    assert entries(tmp_path) == ["in.wav"]
