"""Odd and malformed inputs: a right result, or one clear error and nothing lost.

The network leaves everything as it is, so that the right result is the input.
"""

import errno
import os
import stat

import numpy as np
import pytest
import soundfile
import torch
from small import NoChange, small_model

from lafufu_sb.cli import main

RATE = 48000
NOISE = 0.3 * np.random.default_rng(0).uniform(-1, 1, 1500).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return small_model(windows_per_batch=32)


def wav(name="in.wav", samples=NOISE, rate=RATE, subtype="FLOAT", format=None):
    """Maker of a recording."""

    def make(folder):
        with open(folder / name, "wb") as file:
            kind = format or (folder / name).suffix[1:].upper()
            soundfile.write(file, samples, rate, subtype, format=kind)
        return folder / name

    return make


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


def channels(number):
    return 0.1 * np.random.default_rng(number).standard_normal((700, number))


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
RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 88200, 96000, 192000, 44101)


def entries(folder):
    return sorted(p.name for p in folder.iterdir())


def content(path):
    """Samples (time, channels), as float32."""
    return soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)[0]


@pytest.mark.parametrize("name", SOUND)
def test_what_is_sound_comes_back(model, tmp_path, name):
    path = SOUND[name](tmp_path)
    before, others = path.read_bytes(), entries(tmp_path)
    wanted = content(path)
    model.enhance_file(path, tmp_path / "out" / "out.wav")
    restored = content(tmp_path / "out" / "out.wav")
    assert restored.shape == wanted.shape and len(wanted) > 0
    peak = np.abs(wanted).max()
    assert np.abs(restored - wanted).max() <= 1e-5 * peak + 2**-23
    assert path.read_bytes() == before
    assert entries(tmp_path) == sorted([*others, "out"])
    assert entries(tmp_path / "out") == ["out.wav"]


@pytest.mark.parametrize("rate", RATES)
def test_any_rate_comes_back(model, tmp_path, rate):
    path = wav(rate=rate, samples=NOISE[:1001])(tmp_path)
    model.enhance_file(path, tmp_path / "a.wav")
    model.enhance_file(path, tmp_path / "b.wav", keep_sample_rate=True)
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
    "no header": (raw("in.raw", b"\1\2" * 5000), "nobody knows its sample rate"),
    "NaN": (with_value(np.nan), NOT_FINITE),
    "infinity": (with_value(np.inf), NOT_FINITE),
    "minus infinity": (with_value(-np.inf), NOT_FINITE),
    "beyond float32": (with_value(1e300, "DOUBLE"), NOT_FINITE),
    "loop of links": (loop, "in.wav is a link that leads nowhere"),
    "dangling link": (dangling, "in.wav is a link that leads nowhere"),
    "pipe": (pipe, "is not a file"),
    "name too long": (lambda folder: folder / f"{'n' * 256}.wav", "name too long"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_one_error_and_nothing_is_lost(
    model, tmp_path, name, capsys, monkeypatch
):
    make, message = BROKEN[name]
    path = make(tmp_path)
    (tmp_path / "out.wav").write_bytes(b"the result of last week")
    before = entries(tmp_path)
    with pytest.raises((OSError, ValueError), match=message):
        model.enhance_file(path, tmp_path / "out.wav")
    assert entries(tmp_path) == before
    assert (tmp_path / "out.wav").read_bytes() == b"the result of last week"
    if name == "folder":  # which the command takes for one of recordings
        return
    monkeypatch.setattr("lafufu_sb.cli.load_model", lambda options: model)
    assert main(["enhance", str(path), "-o", str(tmp_path / "out.wav")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "out.wav").read_bytes() == b"the result of last week"


def test_file_that_may_not_be_read_is_one_error(model, tmp_path, monkeypatch):
    path = wav()(tmp_path)
    path.chmod(0)
    tmp_path.chmod(0o755)
    if os.geteuid() == 0:  # whom nothing is forbidden
        monkeypatch.setattr("builtins.open", forbidden(path, open))
    with pytest.raises(PermissionError, match="in.wav"):
        model.enhance_file(path)


def forbidden(path, really_open):
    def opened(name, *arguments, **options):
        if os.fspath(name) == str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really_open(name, *arguments, **options)

    return opened


# Outputs ----------------------------------------------------------------------


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
    "peak above full scale": (lambda folder: folder / "out.flac", "would clip"),
    "name too long": (lambda folder: folder / f"{'n' * 256}.wav", "name too long"),
}


@pytest.mark.parametrize("name", UNWRITABLE)
def test_what_cannot_be_written_is_one_error_and_nothing_is_lost(model, tmp_path, name):
    make, message = UNWRITABLE[name]
    source = wav(samples=4 * NOISE)(tmp_path)
    path = make(tmp_path)
    before, others = source.read_bytes(), entries(tmp_path)
    with pytest.raises((OSError, ValueError), match=message):
        model.enhance_file(source, path)
    assert source.read_bytes() == before and entries(tmp_path) == others


def test_more_channels_than_a_format_has_are_one_error(model, tmp_path):
    source = wav(samples=channels(9))(tmp_path)
    with pytest.raises(ValueError, match="FLAC with 9 channels at 48000 Hz cannot"):
        model.enhance_file(source, tmp_path / "out.flac")
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
def test_fault_while_writing_is_one_error_and_leaves_nothing(
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


def test_folder_that_may_not_be_written_to_is_one_error(model, tmp_path, monkeypatch):
    source = wav()(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub").chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.geteuid() == 0:
        temporary = tmp_path / "sub" / ".out.wav.part"
        monkeypatch.setattr("builtins.open", forbidden(temporary, open))
    with pytest.raises(PermissionError, match="sub/out.wav"):
        model.enhance_file(source, tmp_path / "sub" / "out.wav")
    assert entries(tmp_path / "sub") == []


class Failing(NoChange):
    """Raises an error at its second call."""

    def __init__(self, error):
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, x_t, y, t):
        self.calls += 1
        if self.calls > 1:
            raise self.error
        return super().forward(x_t, y, t)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_fault_while_restoring_leaves_nothing(tmp_path, error):
    model = small_model(score_model=Failing(error), windows_per_batch=1)
    source = wav()(tmp_path)
    with pytest.raises(type(error)):
        model.enhance_file(source, tmp_path / "out.wav")
    assert entries(tmp_path) == ["in.wav"]


# Tensors and arrays -----------------------------------------------------------

TONE = 100 * np.sin(np.arange(500) / 7)
WAVEFORMS = {
    "float16": torch.from_numpy(TONE).half(),
    "bfloat16": torch.from_numpy(TONE).bfloat16(),
    "float32": torch.from_numpy(TONE).float(),
    "float64": torch.from_numpy(TONE),
    "int8": torch.from_numpy(TONE.astype(np.int8)),
    "int16": torch.from_numpy((300 * TONE).astype(np.int16)),
    "int32": torch.from_numpy((10**7 * TONE).astype(np.int32)),
    "int64": torch.from_numpy(TONE.astype(np.int64)),
    "array of float16": TONE.astype(np.float16),
    "array of float64": TONE,
    "array of int16": TONE.astype(np.int16),
    "bytes in the other order": TONE.astype(">f4"),
    "read backwards": TONE[::-1],
    "every other sample": np.stack([TONE, TONE])[:, ::2],
    "transposed": torch.from_numpy(np.stack([TONE, TONE], axis=1)).T,
    "list": TONE.tolist(),
    "list of lists": [[0.0, 0.5, -0.5], [1.0, 0.0, 0.25]],
    "with a graph": torch.from_numpy(TONE).requires_grad_(),
    "one sample": torch.ones(1, 1),
    "no items": torch.ones(0, 100),
    "200 items": torch.from_numpy(np.tile(TONE[:20], (200, 1))),
}


@pytest.mark.parametrize("name", WAVEFORMS)
def test_waveforms_of_many_kinds_come_back(model, name):
    given = WAVEFORMS[name]
    as_it_is = given.detach() if torch.is_tensor(given) else np.array(given, np.float32)
    wanted = torch.as_tensor(as_it_is).float()
    restored = model.enhance_batch(given)
    assert restored.dtype == torch.float32 and restored.shape == wanted.shape
    peak = float(wanted.abs().max()) if wanted.numel() else 0.0
    torch.testing.assert_close(restored, wanted, atol=1e-5 * peak, rtol=0)


SHAPE = r"shape \(batch, time\)"
KIND = "is none of samples"
REFUSED = {
    "unsigned": (torch.ones(1, 9, dtype=torch.uint8), KIND),
    "array of unsigned": (np.ones((1, 9), np.uint16), KIND),
    "bool": (torch.ones(1, 9, dtype=torch.bool), KIND),
    "complex": (torch.ones(1, 9, dtype=torch.complex64), KIND),
    "text": ("in.wav", KIND),
    "nothing": (None, KIND),
    "objects": (np.array([object()]), KIND),
    "ragged": ([[0.0, 1.0], [0.0]], "no array of numbers"),
    "number": (torch.tensor(1.0), SHAPE),
    "no samples": (torch.ones(2, 0), SHAPE),
    "empty list": ([], SHAPE),
    "three dimensions": (torch.ones(1, 2, 9), SHAPE),
    "NaN": (torch.tensor([[0.0, float("nan")]]), "NaN or infinite"),
    "infinity": (torch.tensor([[0.0, float("inf")]]), "NaN or infinite"),
    "beyond float32": (torch.tensor([[1e300]], dtype=torch.float64), "must be finite"),
    "array beyond float32": (np.array([[0.0, 1e300]]), "NaN or infinite"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_waveform_is_refused(model, name):
    given, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        model.enhance_batch(given)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1.0], "expected 2 relative lengths"),
        ([1.0, 1.0, 1.0], "expected 2 relative lengths"),
        ([[1.0, 1.0]], "expected 2 relative lengths"),
        ([1.0, 0.0], "above 0 and up to 1"),
        ([1.0, -0.5], "above 0 and up to 1"),
        ([1.0, 1.01], "above 0 and up to 1"),
        ([480.0, 480.0], "above 0 and up to 1"),
        ([1.0, float("nan")], "above 0 and up to 1"),
    ],
)
def test_lengths_that_are_none_are_refused(model, lengths, message):
    with pytest.raises(ValueError, match=message):
        model.enhance_batch(torch.ones(2, 480), lengths)
