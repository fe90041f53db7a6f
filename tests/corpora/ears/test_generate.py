"""EARS-WHAM and EARS-Reverb as the benchmark makes them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import mock_sources
import numpy as np
import pytest
import soundfile
from mock_sources import RATE, ask, contents, one_pair, pair_of, read_rows

from lafufu_sb.corpora import mixing
from lafufu_sb.corpora.ears import generate, rirs
from lafufu_sb.corpora.manifests import write_manifest
from lafufu_sb.corpora.tasks import SUBSETS, TASKS
from lafufu_sb.errors import UsageError

ROOT = Path(__file__).parents[3]
CSV = Path(__file__).parent / "benchmark_csv"


@pytest.mark.parametrize(
    "task, version", [("EARS-WHAM", "v1"), ("EARS-Reverb", "v1"), ("EARS-Reverb", "v2")]
)
def test_csv_files_are_those_of_the_benchmark(corpus, task, version):
    folder = corpus(task, version)
    for subset in SUBSETS:
        found = read_rows(folder / f"{subset}.csv")
        expected = read_rows(CSV / folder.name / f"{subset}.csv")
        if task == "EARS-Reverb":
            if version == "v1":  # ran on ACE-Challenge/Single
                for row in found:
                    path = re.sub(r"ACE_Corpus_RIRN_\w+/", "", row["rir_file"])
                    row["rir_file"] = path
            gains = [
                [float(row.pop("gain")) for row in rows] for rows in (found, expected)
            ]
            assert gains[0] == pytest.approx(gains[1], rel=1e-6)
        assert found == expected
        assert list(found[0]) == list(expected[0])


@pytest.mark.parametrize("task", TASKS)
def test_files_pair_and_are_named_by_their_rows(corpus, tmp_path, task):
    folder = corpus(task, "v1")
    assert not list(folder.rglob(".*"))
    for subset in SUBSETS:
        rows = read_rows(folder / f"{subset}.csv")
        assert write_manifest(folder / subset, tmp_path / "pairs.json") == len(rows)
        end = "{snr_dB}dB" if task == "EARS-WHAM" else "{rt60}"
        for row in rows:
            side = folder / subset / TASKS[task].degraded / row["speaker"]
            name = "{id}_" + end + ".wav"
            assert (side / name.format(**row)).exists()


def test_long_recordings_are_cut_from_14_s_on(corpus, sources):
    folder = corpus("EARS-WHAM", "v1")
    lengths, expected = {}, {}
    for row in read_rows(folder / "train.csv"):
        _, clean = pair_of(folder, "train", row)
        path = f"{row['speaker']}/{row['speech_file']}.wav"
        lengths.setdefault(path, []).append(clean.size)
        speech, _ = soundfile.read(sources / "EARS" / path)
        start = int(row["speech_start"])
        assert np.abs(clean - speech[start : start + clean.size]).max() < 1e-7
    ten = 10 * RATE
    expected = {
        "p001/sentences_01_regular.wav": [round(13.99 * RATE)],
        "p001/sentences_02_regular.wav": [ten, 4 * RATE - 1],
        "p001/sentences_03_whisper.wav": [4 * RATE],
        "p002/freeform_speech_01.wav": [ten, ten, 4 * RATE - 1],
        "p002/rainbow_01_loud.wav": [ten, ten, ten, 5 * RATE - 1],
        "p099/sentences_09_slow.wav": [round(4.2 * RATE)],
    }
    assert lengths == expected  # interjections and what is shorter than 4 s are out


@pytest.mark.parametrize("subset", SUBSETS)
def test_snr_is_that_of_the_name(corpus, subset):
    folder = corpus("EARS-WHAM", "v1")
    pairs = {}
    for row in read_rows(folder / f"{subset}.csv"):
        key = row["speech_file"], subset == "test" and row["id"], row["snr_dB"]
        pairs.setdefault(key, []).append(pair_of(folder, subset, row))
    for (_, _, snr_db), some in pairs.items():
        noisy, clean = (np.concatenate(side) for side in zip(*some, strict=True))
        assert np.abs(noisy).max() < 1.0
        noise = mixing.loudness(noisy - clean, RATE)
        measured = mixing.loudness(clean, RATE) - noise
        assert measured == pytest.approx(float(snr_db), abs=0.1)


def test_a_loud_recording_raises_its_snr(corpus, sources, tmp_path):
    request = ask(sources, tmp_path, subsets=("train",))
    rows = read_rows(corpus("EARS-WHAM", "v1") / "train.csv")
    drawn = {
        job.stretch.speech.stem: job.draw.snr_db
        for job in generate.make_plan(request)["train"]
    }
    raised = {
        row["speech_file"]: float(row["snr_dB"]) - drawn[row["speech_file"]]
        for row in rows
    }
    loud = raised.pop("rainbow_01_loud")
    assert loud >= 1.0 and loud == pytest.approx(round(loud))
    assert set(raised.values()) == {0.0}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_rt60_is_that_of_the_name_and_loudness_that_of_the_speech(corpus, version):
    folder = corpus("EARS-Reverb", version)
    for subset in ("valid", "test"):
        for row in read_rows(folder / f"{subset}.csv"):
            rt60, _ = mock_sources.ROOMS[row["rir_file"][1:]]
            assert float(row["rt60"]) == pytest.approx(rt60, abs=0.05)
            assert rt60 <= 2.0
            wet, dry = pair_of(folder, subset, row)
            difference = mixing.loudness(wet, RATE) - mixing.loudness(dry, RATE)
            assert difference == pytest.approx(0.0, abs=0.2)


def test_test_segments_are_faded_at_both_ends(corpus):
    for task in TASKS:
        folder = corpus(task, "v1")
        rows = read_rows(folder / "test.csv")
        assert "sentences_05_slow" not in {row["speech_file"] for row in rows}  # 30 s
        for row in rows:
            for faded in pair_of(folder, "test", row):
                assert faded[0] == faded[-1] == 0.0
                edge = np.abs(faded[:48]).max(), np.abs(faded[-48:]).max()
                assert max(edge) < 0.15 * np.abs(faded).max()


def test_version_2_keeps_sources_apart_and_drops_quiet_pieces(corpus, sources):
    noisy, wet = corpus("EARS-Reverb", "v2"), None
    rooms = {
        subset: {
            row["rir_file"].split("/")[1] for row in read_rows(noisy / f"{subset}.csv")
        }
        for subset in SUBSETS
    }
    assert rooms["test"] == {"ACE-Challenge"} and rooms["valid"] == {"AIR"}
    assert not rooms["train"] & {"ACE-Challenge", "AIR"}
    kept = {row["speech_file"] for row in read_rows(noisy / "train.csv")}
    assert "sentences_09_slow" not in kept and "sentences_03_whisper" in kept
    wet = corpus("EARS-WHAM", "v2")
    for subset in SUBSETS:
        for row in read_rows(wet / f"{subset}.csv"):
            name = f"{row['noise_file']}.wav"
            assert mock_sources.NOISES[name][2] == subset.capitalize()


def test_version_2_takes_rumble_out_of_the_speech(corpus, sources):
    row = read_rows(corpus("EARS-WHAM", "v2") / "valid.csv")[0]
    _, clean = pair_of(corpus("EARS-WHAM", "v2"), "valid", row)
    _, plain = pair_of(corpus("EARS-WHAM", "v1"), "valid", row)
    ratio = np.abs(np.fft.rfft(clean)) / np.abs(np.fft.rfft(plain))
    hertz = np.fft.rfftfreq(plain.size, 1 / RATE)
    assert ratio[hertz < 20].mean() < 0.1
    assert ratio[hertz > 300].mean() == pytest.approx(1.0, abs=0.05)


def test_16_khz_is_the_same_mixture_resampled(corpus, sources, tmp_path):
    request = ask(sources, tmp_path, version="v2", subsets=("test",), sample_rate=16000)
    assert generate.generate_corpus(request) == {"test": 7}
    assert request.folder.name == "EARS-WHAM_v2_16k"
    full = corpus("EARS-WHAM", "v2")
    text = (request.folder / "test.csv").read_text()
    assert text == (full / "test.csv").read_text()
    for row in read_rows(request.folder / "test.csv"):
        low, high = pair_of(request.folder, "test", row), pair_of(full, "test", row)
        for narrow, wide in zip(low, high, strict=True):
            assert narrow.size == -(-wide.size // 3)
            few = np.abs(np.fft.rfft(narrow, 96000))[1000:24000]
            many = np.abs(np.fft.rfft(wide, 288000))[1000:24000] / 3
            assert np.corrcoef(few, many)[0, 1] > 0.999


def test_output_does_not_depend_on_the_number_of_workers(corpus, sources, tmp_path):
    request = ask(
        sources, tmp_path, "EARS-Reverb", "v2", subsets=("valid", "test"), workers=2
    )
    generate.generate_corpus(request)
    alone = {
        name: data
        for name, data in contents(corpus("EARS-Reverb", "v2")).items()
        if not name.startswith("train")
    }
    assert contents(request.folder) == alone


def run_command(sources, output, *more):
    command = [sys.executable, "recipes/EARS/ears_prepare.py", "EARS-WHAM", *more]
    command += [f"--data_folder={sources}", f"--output={output}", "--workers=1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )


def test_a_killed_run_goes_on(corpus, sources, tmp_path):
    process = run_command(sources, tmp_path)
    folder = tmp_path / "EARS-WHAM"
    while not list(folder.rglob("clean/*/00001.wav")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "train.csv").exists()
    journal = folder / ".train.csv.part"
    assert journal.read_text().count("\n") >= 1
    with open(journal, "a") as file:
        file.write("00099,p0")  # a line torn by the kill
    first = next(folder.rglob("clean/p001/00000.wav"))
    before = first.stat().st_mtime_ns
    broken = next(folder.rglob("noisy/p001/00001_*.wav"), None)
    if broken:
        broken.write_bytes(broken.read_bytes()[:-4000])
    process = run_command(sources, tmp_path)
    _, message = process.communicate()
    assert process.returncode == 0, message
    assert re.search(r"train: \d recordings exist already", message)
    assert first.stat().st_mtime_ns == before
    assert contents(folder) == contents(corpus("EARS-WHAM", "v1"))


def test_a_finished_corpus_is_left_alone(corpus, sources):
    folder = corpus("EARS-WHAM", "v1")
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.wav")}
    generate.generate_corpus(ask(sources, folder.parent))
    assert times == {path: path.stat().st_mtime_ns for path in folder.rglob("*.wav")}


def test_files_of_other_sources_are_not_mixed_in(corpus, sources, tmp_path):
    shutil.copytree(corpus("EARS-WHAM", "v1"), tmp_path / "EARS-WHAM")
    text = (tmp_path / "EARS-WHAM" / "test.csv").read_text().replace("e_cafe", "other")
    (tmp_path / "EARS-WHAM" / "test.csv").write_text(text)
    with pytest.raises(UsageError, match="made of other sources or settings"):
        generate.generate_corpus(ask(sources, tmp_path))


def test_ace_is_found_under_both_names(sources, tmp_path):
    found = rirs.list_corpus(sources, "ACE", "v1")
    assert found == rirs.list_corpus(sources, "ACE", "v2")
    assert [name.split("/")[1] for name in found] == [
        "ACE_Corpus_RIRN_EM32",
        "ACE_Corpus_RIRN_Single",
    ]
    assert rirs.list_corpus(sources, "ACE", "v1", ace="official") == []
    assert rirs.list_corpus(sources, "ACE", "v2", ace="official") == found
    for name in ("ACE_Corpus_RIRN_Single/Single", "Single"):
        (tmp_path / "ACE-Challenge" / name).mkdir(parents=True)
        (tmp_path / "ACE-Challenge" / name / "a_RIR.wav").touch()
    expected = {"v1": "ACE-Challenge/Single/a_RIR.wav"}
    expected["v2"] = "ACE-Challenge/ACE_Corpus_RIRN_Single/Single/a_RIR.wav"
    for version, name in expected.items():
        assert rirs.list_corpus(tmp_path, "ACE", version) == [name]


def test_speech_at_full_scale_does_not_loop_forever(tmp_path, caplog):
    rng = np.random.default_rng(0)
    speech = mock_sources.syllables(rng, 4.1, 0.9)
    speech[1000:1100] = 1.0
    request = one_pair(tmp_path, speech, 0.1 * rng.standard_normal(5 * RATE))
    assert generate.generate_corpus(request) == {"train": 1}
    assert "full scale" in caplog.text and "a.wav" in caplog.text
    (row,) = read_rows(request.folder / "train.csv")
    noisy, clean = pair_of(request.folder, "train", row)
    noise = mixing.loudness(noisy - clean, RATE)
    measured = mixing.loudness(clean, RATE) - noise
    assert measured == pytest.approx(float(row["snr_dB"]), abs=0.1)
    assert float(row["snr_dB"]) <= 17.5


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    rng = np.random.default_rng(0)
    speech = mock_sources.syllables(rng, 4.1, 0.3)
    request = one_pair(tmp_path, speech, 0.1 * rng.standard_normal(5 * RATE))
    peaks = []
    for more in (2, 12):
        for number in range(more):
            path = tmp_path / f"EARS/p001/{more}_{number}.wav"
            path.symlink_to("a.wav")
        tracemalloc.start()
        generate.generate_corpus(request)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        shutil.rmtree(request.folder)
    assert peaks[1] < 1.1 * peaks[0]


def test_silent_noise_is_said_and_adds_nothing(tmp_path, caplog):
    speech = mock_sources.syllables(np.random.default_rng(0), 4.1, 0.3)
    request = one_pair(tmp_path, speech, np.zeros(5 * RATE))
    generate.generate_corpus(request)
    assert "noise not added" in caplog.text
    (row,) = read_rows(request.folder / "train.csv")
    noisy, clean = pair_of(request.folder, "train", row)
    assert np.array_equal(noisy, clean)
