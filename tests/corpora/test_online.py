"""Pairs mixed on the fly: rules, repeatability, band limits."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hyperpyyaml import load_hyperpyyaml

from lafufu_sb.corpora import mixing
from lafufu_sb.corpora.degradations import Degradation, Noise, Room, SpeechFacts
from lafufu_sb.corpora.online import OnlineMixer, online_mixer
from lafufu_sb.corpora.spectra import bandwidth
from lafufu_sb.errors import UsageError

RATE = 48000


def write(path, signal):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, RATE, "FLOAT")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A band-limited speaker, two noises, a short and a long room."""
    folder = tmp_path_factory.mktemp("online")
    rng = np.random.default_rng(0)
    tones = sum(np.sin(2 * np.pi * f / RATE * np.arange(3 * RATE)) for f in (300, 7300))
    write(folder / "speech" / "a.wav", 0.1 * tones)
    for name in ("hiss", "roar"):
        write(folder / "noise" / f"{name}.wav", 0.1 * rng.standard_normal(2 * RATE))
    for name, seconds in (("short", 0.3), ("long", 3.0)):
        decay = 10 ** (-3 * np.arange(int(seconds * RATE)) / (seconds * RATE))
        rir = decay * rng.standard_normal(decay.size) * 0.2
        rir[0] = 1.0
        write(folder / "rooms" / f"{name}.wav", rir)
    return folder


def draw(mixer, folder, seed=0, samples=RATE):
    return mixer(folder / "speech" / "a.wav", samples, np.random.default_rng(seed))


def hiss(folder, **options):
    return Noise([folder / "noise" / "hiss.wav"], **options)


def short_room(folder):
    return Room([folder / "rooms" / "short.wav"])


def always_most(**changes):
    """A generator that draws the largest changes, at the first place."""
    return SimpleNamespace(
        random=lambda: 0.0,
        integers=lambda low, high=None: 0 if high is None else high - 1,
        choice=lambda count, p: 0,
        **({"uniform": lambda low, high: low} | changes),
    )


@pytest.mark.parametrize("task, sources", [("WHAM", "noise"), ("Reverb", "rooms")])
def test_a_seed_gives_a_pair_again_also_in_another_process(folder, task, sources):
    mixer = online_mixer(f"EARS-{task}", str(folder / sources))
    first = draw(mixer, folder, seed=5)
    again = draw(pickle.loads(pickle.dumps(mixer)), folder, seed=5)
    other = draw(mixer, folder, seed=6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert all(s.shape == (RATE,) and s.dtype == np.float32 for s in first)


def test_pickled_mixers_leave_decoded_recordings_behind(folder):
    mixer = online_mixer("EARS-WHAM", str(folder / "noise"))
    before = len(pickle.dumps(mixer))
    draw(mixer, folder)
    assert len(pickle.dumps(mixer)) == before


@pytest.mark.parametrize("make", [hiss, short_room])
def test_degradations_are_pure_and_keep_the_length(folder, make):
    degradation = make(folder)
    wav, _ = soundfile.read(folder / "speech" / "a.wav", dtype="float32")
    wav = wav[:RATE]
    before = wav.copy()
    results = [
        degradation(wav, RATE, np.random.default_rng(seed)) for seed in (1, 1, 2)
    ]
    assert np.array_equal(wav, before)
    assert np.array_equal(results[0], results[1])
    assert results[0].shape == wav.shape and not np.allclose(results[0], wav)
    silence = np.zeros(1000)
    assert not degradation(silence, RATE, np.random.default_rng(0)).any()


@pytest.mark.parametrize("snr_db", [-5.0, 10.0])
def test_one_noise_has_the_loudness_that_the_snr_says(folder, snr_db, monkeypatch):
    more = "lafufu_sb.corpora.degradations.noise.MORE_NOISE"
    monkeypatch.setattr(more, (1.0, 0.0, 0.0))
    clean, _ = soundfile.read(folder / "speech" / "a.wav")
    facts = SpeechFacts(mixing.loudness(clean, RATE), RATE / 2)
    noise = hiss(folder, snr_range=(snr_db, snr_db))
    rng = np.random.default_rng(0)
    added = noise.degrade_crop(clean, RATE, rng, lambda: facts) - clean
    difference = facts.loudness - mixing.loudness(added, RATE)
    assert difference == pytest.approx(snr_db, abs=0.1)


def test_a_pause_in_a_recording_is_as_noisy_as_its_speech(folder, tmp_path):
    half = np.where(
        np.arange(4 * RATE) < 2 * RATE, 0.1 * np.sin(np.arange(4 * RATE)), 0
    )
    path = write(tmp_path / "half.wav", half)
    mixer = OnlineMixer(hiss(folder, snr_range=(0.0, 0.0)), speed_share=0.0)
    pairs = [mixer(path, RATE, np.random.default_rng(seed)) for seed in range(12)]
    noise = [np.std(noisy - clean) for noisy, clean in pairs]
    pauses = [not clean.any() for _, clean in pairs]
    assert any(pauses) and not all(pauses)
    assert min(noise) > 0.5 * max(noise)


def test_noise_ends_where_the_speech_does(folder):
    noisy, clean = draw(OnlineMixer(hiss(folder, snr_range=(0, 0))), folder)
    assert bandwidth(clean, RATE) == pytest.approx(7500, abs=600)
    assert bandwidth(noisy - clean, RATE) <= bandwidth(clean, RATE) + 1000


def test_a_fast_voice_reaches_higher_and_its_noise_with_it(folder):
    mixer = OnlineMixer(hiss(folder), speed_percent=20)
    noisy, clean = mixer(folder / "speech" / "a.wav", RATE, always_most())
    assert bandwidth(clean, RATE) == pytest.approx(1.2 * 7500, abs=600)
    assert bandwidth(noisy - clean, RATE) == pytest.approx(1.2 * 7500, abs=1000)


def test_the_speed_of_noise_moves_its_pitch(tmp_path):
    hum = np.sin(2 * np.pi * 1000 / RATE * np.arange(RATE))
    noise = Noise([write(tmp_path / "hum.wav", hum)], noise_speed_percent=25)
    draws = [noise.draw(RATE, RATE, np.random.default_rng(seed)) for seed in range(20)]
    peaks = [np.abs(np.fft.rfft(drawn)).argmax() for drawn in draws]
    assert 750 <= min(peaks) < 850
    assert 1150 < max(peaks) <= 1250
    assert len(set(peaks)) > 10


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_turned_speech_is_the_one_asked_for(folder, share):
    noise = hiss(folder, snr_range=(200.0, 200.0))
    mixer = OnlineMixer(noise, speed_share=0.0, turn_share=share)
    original, _ = soundfile.read(folder / "speech" / "a.wav")
    noisy, clean = draw(mixer, folder, samples=3 * RATE)
    middle = slice(RATE, 2 * RATE)
    assert noisy == pytest.approx(clean, abs=1e-6)  # the input is turned as the target
    same = np.allclose(clean[middle], original[middle], atol=1e-3)
    assert same == (share == 0.0)
    assert clean[middle].std() == pytest.approx(original[middle].std(), rel=1e-3)


def test_rooms_above_the_limit_are_left_out(folder):
    rooms = [folder / "rooms" / f"{name}.wav" for name in ("short", "long")]
    sources, chances = OnlineMixer(Room(rooms)).degradation.rooms(RATE)
    assert [source.path.endswith("short.wav") for source in sources] == [True]
    assert chances.tolist() == [1.0]
    with pytest.raises(UsageError, match="no room of 1 has an RT60 of at most 2.0 s"):
        OnlineMixer(Room(rooms[1:]))


def test_reverberation_of_what_came_before_enters_the_crop(folder, tmp_path):
    click = np.zeros(2 * RATE)
    click[RATE // 2] = 0.9
    path = write(tmp_path / "click.wav", click)
    mixer = OnlineMixer(short_room(folder))
    for seed in range(20):  # until the crop begins shortly after the click
        reverberant, clean = mixer(path, RATE, np.random.default_rng(seed))
        if not clean.any() and reverberant.any():
            return
    pytest.fail("no crop held the tail of a click before it")


def test_a_short_recording_is_followed_by_silence(folder, tmp_path):
    path = write(tmp_path / "short.wav", 0.1 * np.ones(1000))
    mixer = OnlineMixer(short_room(folder))
    _, clean = mixer(path, 4000, np.random.default_rng(0))
    assert clean.shape == (4000,)
    assert not clean[1100:].any()


def test_the_speech_before_a_fast_crop_begins_with_the_recording(folder):
    # 100.51 samples round up, and are read at 1.05 times the speed.
    rng = always_most(uniform=lambda low, high: 100.51 / RATE)
    _, clean = OnlineMixer(short_room(folder))(folder / "speech" / "a.wav", RATE, rng)
    assert clean.any()


CLIPPING = """
from lafufu_sb.corpora.degradations import Degradation


class Clipping(Degradation):
    def __init__(self, limit):
        self.limit = limit

    def __call__(self, wav, sample_rate, rng):
        return wav.clip(-self.limit, self.limit)
"""


def test_a_class_in_a_file_of_the_users_own_works_from_yaml(
    folder, tmp_path, monkeypatch
):
    (tmp_path / "my_clipping.py").write_text(CLIPPING)
    monkeypatch.syspath_prepend(tmp_path)
    recipe = """
    clipping: !new:my_clipping.Clipping
        limit: 0.05
    mixer: !apply:lafufu_sb.corpora.online.online_mixer
        task: EARS-WHAM
        sources: null
        degradation: !ref <clipping>
    """
    mixer = load_hyperpyyaml(recipe)["mixer"]
    assert isinstance(mixer.degradation, Degradation)
    distorted, clean = draw(mixer, folder)
    assert np.array_equal(distorted, clean.clip(-0.05, 0.05))
    assert abs(clean).max() > 0.1


def test_without_sources_there_is_no_mixer():
    assert online_mixer("EARS-WHAM", None) is None


@pytest.mark.parametrize(
    "task, options, message",
    [
        ("dishes", {"sources": ["x"]}, "expected one of EARS-WHAM, EARS-Reverb"),
        ("EARS-WHAM", {"sources": ["x"], "snr": 3}, "no option snr; it takes .*snr_ra"),
        ("EARS-WHAM", {"sources": ["nowhere"]}, "nowhere does not exist"),
        ("EARS-WHAM", {"sources": "x", "degradation": 1}, "remove one of them"),
        ("EARS-WHAM", {"degradation": 1, "snr_range": [0, 1]}, "no option snr_range"),
    ],
)
def test_what_cannot_be_mixed_is_refused(task, options, message):
    with pytest.raises((UsageError, FileNotFoundError), match=message):
        online_mixer(task, **options)


def test_silent_recordings_are_named(folder, tmp_path):
    path = write(tmp_path / "mute.wav", np.zeros(RATE))
    with pytest.raises(UsageError, match="mute.wav is silent"):
        OnlineMixer(hiss(folder))(path, 1000, np.random.default_rng(0))
    noise = Noise([path])
    with pytest.raises(UsageError, match="mute.wav: remove silent files"):
        noise.draw(1000, RATE, np.random.default_rng(0))
