"""Two folders become manifests; what would spoil a training is refused and why."""

import csv
import json

import numpy as np
import pytest
import soundfile

from lafufu_sb.cli.main import main
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.corpora.pair_checks import CONTRAST, PairLimits, alignment, check_pair
from lafufu_sb.corpora.paired_folders import pair_folders
from lafufu_sb.errors import UsageError

RATE = 48000


def speech(seed, seconds=1.5):
    """Noise with pauses, its peak a single sample."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    wave = rng.standard_normal(samples) * (np.sin(np.arange(samples) / 4000) > -0.5)
    return 0.5 * wave / np.abs(wave).max()


def noisy(wave, seed=99):
    return wave + 0.05 * np.random.default_rng(seed).standard_normal(len(wave))


def write(path, wave, rate=RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, **options)


def write_pair(folder, name, seed, suffixes=(".wav", ".wav")):
    wave = speech(seed)
    write(folder / "clean" / f"{name}{suffixes[0]}", wave)
    write(folder / "noisy" / f"{name}{suffixes[1]}", noisy(wave, seed + 1000))


@pytest.fixture
def corpus(tmp_path):
    """Three speakers of two pairs, in several formats."""
    for speaker in range(3):
        for take in range(2):
            name = f"p{speaker}/take{take}"
            suffixes = (".wav", ".flac") if take else (".flac", ".wav")
            write_pair(tmp_path, name, 10 * speaker + take, suffixes)
    return tmp_path


def make(folder, **options):
    return pair_folders(folder / "clean", folder / "noisy", folder / "data", **options)


def rows(folder):
    with open(folder / "data" / "refused.csv", newline="") as file:
        return list(csv.DictReader(file))


def manifests(folder):
    names = ("train", "valid", "test")
    files = {name: folder / "data" / f"{name}.json" for name in names}
    return {name: json.loads(file.read_text()) for name, file in files.items()}


def test_partners_of_other_formats_are_found_and_speakers_kept_apart(corpus):
    report = make(corpus)
    assert report.refused == [] and rows(corpus) == []
    found = manifests(corpus)
    speakers = {n: {key.split("/")[0] for key in some} for n, some in found.items()}
    assert sorted(len(some) for some in found.values()) == [2, 2, 2]
    assert sorted(s for some in speakers.values() for s in some) == ["p0", "p1", "p2"]
    entry = found["train"].popitem()[1]
    assert entry["length"] == 1.5 and "/clean/" in entry["clean_wav"]
    assert str(corpus.resolve()) in entry["noisy_wav"]


def test_the_division_is_repeatable_and_depends_on_the_seed(corpus):
    make(corpus)
    first = manifests(corpus)
    make(corpus)
    assert manifests(corpus) == first
    divisions = set()
    for seed in range(6):
        make(corpus, seed=seed)
        divisions.add(tuple(manifests(corpus)["test"]))
    assert len(divisions) > 1


def test_shares_are_those_of_the_speech(tmp_path):
    for number in range(10):
        write_pair(tmp_path, f"{number}", number)
    report = make(tmp_path, shares=(0.5, 0.2, 0.3))
    assert {n: len(some) for n, some in report.subsets.items()} == {
        "train": 5,
        "valid": 2,
        "test": 3,
    }


def test_one_clean_recording_is_not_in_two_subsets(tmp_path):
    for number in range(3):
        write_pair(tmp_path, f"take{number}", number)
    for name in ("again", "and_again"):
        write(tmp_path / "clean" / f"{name}.wav", speech(0))
        write(tmp_path / "noisy" / f"{name}.wav", noisy(speech(0), len(name)))
    make(tmp_path)
    (home,) = (some for some in manifests(tmp_path).values() if "take0" in some)
    assert {"again", "and_again"} < set(home)


def test_names_and_speakers_are_found_by_expressions(tmp_path):
    for number in range(4):
        wave = speech(number)
        write(tmp_path / "clean" / f"sp{number // 2}_clean_{number}.wav", wave)
        write(tmp_path / "noisy" / f"street_{number}_5dB.wav", noisy(wave, number))
    write_pair(tmp_path, "sp7_clean_9", 9)
    options = {"name_pattern": r"_(\d)(?:_|$)", "group_pattern": r"^(sp\d)"}
    report = make(tmp_path, **options)
    assert report.refused == []
    assert sorted(map(len, manifests(tmp_path).values())) == [1, 2, 2]


def spoil_length(clean, noisy_wave):
    return clean, noisy_wave[:-1000]


def spoil_by_shift(clean, noisy_wave):
    return clean, np.roll(noisy_wave, 480)


def spoil_by_silence(clean, noisy_wave):
    return clean, 1e-5 * noisy_wave


def spoil_by_clipping(clean, noisy_wave):
    return np.clip(clean, -0.1, 0.1), noisy_wave


def spoil_by_another(clean, noisy_wave):
    return clean, noisy(speech(77))


def spoil_nothing(clean, noisy_wave):
    return clean, clean


@pytest.mark.parametrize(
    "spoil, reason, detail",
    [
        (spoil_length, "length", "clean has 1.500 s, noisy 1.479 s"),
        (spoil_by_shift, "misaligned", "noisy lags by 10.0 ms"),
        (spoil_by_silence, "silence", "noisy has -"),
        (spoil_by_clipping, "clipping", "of the clean samples are at their peak"),
        (spoil_by_another, "unrelated", "another recording?"),
        (spoil_nothing, "identical", "the same samples"),
    ],
)
def test_spoilt_pairs_are_refused_with_the_reason(corpus, spoil, reason, detail):
    wave = speech(5)
    for side, spoilt in zip(("clean", "noisy"), spoil(wave, noisy(wave)), strict=True):
        write(corpus / side / "p0" / "bad.wav", spoilt, subtype="FLOAT")
    report = make(corpus)
    (row,) = rows(corpus)
    assert row["reason"] == reason and detail in row["detail"]
    assert row["clean"].endswith("clean/p0/bad.wav")
    assert report.summary().endswith(f"1 refused (1 {reason})")
    assert not any("p0/bad" in some for some in manifests(corpus).values())


def test_other_reasons(corpus):
    write(corpus / "clean" / "lonely.wav", speech(1))
    write_pair(corpus, "short", 2)
    write(corpus / "clean" / "p0" / "take0.ogg", speech(3))  # beside take0.flac
    for side in ("clean", "noisy"):
        source = corpus / side / "p1" / f"take1{'.wav' if side == 'clean' else '.flac'}"
        (corpus / side / f"copy{source.suffix}").write_bytes(source.read_bytes())
        write(corpus / side / "telephone.wav", speech(4)[::6] + 0.1, 8000)
    (corpus / "noisy" / "p2" / "take0.wav").write_text("no audio")
    make(corpus, limits=PairLimits(min_seconds=1.5), group_pattern=".*")
    reasons = {}
    for row in rows(corpus):
        name = (row["clean"] or row["noisy"]).rsplit("/", 2)[1:]
        reasons.setdefault(row["reason"], set()).add("/".join(name))
    assert reasons["no partner"] == {"clean/lonely.wav", "p0/take0.wav"}
    assert reasons["ambiguous"] == {"p0/take0.flac", "p0/take0.ogg"}
    assert reasons["sample rate"] == {"clean/telephone.wav"}
    assert reasons["unreadable"] == {"p2/take0.flac"}
    assert len(reasons["duplicate"]) == 1
    assert reasons.keys() == {
        *("no partner", "ambiguous", "sample rate", "unreadable", "duplicate")
    }


def test_noise_rooms_and_delays_are_told_apart():
    wave = speech(1, 3.0)
    hidden = wave + 0.4 * np.random.default_rng(5).standard_normal(len(wave))
    shift, contrast = alignment(wave, hidden, RATE)
    assert shift == 0 and contrast > CONTRAST
    late = np.concatenate([np.zeros(240), wave])[: len(wave)]
    assert alignment(wave, late, RATE)[0] == pytest.approx(0.005)
    assert alignment(late, wave, RATE)[0] == pytest.approx(-0.005)
    decay = np.random.default_rng(6).standard_normal(9600) * np.exp(
        -np.arange(9600) / 2000
    )
    decay[0] = 5.0
    room = np.convolve(wave, decay)[: len(wave)]
    shift, contrast = alignment(wave, room, RATE)
    assert shift == 0 and contrast > CONTRAST


@pytest.mark.parametrize("task", ["EARS-WHAM", "EARS-Reverb"])
def test_real_noise_and_rooms_pass(task):
    folder = mini_corpus_folder(task) / "test"
    side = "noisy" if task == "EARS-WHAM" else "reverberant"
    for path in folder.glob(f"{side}/*/*"):
        clean = folder / "clean" / path.parent.name / f"{path.stem[:5]}{path.suffix}"
        facts = check_pair(clean, path, PairLimits())
        assert facts.seconds > 1 and facts.clean_hash != facts.distorted_hash


def test_impossible_requests_say_what_to_do(corpus):
    clean = corpus / "clean"
    with pytest.raises(UsageError, match="given as clean and as noisy"):
        pair_folders(clean, clean, corpus / "data")
    with pytest.raises(UsageError, match="is inside"):
        pair_folders(clean, corpus / "noisy", clean / "data")
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        pair_folders(corpus / "none", corpus / "noisy", corpus / "data")
    with pytest.raises(UsageError, match="must be above 0 and add up to 1"):
        make(corpus, shares=(0.9, 0.2, 0.1))
    with pytest.raises(UsageError, match="no regular expression"):
        make(corpus, name_pattern="(")
    with pytest.raises(UsageError, match="has a partner in"):
        make(corpus, name_pattern=r"(p\d/.*\.none)")
    with pytest.raises(UsageError, match="finds nothing in p0/take0"):
        make(corpus, group_pattern="speaker")
    with pytest.raises(UsageError, match="1 groups .p. cannot be divided"):
        make(corpus, group_pattern="p")
    with pytest.raises(UsageError, match="none of 6 pairs .*too short"):
        make(corpus, limits=PairLimits(min_seconds=2))
    assert not (corpus / "data").exists()


def test_the_command_prints_one_line(corpus, capsys):
    folders = [str(corpus / name) for name in ("clean", "noisy", "data")]
    assert main(["pairs", *folders[:2], "-o", folders[2]]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("6 pairs, 0.00 h: 2 train, 2 valid, 2 test; 0 refused, see")
    assert main(["pairs", *folders[:2], "-o", folders[2], "--min-rate", "7"]) == 2
    assert "--min-rate must be a whole number" in capsys.readouterr().err
