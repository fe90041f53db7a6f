"""Other recordings, laid out as the downloads of the benchmark."""

import json

import numpy as np
import pytest
import soundfile
from mock_sources import RATE, decay, read_rows, syllables

from lafufu_sb.corpora.ears import generate, mock


@pytest.fixture
def material(tmp_path):
    """Short sentences of two speakers, a short noise and a room, of other rates."""
    rng = np.random.default_rng(0)

    def write(name, signal, rate):
        path = tmp_path / "material" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, signal, rate)

    for speaker in ("anna", "bert"):
        for number in range(4):
            sentence = syllables(rng, 1.5, 0.3)
            write(f"speech/{speaker}/{number}.flac", sentence, RATE)
    write("noise/rain.wav", 0.1 * rng.standard_normal((44100, 2)), 44100)
    write("noise/wind.wav", 0.1 * rng.standard_normal(2 * RATE), RATE)
    write("rir/room.flac", decay(rng, 0.5, 2, 44100), 44100)
    return tmp_path / "material"


def arrange(material, output, subset):
    mock.main(
        f"--output {output} --subset {subset} --minutes 0.45 --seconds 4.5 6 "
        f"--speech {material}/speech --noise {material}/noise --rir {material}/rir "
        "--workers 1".split()
    )


@pytest.mark.parametrize("task", ["EARS-WHAM", "EARS-Reverb"])
def test_the_benchmark_is_generated_from_it(material, tmp_path, task):
    sources = tmp_path / "sources"
    for subset in ("train", "valid", "test"):
        arrange(material, sources, subset)
    speakers = {path.name for path in (sources / "EARS").iterdir()}
    possible = {"p001", "p002", "p100", "p101", "p102", "p103"}
    assert {"p001", "p100", "p102"} <= speakers <= possible
    listed = json.loads((sources / "test_files.json").read_text())
    assert set(listed) == speakers & {"p102", "p103"}
    rooms = ["--rirs", "ACE", "AIR", "Palimpsest"] if task == "EARS-Reverb" else []
    generate.main(
        [task, "--data_folder", str(sources), "--version", "v2", "--workers=1", *rooms]
    )
    rows = {
        subset: read_rows(sources / f"{task}_v2" / f"{subset}.csv")
        for subset in ("train", "valid", "test")
    }
    assert all(len(some) >= 3 for some in rows.values())
    used = {
        subset: {row.get("noise_file", row.get("rir_file")) for row in some}
        for subset, some in rows.items()
    }
    assert not used["train"] & used["test"] and not used["train"] & used["valid"]


def test_a_second_run_of_a_subset_replaces_its_metadata(material, tmp_path):
    for subset in ("test", "valid", "test"):
        arrange(material, tmp_path, subset)
    rows = read_rows(tmp_path / mock.METADATA)
    assert sorted(row["WHAM! Split"] for row in rows) == ["Test"] * 2 + ["Valid"] * 2


def test_recordings_the_benchmark_would_leave_out_are_refused(material, tmp_path):
    with pytest.raises(SystemExit, match="4 to 29 s"):
        mock.main(
            f"--output {tmp_path} --subset test --minutes 1 --seconds 3 40 "
            f"--speech {material}/speech".split()
        )
