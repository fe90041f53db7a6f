"""Recordings in: what is refused."""

import numpy as np
import pytest
import soundfile

from lafufu_sb.audio.files import read_recording
from lafufu_sb.errors import UsageError


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
        "empty.wav": (UsageError, "is empty"),
        "text.wav": (UsageError, "not audio"),
        "none.wav": (UsageError, "holds no samples"),
        "nan.wav": (UsageError, "NaN or infinite"),
        "inf.wav": (UsageError, "NaN or infinite"),
    }


@pytest.mark.parametrize(
    "name",
    ["missing.wav", ".", "empty.wav", "text.wav", "none.wav", "nan.wav", "inf.wav"],
)
def test_bad_recordings_are_refused_by_name(tmp_path, name):
    error, message = refusals(tmp_path)[name]
    with pytest.raises(error, match=message):
        read_recording(tmp_path / name)
