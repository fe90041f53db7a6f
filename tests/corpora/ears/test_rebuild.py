"""A corpus from published csv files, bit by bit."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from mock_sources import ask, contents, pair_of, read_rows

from lafufu_sb.corpora.ears import benchmark, generate, plan
from lafufu_sb.corpora.ears.replay import Replay
from lafufu_sb.corpora.tasks import SUBSETS
from lafufu_sb.errors import UsageError

CSV = Path(__file__).parent / "benchmark_csv"
AUDIO = "WHAM48kHz/high_res_wham/audio"


@pytest.mark.parametrize(
    "task, version",
    [("EARS-WHAM", "v1"), ("EARS-WHAM", "v2"), ("EARS-Reverb", "v2")],
)
def test_its_own_csv_gives_the_same_bytes(corpus, sources, tmp_path, task, version):
    original = corpus(task, version)
    request = ask(sources, tmp_path, task, version, rebuild_from_csv=str(original))
    generate.generate_corpus(request)
    assert contents(request.folder) == contents(original)


def test_noises_listed_in_another_order_are_found(sources, tmp_path):
    published = CSV / "EARS-WHAM_unsorted"
    request = ask(sources, tmp_path, rebuild_from_csv=str(published))
    generate.generate_corpus(request)
    for subset in SUBSETS:
        name = f"{subset}.csv"
        assert (request.folder / name).read_text() == (published / name).read_text()
    # the excerpt is from where the csv says, and of one channel only
    for row in read_rows(published / "valid.csv"):
        noisy, clean = pair_of(request.folder, "valid", row)
        bounds = int(row["noise_start"]), int(row["noise_end"])
        path = sources / AUDIO / f"{row['noise_file']}.wav"
        noise, _ = soundfile.read(path, always_2d=True)
        noise = noise[slice(*bounds)]
        likeness = [
            np.corrcoef(noisy - clean, noise[:, channel])[0, 1]
            for channel in range(noise.shape[1])
        ]
        assert sorted(likeness)[-1] == pytest.approx(1.0, abs=1e-6)
        assert all(abs(value) < 0.1 for value in sorted(likeness)[:-1])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("subset", ["train", "test"])
def test_replay_finds_every_channel(seed, subset):
    """Many short noises: they are refused often, and draws fit in several ways."""
    rng = np.random.default_rng(seed)
    noises = [
        plan.Noise(f"{number}.wav", int(frames), int(channels))
        for number, (frames, channels) in enumerate(
            zip(rng.integers(20, 90, 40) * 10007, rng.integers(1, 3, 40), strict=True)
        )
    ]
    recordings, number = [], 0
    for length in rng.integers(0, 4, 30) if subset == "test" else [1] * 100:
        some = []
        for _ in range(length):
            number += 1
            speech = benchmark.Speech(
                f"p/{number}.wav", int(rng.integers(4, 50)) * 9973
            )
            some.append(benchmark.Stretch(speech, None, ()))
        recordings.append(some)
    stretches = [stretch for some in recordings for stretch in some]
    generator = np.random.RandomState(42)
    if subset == "test":
        draws = plan.draw_test_noises(recordings, noises, generator)
    else:
        draws = plan.draw_noises(stretches, noises, generator)
    by_name = {noise.path[:-4]: noise for noise in reversed(noises)}
    replay = Replay(by_name, np.random.RandomState(42))
    rest = iter(draws)
    for some in recordings:
        current = None
        if subset == "test":
            replay.begin_recording()
        for stretch in some:
            draw = next(rest)
            raised = draw.snr_db + 2.0 * (stretch.frames % 2)  # as against clipping
            row = {
                "noise_file": draw.path[:-4],
                "noise_start": str(draw.start + 100),
                "speech_start": "100",
                "snr_dB": f"{raised:.1f}",
            }
            first = subset == "test" and current is None
            assert replay.follow(row, stretch.frames, benchmark.SNR_DB, first, current)
            current = by_name[row["noise_file"]] if subset == "test" else None
    assert replay.draws() == draws


def test_a_csv_that_fits_nothing_is_refused(corpus, sources, tmp_path):
    original = corpus("EARS-WHAM", "v1")
    published = tmp_path / "published"
    published.mkdir()

    def rebuild(task="EARS-WHAM", **options):
        request = ask(
            sources, tmp_path / "out", task, rebuild_from_csv=str(published), **options
        )
        return generate.generate_corpus(request)

    with pytest.raises(UsageError, match="none of train.csv"):
        rebuild()
    text = (original / "train.csv").read_text()
    (published / "train.csv").write_text(text.replace("347449", "347450"))
    with pytest.raises(UsageError, match="which of 2 channels of .*a_bar.wav 00004"):
        rebuild()
    (published / "train.csv").unlink()
    text = (original / "valid.csv").read_text()
    (published / "valid.csv").write_text(text.replace("p100", "p200"))
    with pytest.raises(UsageError, match="names 1 files.*p200/emo_fear_sentences.wav"):
        rebuild()
    (published / "valid.csv").write_text(text.replace("0,-1", "0,480000"))
    with pytest.raises(UsageError, match="no piece"):
        rebuild()
    with pytest.raises(UsageError, match="not a csv of EARS-Reverb.*rir_file"):
        rebuild("EARS-Reverb")
    rooms = (corpus("EARS-Reverb", "v1") / "valid.csv").read_text()
    (published / "valid.csv").write_text(rooms.replace(".wav", ".gone"))
    with pytest.raises(UsageError, match=r"names \d files that are not in.*\.gone"):
        rebuild("EARS-Reverb")


def test_ace_rooms_are_found_under_their_other_name(corpus, sources, tmp_path):
    original = corpus("EARS-Reverb", "v2")
    text = (original / "test.csv").read_text().replace("ACE_Corpus_RIRN_", "")
    (tmp_path / "test.csv").write_text(text)
    request = ask(
        sources,
        tmp_path,
        "EARS-Reverb",
        "v2",
        subsets=("test",),
        rebuild_from_csv=str(tmp_path / "test.csv"),
    )
    generate.generate_corpus(request)
    assert contents(request.folder / "test") == contents(original / "test")
