"""Pairs by id, and one error that names all that cannot be paired."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lafufu_sb.corpora.manifests import pair_recordings, write_manifest
from lafufu_sb.errors import UsageError

RATE = 8000


def make(folder, *names, samples=800, rate=RATE):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, np.full(samples, 0.1), rate)


@pytest.mark.parametrize(
    "distorted, clean, ids",
    [
        (  # the generated layouts, and those of the original generators
            ["noisy/p001/00000_5.3dB.wav", "noisy/p002/00001_-1.0dB.wav"],
            ["clean/p001/00000.wav", "clean/p002/00001.wav"],
            ["p001/00000", "p002/00001"],
        ),
        (
            ["reverberant/p102/00000_0.84.wav"],
            ["clean/p102/00000.wav"],
            ["p102/00000"],
        ),
        (["reverb/00003_0.5.wav"], ["anechoic/00003.wav"], ["00003"]),
        (  # pairs of one's own: the same name, whatever is in it
            ["noisy/p226_001.wav", "noisy/p226_002.flac", "noisy/a/b/x.wav"],
            ["clean/p226_001.flac", "clean/p226_002.wav", "clean/a/b/x.wav"],
            ["a/b/x", "p226_001", "p226_002"],
        ),
    ],
)
def test_pairs_have_the_same_id(tmp_path, distorted, clean, ids):
    make(tmp_path, *distorted, *clean)
    pairs = pair_recordings(tmp_path)
    assert [key for key, *_ in pairs] == ids
    assert {str(p.relative_to(tmp_path)) for _, p, _ in pairs} == set(distorted)
    assert {str(p.relative_to(tmp_path)) for _, _, p in pairs} == set(clean)
    assert write_manifest(tmp_path, tmp_path / "test.json") == len(ids)
    entries = json.loads((tmp_path / "test.json").read_text())
    assert sorted(entries) == ids
    assert {entry["length"] for entry in entries.values()} == {0.1}


def test_links_to_speaker_folders_are_followed(tmp_path):
    make(tmp_path / "elsewhere", "n/00000_1.0dB.wav", "c/00000.wav")
    for side, target in (("noisy", "n"), ("clean", "c")):
        (tmp_path / side).mkdir()
        (tmp_path / side / "p001").symlink_to(tmp_path / "elsewhere" / target)
    assert [key for key, *_ in pair_recordings(tmp_path)] == ["p001/00000"]


def test_one_error_names_all_that_cannot_be_paired(tmp_path):
    make(tmp_path, "noisy/00000_1.0dB.wav", "noisy/00001_2.0dB.wav", "clean/00001.wav")
    make(tmp_path, "clean/00002.wav", "noisy/00003_1.0dB.wav", "noisy/00003_2.0dB.wav")
    make(tmp_path, "clean/00003.wav", "noisy/00004_1.0dB.wav", "noisy/00005_1.0dB.wav")
    make(tmp_path, "clean/00004.wav", samples=800 + 64)  # a hop: still a pair
    make(tmp_path, "clean/00005.wav", samples=800 + 65)
    make(tmp_path, "noisy/00006_1.0dB.wav", samples=0)
    make(tmp_path, "clean/00006.wav")
    (tmp_path / "clean" / "00001.wav").write_text("not audio")
    with pytest.raises(UsageError, match="cannot be paired") as caught:
        write_manifest(tmp_path, tmp_path / "test.json")
    lines = str(caught.value).splitlines()[1:-1]
    assert [line.split(": ", 1) for line in sorted(lines)] == [
        ["  clean/00001.wav", "is not audio that can be read"],
        ["  clean/00002.wav", "no partner"],
        ["  noisy/00000_1.0dB.wav", "no partner"],
        ["  noisy/00003_2.0dB.wav", "its id 00003 is also that of 00003_1.0dB.wav"],
        ["  noisy/00005_1.0dB.wav", "0.100 s, its partner 0.108 s"],
        ["  noisy/00006_1.0dB.wav", "is empty"],
    ]
    assert not (tmp_path / "test.json").exists()
    with pytest.raises(UsageError, match="3 recordings cannot be paired"):
        pair_recordings(tmp_path)


def test_missing_sides_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="noisy, reverberant, reverb"):
        pair_recordings(tmp_path)
    make(tmp_path, "noisy/00000.wav")
    with pytest.raises(FileNotFoundError, match="clean, anechoic"):
        pair_recordings(tmp_path)
    (tmp_path / "clean").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no .wav or .flac"):
        pair_recordings(tmp_path)


def test_preparation_takes_pairs_of_ones_own_and_names_what_is_wrong(tmp_path):
    recipe = Path(__file__).parents[2] / "recipes" / "EARS" / "ears_prepare.py"
    prepare_ears = runpy.run_path(str(recipe))["prepare_ears"]
    data, out = tmp_path / "data", tmp_path / "out"
    out.mkdir()
    for subset in ("train", "valid"):
        make(data / subset, "noisy/a.wav", "clean/a.wav")
    with pytest.raises(FileNotFoundError, match="has no test: it must hold EARS-WHAM"):
        prepare_ears(str(data), str(out), "EARS-WHAM")
    make(data / "test", "noisy/b.wav", "noisy/a.wav", "clean/a.wav")
    make(data / "train", "clean/c.wav")
    with pytest.raises(UsageError, match="2 recordings|1 recordings") as caught:
        prepare_ears(str(data), str(out), "EARS-WHAM")
    assert "noisy/b.wav: no partner" in str(caught.value)
    assert "clean/c.wav: no partner" in str(caught.value)
    make(data / "test", "clean/b.wav")
    make(data / "train", "noisy/c.wav")
    prepare_ears(str(data), str(out), "EARS-WHAM")
    assert sorted(json.loads((out / "test.json").read_text())) == ["a", "b"]
