"""Pairs mixed on the fly: rules, repeatability, band limits."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from lafufu_sb.corpora import mixing
from lafufu_sb.corpora.online import NoiseMixer, RoomMixer, online_mixer
from lafufu_sb.corpora.spectra import bandwidth

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


@pytest.mark.parametrize("task, sources", [("WHAM", "noise"), ("Reverb", "rooms")])
def test_a_seed_gives_a_pair_again_also_in_another_process(folder, task, sources):
    mixer = online_mixer(f"EARS-{task}", str(folder / sources))
    first = draw(mixer, folder, seed=5)
    again = draw(pickle.loads(pickle.dumps(mixer)), folder, seed=5)
    other = draw(mixer, folder, seed=6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert all(s.shape == (RATE,) and s.dtype == np.float32 for s in first)


@pytest.mark.parametrize("snr_db", [-5.0, 10.0])
def test_one_noise_has_the_loudness_that_the_snr_says(folder, snr_db, monkeypatch):
    monkeypatch.setattr("lafufu_sb.corpora.online.MORE_NOISE", (1.0, 0.0, 0.0))
    mixer = NoiseMixer(
        [folder / "noise" / "hiss.wav"], snr_range=(snr_db, snr_db), speed_share=0.0
    )
    mixer._facts = lambda path: (mixing.loudness(clean, RATE), RATE / 2)
    clean, _ = soundfile.read(folder / "speech" / "a.wav")
    noisy, crop = draw(mixer, folder)
    difference = mixing.loudness(clean, RATE) - mixing.loudness(noisy - crop, RATE)
    assert difference == pytest.approx(snr_db, abs=0.1)


def test_noise_ends_where_the_speech_does(folder):
    mixer = NoiseMixer([folder / "noise" / "hiss.wav"], snr_range=(0, 0))
    noisy, clean = draw(mixer, folder)
    assert bandwidth(clean, RATE) == pytest.approx(7500, abs=600)
    assert bandwidth(noisy - clean, RATE) <= bandwidth(clean, RATE) + 1000


def test_a_fast_voice_reaches_higher_and_its_noise_with_it(folder):
    rng = SimpleNamespace(
        random=lambda: 0.0,
        integers=lambda low, high=None: 0 if high is None else high - 1,
        uniform=lambda low, high: low,
        choice=lambda count, p: 0,
    )
    mixer = NoiseMixer([folder / "noise" / "hiss.wav"], speed_percent=20)
    noisy, clean = mixer(folder / "speech" / "a.wav", RATE, rng)
    assert bandwidth(clean, RATE) == pytest.approx(1.2 * 7500, abs=600)
    assert bandwidth(noisy - clean, RATE) == pytest.approx(1.2 * 7500, abs=1000)


def test_the_speed_of_noise_moves_its_pitch(folder, tmp_path):
    path = write(
        tmp_path / "hum.wav", np.sin(2 * np.pi * 1000 / RATE * np.arange(RATE))
    )
    mixer = NoiseMixer([path], noise_speed_percent=25)
    peaks = [
        np.abs(np.fft.rfft(mixer._noise(RATE, np.random.default_rng(seed)))).argmax()
        for seed in range(20)
    ]
    assert 750 <= min(peaks) < 850
    assert 1150 < max(peaks) <= 1250
    assert len(set(peaks)) > 10


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_turned_speech_is_the_one_asked_for(folder, share):
    options = {"snr_range": (200.0, 200.0), "speed_share": 0.0, "turn_share": share}
    mixer = NoiseMixer([folder / "noise" / "hiss.wav"], **options)
    original, _ = soundfile.read(folder / "speech" / "a.wav")
    noisy, clean = draw(mixer, folder, samples=3 * RATE)
    middle = slice(RATE, 2 * RATE)
    assert noisy == pytest.approx(clean, abs=1e-6)  # the input is turned as the target
    same = np.allclose(clean[middle], original[middle], atol=1e-3)
    assert same == (share == 0.0)
    assert clean[middle].std() == pytest.approx(original[middle].std(), rel=1e-3)


def test_rooms_above_the_limit_are_left_out(folder):
    mixer = RoomMixer([folder / "rooms" / f"{n}.wav" for n in ("short", "long")])
    assert [source.path.endswith("short.wav") for source in mixer.sources] == [True]
    with pytest.raises(ValueError, match="no room has an RT60"):
        RoomMixer([folder / "rooms" / "long.wav"])


def test_reverberation_of_what_came_before_enters_the_crop(folder, tmp_path):
    click = np.zeros(2 * RATE)
    click[RATE // 2] = 0.9
    path = write(tmp_path / "click.wav", click)
    mixer = RoomMixer([folder / "rooms" / "short.wav"])
    for seed in range(20):  # until the crop begins shortly after the click
        reverberant, clean = mixer(path, RATE, np.random.default_rng(seed))
        if not clean.any() and reverberant.any():
            return
    pytest.fail("no crop held the tail of a click before it")


def test_a_short_recording_is_followed_by_silence(folder, tmp_path):
    path = write(tmp_path / "short.wav", 0.1 * np.ones(1000))
    mixer = RoomMixer([folder / "rooms" / "short.wav"])
    _, clean = mixer(path, 4000, np.random.default_rng(0))
    assert clean.shape == (4000,)
    assert not clean[1100:].any()


def test_the_speech_before_a_fast_crop_begins_with_the_recording(folder):
    # 100.51 samples round up, and are read at 1.05 times the speed.
    rng = SimpleNamespace(
        random=lambda: 0.0,
        integers=lambda low, high=None: 0 if high is None else high - 1,
        uniform=lambda low, high: 100.51 / RATE,
        choice=lambda count, p: 0,
    )
    mixer = RoomMixer([folder / "rooms" / "short.wav"])
    _, clean = mixer(folder / "speech" / "a.wav", RATE, rng)
    assert clean.any()


def test_without_sources_there_is_no_mixer_and_other_tasks_are_refused():
    assert online_mixer("EARS-WHAM", None) is None
    with pytest.raises(ValueError, match="expected one of EARS-WHAM, EARS-Reverb"):
        online_mixer("dishes", ["x"])
