"""Lhotse's manifests: cuts of all kinds keep everything but their paths."""

import gzip
import json
import sys

import pytest
from corpora import write_noise

from lafufu_sb.cleaning.manifests import Cleaned, open_manifest
from lafufu_sb.errors import MissingPackageError, UsageError

lhotse = pytest.importorskip("lhotse")


@pytest.fixture
def recording(tmp_path):
    return lhotse.Recording.from_file(write_noise(tmp_path / "a.wav", 1.0, 16000))


@pytest.fixture
def cut(recording):
    words = lhotse.SupervisionSegment(
        "s", "a", 0, 0.5, text="ünï", custom={"quality": 1}
    )
    return lhotse.MonoCut(
        "c", 0.1, 0.5, 0, recording=recording, supervisions=[words], custom={"q": [1]}
    )


def replaced(items, source, to, sample_rate=16000, samples=16000):
    """Dicts of a manifest, as they should become."""

    def change(value):
        if isinstance(value, dict):
            value = {key: change(v) for key, v in value.items()}
            if "sources" in value and sample_rate != value["sampling_rate"]:
                value |= {"sampling_rate": sample_rate, "num_samples": samples}
            return value
        if isinstance(value, list):
            return [change(v) for v in value]
        return to if value == source else value

    return [change(item.to_dict()) for item in items]


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_cuts_keep_all_but_the_paths(tmp_path, cut, recording, ending):
    cuts = [
        cut,
        cut.mix(cut.with_id("noise"), snr=10).with_id("mixed"),
        cut.append(cut.with_id("next")).with_id("longer"),
        cut.pad(3.0).with_id("padded"),
    ]
    path, new = tmp_path / f"cuts{ending}", tmp_path / f"new{ending}"
    lhotse.CutSet.from_cuts(cuts).to_file(path)
    manifest = open_manifest(path)
    (source,) = manifest.sources.values()
    assert source == recording.sources[0].source
    manifest.write(new, {source: Cleaned("/new/a.wav", 16000, 16000)})
    written = [item.to_dict() for item in lhotse.load_manifest(new)]
    assert written == replaced(lhotse.load_manifest(path), source, "/new/a.wav")


def test_recordings_follow_another_sample_rate(tmp_path, recording):
    path, new = tmp_path / "recordings.jsonl", tmp_path / "new.jsonl"
    lhotse.RecordingSet.from_recordings([recording]).to_file(path)
    manifest = open_manifest(path)
    manifest.check_rate_change()
    (source,) = manifest.sources.values()
    manifest.write(new, {source: Cleaned("/new/a.wav", 48000, 48000)})
    written = [item.to_dict() for item in lhotse.load_manifest(new)]
    expected = replaced([recording], source, "/new/a.wav", 48000, 48000)
    assert written == expected


def test_cuts_without_a_result_are_left_out(tmp_path, cut):
    path, new = tmp_path / "cuts.jsonl", tmp_path / "new.jsonl"
    other = write_noise(tmp_path / "b.wav", 1.0)
    fine = lhotse.Recording.from_file(other).to_cut()
    lhotse.CutSet.from_cuts([cut, fine, fine.mix(cut)]).to_file(path)
    manifest = open_manifest(path)
    broken, good = manifest.sources.values()
    manifest.write(new, {broken: None, good: Cleaned("/new/b.wav", 16000, 16000)})
    assert [item.id for item in lhotse.load_manifest(new)] == [fine.id]


def test_the_same_content_is_the_same_file(tmp_path, cut):
    path = tmp_path / "cuts.jsonl.gz"
    lhotse.CutSet.from_cuts([cut]).to_file(path)
    manifest = open_manifest(path)
    cleaned = {s: Cleaned("/n.wav", 16000, 1) for s in manifest.sources.values()}
    for name in ("one.jsonl.gz", "other.jsonl.gz"):
        manifest.write(tmp_path / name, cleaned)
    files = [(tmp_path / f"{n}.jsonl.gz").read_bytes() for n in ("one", "other")]
    assert files[0] == files[1]


def test_what_cannot_be_cleaned_is_refused(tmp_path, cut, recording):
    path = tmp_path / "m.jsonl"
    source = lhotse.audio.AudioSource("command", [0], "cat a.wav")
    piped = lhotse.Recording("piped", [source], 16000, 16000, 1.0)
    lhotse.RecordingSet.from_recordings([piped]).to_file(path)
    with pytest.raises(
        UsageError, match="recording 'piped': its source is of type 'command'"
    ):
        open_manifest(path)
    lhotse.SupervisionSet.from_segments(cut.supervisions).to_file(path)
    with pytest.raises(UsageError, match="must hold cuts or recordings, not"):
        open_manifest(path)
    lhotse.RecordingSet.from_recordings([recording.perturb_speed(1.1)]).to_file(path)
    with pytest.raises(UsageError, match="lhotse transforms it while it is read"):
        open_manifest(path).check_rate_change()


@pytest.mark.parametrize("damage", ["truncated", "not JSON", "a field is missing"])
def test_malformed_manifests_are_refused_with_the_item(tmp_path, cut, damage):
    path = tmp_path / "cuts.jsonl.gz"
    many = [cut.with_id(f"c{i}") for i in range(200)]
    lhotse.CutSet.from_cuts(many).to_file(path)
    lines = gzip.decompress(path.read_bytes()).splitlines()
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        broken = json.loads(lines[2])
        del broken["start"]
        lines[2] = json.dumps(broken).encode() if "field" in damage else lines[2][:-1]
        path.write_bytes(gzip.compress(b"\n".join(lines)))
    with pytest.raises(UsageError, match=r"item \d+: lhotse cannot read it") as caught:
        open_manifest(path)
    assert damage == "truncated" or "item 3: " in str(caught.value)


def test_without_lhotse_the_error_names_the_extra(tmp_path, cut, monkeypatch):
    path = tmp_path / "cuts.jsonl"
    lhotse.CutSet.from_cuts([cut]).to_file(path)
    monkeypatch.setitem(sys.modules, "lhotse", None)
    with pytest.raises(MissingPackageError, match=r'pip install "lafufu_sb\[lhotse\]"'):
        open_manifest(path)
