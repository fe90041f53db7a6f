"""Corpora out of any speech, noise and rooms."""

import dataclasses
import sys

import numpy as np
import pytest
import soundfile

from lafufu_sb.corpora import mixing, simulate
from lafufu_sb.corpora.babble import babble
from lafufu_sb.corpora.excerpts import tile
from lafufu_sb.corpora.pieces import plan_pieces
from lafufu_sb.corpora.reverberation import rt60
from lafufu_sb.corpora.rooms import simulate_room
from lafufu_sb.corpora.sources import gather, scan, shares
from lafufu_sb.corpora.spectra import low_pass
from lafufu_sb.corpora.tasks import WORDS
from lafufu_sb.errors import MissingPackageError, UsageError

RATE = 48000


def burst(rng, seconds, rate):
    """Noise with the envelope of syllables."""
    time = np.arange(round(seconds * rate)) / rate
    return 0.2 * rng.standard_normal(time.size) * np.sin(np.pi * 3 * time) ** 2


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Two speakers, noise with a silent file, two rooms; mixed rates and channels."""
    folder, rng = tmp_path_factory.mktemp("material"), np.random.default_rng(0)

    def write(name, signal, rate):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, signal, rate)

    for number in range(4):
        write(f"speech/anna/{number}.wav", burst(rng, 1.3, 44100), 44100)
        write(f"speech/bert/{number}.flac", burst(rng, 2.1, RATE), RATE)
    write("speech/bert/long.wav", burst(rng, 7.0, RATE), RATE)
    write("noise/all/short.wav", 0.1 * rng.standard_normal((RATE, 2)), RATE)
    write("noise/all/long.wav", 0.1 * rng.standard_normal(12 * 44100), 44100)
    write("noise/all/silent.wav", np.zeros(12 * RATE), RATE)
    for name, seconds in (("dry", 0.3), ("church", 4.0)):
        time = np.arange(round(1.5 * RATE)) / RATE
        rir = 0.1 * rng.standard_normal(time.size) * 10 ** (-3 * time / seconds)
        rir[0] = 1.0
        write(f"rir/all/{name}.wav", rir, RATE)
    return folder


SHORT = simulate.Settings(piece_seconds=(2.0, 4.0), clips=4)


def run(material, output, task="wham", seed=7, workers=1, **changes):
    simulate.simulate_corpus(
        task,
        gather([material / "speech"]),
        gather([material / ("noise" if task == "wham" else "rir")]),
        output,
        "train",
        10.0,
        seed,
        dataclasses.replace(SHORT, **changes),
        workers,
    )
    return output / WORDS[task].name


def contents(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.mark.parametrize("task", ["wham", "reverb"])
def test_layout_lengths_and_labels(material, tmp_path, task):
    corpus = run(material, tmp_path, task) / "train"
    distorted = sorted((corpus / WORDS[task].degraded).rglob("*.wav"))
    assert [p.name[:5] for p in sorted(distorted, key=lambda p: p.name)] == [
        f"{number:05}" for number in range(4)
    ]
    for path in distorted:
        number, label = path.stem.split("_")
        clean = corpus / "clean" / path.parent.name / f"{number}.wav"
        speech, rate = soundfile.read(clean)
        mixture, _ = soundfile.read(path)
        assert rate == RATE and speech.shape == mixture.shape
        assert soundfile.info(path).subtype == "PCM_16"
        assert 2.0 <= speech.size / RATE <= 4.01
        assert 10 ** (-20 / 20) <= np.abs(speech).max() * 1.001
        assert np.abs(speech).max() <= 10 ** (-1 / 20) * 1.001
        if task == "wham":
            assert label.endswith("dB")
            noise = mixing.loudness(mixture - speech, RATE)
            snr_db = mixing.loudness(speech, RATE) - noise
            assert snr_db == pytest.approx(float(label[:-2]), abs=0.1)
        else:
            assert float(label) == pytest.approx(0.3, abs=0.1)  # never the church
    assert not list(corpus.rglob(".*"))


def test_output_does_not_depend_on_workers_nor_on_place(material, tmp_path):
    alone = contents(run(material, tmp_path / "a", clips=3))
    together = contents(run(material, tmp_path / "b", clips=3, workers=2))
    assert alone == together
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("speech", "noise"):
        (moved / name).symlink_to(material / name)
    assert alone == contents(run(moved, tmp_path / "c", clips=3))
    assert alone != contents(run(material, tmp_path / "d", clips=3, seed=8))


def test_pieces_deal_all_sentences_before_one_comes_again(material):
    sources = scan(gather([material / "speech"], ["anna/*"]))
    plan = plan_pieces(sources, 10.0, 0, "train", (2.0, 4.0), None, 8)
    paths = [path for piece in plan for path, _, _ in piece.cuts]
    assert len(set(paths[:4])) == 4 and len(set(paths[4:8])) == 4
    assert {piece.speaker for piece in plan} == {"anna"}


def test_minutes_are_reached(material):
    sources = scan(gather([material / "speech"]))
    plan = plan_pieces(sources, 1.0, 0, "train", (2.0, 4.0), None, None)
    seconds = sum(
        sum(s / piece.speed for _, _, s in piece.cuts) + sum(piece.pauses)
        for piece in plan
    )
    assert 60.0 <= seconds <= 64.0


def test_weights_fix_the_share_of_a_group():
    folders, amounts = ["r1", "r2", "de"], [1.0, 3.0, 96.0]
    assert shares(folders, amounts, {"r*": 0.4}) == pytest.approx([0.1, 0.3, 0.6])
    assert shares(folders, amounts) == pytest.approx([0.01, 0.03, 0.96])
    with pytest.raises(UsageError, match="match no folder"):
        shares(folders, amounts, {"x*": 0.4})
    with pytest.raises(UsageError, match="at most 1"):
        shares(folders, amounts, {"r*": 1.4})


def test_tiling_skips_silent_ends_and_has_no_gap():
    rng = np.random.default_rng(0)
    clip = np.concatenate([np.zeros(RATE), rng.standard_normal(RATE), np.zeros(RATE)])
    tiled = tile(clip, 5 * RATE, rng, RATE)
    power = (tiled.reshape(-1, 480) ** 2).mean(1)
    assert tiled.shape == (5 * RATE,) and power.min() > 0.5
    with pytest.raises(mixing.SilentExcerptError, match="less than 0.5 s of sound"):
        tile(np.zeros(RATE), 2 * RATE, rng, RATE)


def test_silent_speech_is_left_out_and_said(material, tmp_path, caplog):
    (tmp_path / "mute").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / f"mute/{number}.wav", np.zeros(2 * RATE), RATE)
    mute, noise = gather([tmp_path / "mute"]), [material / "noise/all"]

    def simulated(speech, settings=SHORT):
        return simulate.simulate_corpus(
            "wham", speech, gather(noise), tmp_path, "train", 1, 0, settings
        )

    with pytest.raises(UsageError, match="silent: check"):
        simulated(mute)
    assert "clip 00003 left out" in caplog.text
    half = dataclasses.replace(SHORT, speaker_weights={"mute": 0.5})
    assert simulated(mute + gather([material / "speech"]), half) > 0.0
    speakers = {p.name for p in tmp_path.glob("EARS-WHAM/train/clean/*")}
    assert speakers and speakers <= {"anna", "bert"}
    assert 1 <= len(list(tmp_path.rglob("noisy/*/*.wav"))) < 4


def test_refusals_name_the_way_out(material, tmp_path):
    with pytest.raises(UsageError, match="'hum'.*wham.*reverb"):
        simulate.simulate_corpus("hum", [], [], tmp_path, "train", 1.0, 0)
    run(material, tmp_path, clips=1)
    with pytest.raises(FileExistsError, match="remove it"):
        run(material, tmp_path, clips=1)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        gather([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="span at least 1 s"):
        run(material, tmp_path / "x", piece_seconds=(4.0, 4.0))
    church = [material / "rir/all/church.wav"]
    speech = gather([material / "speech"])
    with pytest.raises(UsageError, match="church.wav: raise max_rt60"):
        simulate.simulate_corpus(
            "reverb", speech, church, tmp_path, "train", 1.0, 0, SHORT
        )


def test_command_line_takes_lists_and_globs(material, tmp_path):
    names = sorted(str(p) for p in (material / "noise").rglob("*.wav"))
    (tmp_path / "noise.txt").write_text("\n".join(names) + "\n")
    simulate.main(
        f"--task wham --speech {material / 'speech'} --noise {tmp_path / 'noise.txt'} "
        f"--subset valid --minutes 1 --clips 2 --output {tmp_path} --workers 1 "
        "--include anna/* --exclude */0.wav --piece-seconds 2 4".split()
    )
    table = (tmp_path / "EARS-WHAM/simulated_valid.csv").read_text().splitlines()
    assert len(table) == 3
    assert all(",anna," in row and "0.wav+" not in row for row in table[1:])


def test_a_refusal_of_the_command_line_is_a_message(material, tmp_path):
    with pytest.raises(SystemExit, match="error: .*nowhere does not exist"):
        simulate.main(
            f"--task wham --speech {tmp_path / 'nowhere'} --noise {material / 'noise'} "
            f"--subset valid --minutes 1 --output {tmp_path}".split()
        )


def test_rooms_without_pyroomacoustics_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(MissingPackageError, match=r"lafufu_sb\[rooms\]"):
        simulate_room(np.random.default_rng(2), RATE)


def test_a_room_depends_on_its_seed_only():
    pytest.importorskip("pyroomacoustics")

    rir = simulate_room(np.random.default_rng(2), RATE)
    assert rir.ndim == 1 and np.abs(rir).max() == pytest.approx(0.5)
    assert 0.1 < rt60(rir, RATE) < 2.0
    assert (simulate_room(np.random.default_rng(2), RATE) == rir).all()


def test_untouched_clips_are_the_clean_ones(material, tmp_path):
    corpus = run(material, tmp_path, untouched_share=1.0) / "train"
    noisy = sorted((corpus / "noisy").rglob("*.wav"))
    assert len(noisy) == SHORT.clips
    for path in noisy:
        number, label = path.stem.split("_")
        assert label == "infdB"
        clean = corpus / "clean" / path.parent.name / f"{number}.wav"
        assert path.read_bytes() == clean.read_bytes()


def test_babble_is_of_other_speakers(material, tmp_path):
    sources = scan(gather([material / "speech"]))
    voices = [
        dataclasses.replace(source, folder=f"{source.folder}{number}")
        for source in sources
        for number in range(2)
    ]
    rng = np.random.default_rng(0)
    mixed = babble(voices, RATE, rng, RATE)
    assert mixed.shape == (RATE,) and np.isfinite(mixed).all()
    assert -30.0 < mixing.loudness(mixed, RATE) < -5.0
    with pytest.raises(UsageError, match="3 other speakers, got 2"):
        babble(sources, RATE, rng, RATE)
    with pytest.raises(UsageError, match="3 other speakers, got 1"):
        run(material, tmp_path, babble_share=1.0)


def test_noise_above_the_bandwidth_of_the_speech_is_removed(material, tmp_path):
    """Speech that ends at 6 kHz, white noise."""
    rng = np.random.default_rng(0)
    speech = low_pass(burst(rng, 3.0, RATE), 6000.0, RATE)
    (tmp_path / "low").mkdir()
    soundfile.write(tmp_path / "low" / "low.wav", speech, RATE, subtype="FLOAT")
    above = []
    for match in (False, True):
        settings = dataclasses.replace(SHORT, clips=1, match_bandwidth=match)
        noise = [material / "noise" / "all" / "short.wav"]
        output = tmp_path / str(match)
        low = [tmp_path / "low" / "low.wav"]
        simulate.simulate_corpus("wham", low, noise, output, "train", 9, 1, settings)
        (path,) = (output / "EARS-WHAM" / "train" / "noisy").rglob("*.wav")
        power = np.abs(np.fft.rfft(soundfile.read(path)[0])) ** 2
        above.append(power[power.size // 3 :].sum() / power.sum())
    assert above[0] > 0.01 and above[1] < 1e-6
