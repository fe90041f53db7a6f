"""Odd and malformed inputs: a correct result, or one clear error and nothing lost.

The network leaves everything as it is, so that the right result is the input.
"""

import os

import numpy as np
import pytest
import soundfile
from odd import NOISE, RATE, channels, entries, forbidden, wav

from lafufu_sb.cli.main import main
from lafufu_sb.errors import UsageError
from lafufu_sb.inference.loading import ModelChoice


def raw(name, content):
    """Maker of a file of bytes."""

    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


def changed(change, **options):
    """Maker of a recording whose bytes are changed."""

    def make(folder):
        path = wav(**options)(folder)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def linked(folder):
    wav("real.wav")(folder)
    (folder / "in.wav").symlink_to("real.wav")
    return folder / "in.wav"


def bytes_name(folder):
    path = folder / os.fsdecode(b"caf\xe9.wav")  # latin-1: no UTF-8
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    return wav(path.name)(folder)


def square(level):
    return level * np.sign(np.sin(np.arange(1500) / 20 + 0.01)).astype(np.float32)


SOUND = {
    "one sample": wav(samples=NOISE[:1]),
    "two samples": wav(samples=NOISE[:2]),
    "10 ms": wav(samples=NOISE[:480]),
    "silence": wav(samples=np.zeros(1500)),
    "DC": wav(samples=np.full(1500, 0.5)),
    "negative DC": wav(samples=np.full(1500, -1.0)),
    "one impulse": wav(samples=np.eye(1, 1500, 700)[0]),
    "square at full scale": wav(samples=square(1.0), subtype="PCM_16"),
    "square above full scale": wav(samples=square(30.0)),
    "hardly audible": wav(samples=1e-6 * NOISE),
    "far below any converter": wav(samples=1e-30 * NOISE),
    "8 bits unsigned": wav(subtype="PCM_U8"),
    "8 bits signed": wav("in.flac", subtype="PCM_S8"),
    "16 bits": wav(subtype="PCM_16"),
    "24 bits": wav(subtype="PCM_24"),
    "32 bits": wav(subtype="PCM_32"),
    "float64": wav(subtype="DOUBLE"),
    "mu-law": wav(subtype="ULAW"),
    "A-law": wav(subtype="ALAW"),
    "ADPCM": wav(subtype="IMA_ADPCM"),
    "AIFF": wav("in.aiff", subtype="PCM_16"),
    "AU": wav("in.au"),
    "CAF": wav("in.caf"),
    "W64": wav("in.w64"),
    "RF64 in .wav": wav(format="RF64"),
    "Vorbis": wav("in.ogg", subtype="VORBIS"),
    "Opus": wav("in.ogg", subtype="OPUS"),
    "MP3": wav("in.mp3", subtype="MPEG_LAYER_III"),
    "FLAC named .wav": wav(format="FLAC", subtype="PCM_24"),
    "WAV named .mp3": wav("in.mp3", format="WAV"),
    "WAV named .txt": wav("in.txt", format="WAV"),
    "no suffix": wav("in", format="WAV"),
    "upper case": wav("IN.WAV"),
    "unicode name": wav("日本語 ñ ß 🎧.wav"),
    "new line in the name": wav("a\nb.wav"),
    "name of a switch": wav("--output.wav"),
    "name that is not UTF-8": bytes_name,
    "longest name": wav(f"{'n' * 251}.wav"),
    "link to a file": linked,
    "bytes after the end": changed(lambda data: data + b"garbage" * 99),
    "cut within the samples": changed(lambda data: data[:3000]),
    "header without a length": changed(
        lambda data: data.replace(b"data" + data[-6004:-6000], b"data" + b"\xff" * 4)
    ),
    **{f"{n} channels": wav(samples=channels(n)) for n in range(2, 9)},
}
RATES = (8000, 16000, 22050, 44100, 44101, 96000, 192000)


def content(path):
    """Samples (time, channels), as float32."""
    return soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)[0]


@pytest.mark.parametrize("name", SOUND)
def test_sound_recordings_are_restored(unchanging, tmp_path, name):
    path = SOUND[name](tmp_path)
    before, others = path.read_bytes(), entries(tmp_path)
    wanted = content(path)
    unchanging.enhance_file(path, tmp_path / "out" / "out.wav", subtype="FLOAT")
    restored = content(tmp_path / "out" / "out.wav")
    assert restored.shape == wanted.shape and len(wanted) > 0
    peak = np.abs(wanted).max()
    # But for what lies below 20 Hz
    change = np.diff(restored - wanted, axis=0)
    assert np.abs(change).max(initial=0.0) <= 1e-4 * peak + 2**-22
    assert path.read_bytes() == before
    assert entries(tmp_path) == sorted([*others, "out"])
    assert entries(tmp_path / "out") == ["out.wav"]


@pytest.mark.parametrize("rate", RATES)
def test_any_rate_is_accepted(unchanging, tmp_path, rate):
    path = wav(rate=rate, samples=NOISE[:1001])(tmp_path)
    unchanging.enhance_file(path, tmp_path / "a.wav")
    unchanging.enhance_file(path, tmp_path / "b.wav", keep_sample_rate=True)
    assert len(content(tmp_path / "a.wav")) == -(-1001 * RATE // rate)
    assert len(content(tmp_path / "b.wav")) == 1001
    assert soundfile.info(tmp_path / "b.wav").samplerate == rate


def loop(folder):
    (folder / "in.wav").symlink_to("other.wav")
    (folder / "other.wav").symlink_to("in.wav")
    return folder / "in.wav"


def dangling(folder):
    (folder / "in.wav").symlink_to("nothing.wav")
    return folder / "in.wav"


def pipe(folder):
    os.mkfifo(folder / "in.wav")
    return folder / "in.wav"


def a_folder(folder):
    (folder / "in.wav").mkdir()
    return folder / "in.wav"


def with_value(value, subtype="FLOAT"):
    samples = NOISE.astype(np.float64)
    samples[1400] = value
    return wav(samples=samples, subtype=subtype)


NO_AUDIO = "is not audio that can be read"
NOT_FINITE = "has NaN or infinite samples"
BROKEN = {
    "missing": (lambda folder: folder / "in.wav", "in.wav does not exist"),
    "folder": (a_folder, "in.wav is a folder, not a recording"),
    "no bytes": (raw("in.wav", b""), r"is empty \(0 bytes\)"),
    "header cut": (changed(lambda data: data[:20]), NO_AUDIO),
    "header alone": (changed(lambda data: data[:58]), "holds no samples|not audio"),
    "no samples": (wav(samples=np.zeros(0)), "holds no samples"),
    "text": (raw("in.wav", b"Dear diary, today\n" * 50), NO_AUDIO),
    "photo": (raw("in.wav", b"\xff\xd8\xff\xe0JFIF" + b"\0" * 500), NO_AUDIO),
    "zeros": (raw("in.wav", b"\0" * 5000), NO_AUDIO),
    "text named .mp3": (raw("in.mp3", b"Dear diary, today\n" * 50), NO_AUDIO),
    "text named .flac": (raw("in.flac", b"Dear diary, today\n" * 50), NO_AUDIO),
    "no header": (raw("in.raw", b"\1\2" * 5000), "its sample rate is unknown"),
    "NaN": (with_value(np.nan), NOT_FINITE),
    "infinity": (with_value(np.inf), NOT_FINITE),
    "minus infinity": (with_value(-np.inf), NOT_FINITE),
    "beyond float32": (with_value(1e300, "DOUBLE"), NOT_FINITE),
    "loop of links": (loop, "in.wav is a broken link"),
    "dangling link": (dangling, "in.wav is a broken link"),
    "pipe": (pipe, "is not a regular file"),
    "name too long": (lambda folder: folder / f"{'n' * 256}.wav", "name too long"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_recordings_give_one_error_and_lose_nothing(
    unchanging, tmp_path, name, capsys, monkeypatch
):
    make, message = BROKEN[name]
    path = make(tmp_path)
    (tmp_path / "out.wav").write_bytes(b"the result of last week")
    before = entries(tmp_path)
    with pytest.raises((OSError, UsageError), match=message):
        unchanging.enhance_file(path, tmp_path / "out.wav")
    assert entries(tmp_path) == before
    assert (tmp_path / "out.wav").read_bytes() == b"the result of last week"
    if name == "folder":  # which the command takes for one of recordings
        return
    monkeypatch.setattr(ModelChoice, "load", lambda choice: unchanging)
    assert main(["enhance", str(path), "-o", str(tmp_path / "out.wav")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "out.wav").read_bytes() == b"the result of last week"


def test_unreadable_file_gives_one_error(unchanging, tmp_path, monkeypatch):
    path = wav()(tmp_path)
    path.chmod(0)
    tmp_path.chmod(0o755)
    if os.geteuid() == 0:  # whom nothing is forbidden
        monkeypatch.setattr("builtins.open", forbidden(path, open))
    with pytest.raises(PermissionError, match="in.wav"):
        unchanging.enhance_file(path)
