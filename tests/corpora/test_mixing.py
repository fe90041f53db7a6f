"""Mixing rules of EARS-WHAM and EARS-Reverb."""

import numpy as np
import pytest

from lafufu_sb.corpora import mixing
from lafufu_sb.corpora.reverberation import reverberate, rt60
from lafufu_sb.errors import UsageError

RATE = 48000


@pytest.fixture
def speech():
    return 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)


@pytest.fixture
def noise():
    return 0.3 * np.random.default_rng(1).standard_normal(2 * RATE)


@pytest.mark.parametrize("snr_db", [-2.5, 0.0, 7.3, 17.5])
def test_snr_is_the_difference_of_loudness(speech, noise, snr_db):
    mixture, used = mixing.mix_at_snr(speech, noise, snr_db, RATE)
    added = mixture - speech
    measured = mixing.loudness(speech, RATE) - mixing.loudness(added, RATE)
    assert used == snr_db
    assert measured == pytest.approx(snr_db, abs=0.1)
    assert np.corrcoef(added, noise)[0, 1] == pytest.approx(1.0)


def test_clipping_raises_the_snr_by_whole_decibels(speech, noise):
    speech = 0.9 * speech / np.abs(speech).max()
    mixture, used = mixing.mix_at_snr(speech, noise, -2.5, RATE)
    assert np.abs(mixture).max() < 1.0
    assert used > -2.5 and (used + 2.5) % 1.0 == 0.0
    gain = 10.0 ** (1.0 / 20.0)  # one decibel less would have clipped
    assert np.abs(speech + gain * (mixture - speech)).max() >= 1.0


def test_speech_at_full_scale_is_refused_not_looped(speech, noise):
    with pytest.raises(UsageError, match="attenuate") as caught:
        mixing.mix_at_snr(speech / np.abs(speech).max(), noise, 0.0, RATE)
    # drawing again would not help, so it must not look like a silent excerpt
    assert not isinstance(caught.value, mixing.SilentExcerptError)


@pytest.mark.parametrize("level", [0.0, 1e-6])
def test_silent_excerpts_are_refused(speech, level):
    quiet = level * np.ones_like(speech) * np.sign(speech)
    with pytest.raises(mixing.SilentExcerptError, match="draw another"):
        mixing.mix_at_snr(speech, quiet, 0.0, RATE)
    with pytest.raises(mixing.SilentExcerptError, match="draw another"):
        mixing.mix_at_snr(quiet, speech, 0.0, RATE)
    with pytest.raises(mixing.SilentExcerptError, match="is all zero"):
        rt60(np.zeros(100), RATE)


def test_wrong_shapes_are_named(speech):
    with pytest.raises(UsageError, match="noise 5"):
        mixing.mix_at_snr(speech, np.ones(5), 0.0, RATE)
    with pytest.raises(UsageError, match=r"\(2, 100\)"):
        mixing.loudness(np.ones((2, 100)), RATE)


def test_loudness_of_a_short_signal_is_that_of_its_repetition():
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    short = mixing.loudness(tone[: RATE // 10], RATE)
    assert short == pytest.approx(mixing.loudness(tone, RATE), abs=0.1)


@pytest.mark.parametrize("seconds", [0.2, 0.6, 1.5])
def test_rt60_of_an_exponential_decay(seconds):
    time = np.arange(2 * RATE) / RATE
    tail = np.random.default_rng(2).standard_normal(time.size)
    rir = np.concatenate(
        [np.zeros(500), [10.0], tail * 10.0 ** (-3.0 * time / seconds)]
    )
    assert rt60(rir, RATE) == pytest.approx(seconds, abs=0.05)


def test_rt60_of_a_lone_impulse_is_zero():
    assert rt60(np.eye(1, 1000, 100)[0], RATE) == 0.0


def test_reverberant_speech_is_aligned_and_as_loud(speech):
    rir = np.zeros(RATE // 2)
    rir[960] = -0.5  # the direct path comes late and inverted
    rir[2000:] = 0.01 * np.random.default_rng(3).standard_normal(rir.size - 2000)
    rir[100] = 0.1  # before the direct path: cut away
    reverberant = reverberate(speech, rir, RATE)
    assert reverberant.shape == speech.shape
    loudness = mixing.loudness(reverberant, RATE)
    assert loudness == pytest.approx(mixing.loudness(speech, RATE), abs=0.1)
    lags = [
        abs(np.dot(reverberant[lag:], speech[: speech.size - lag]))
        for lag in range(1200)
    ]
    assert np.argmax(lags) == 0


def test_reverberant_speech_above_full_scale_is_divided(speech):
    click = np.zeros(RATE)
    click[::4800] = 0.99
    rir = np.concatenate([[1.0], np.zeros(4799), [-0.999]])
    # every second click nearly cancels, so matching loudness makes the first exceed 1
    reverberant = reverberate(click, rir, RATE)
    assert np.abs(reverberant).max() == pytest.approx(1.0)


def test_ramp_reaches_zero_and_keeps_the_middle():
    signal = np.ones(2000)
    faded = mixing.ramp(signal)
    assert faded[0] == faded[-1] == 0.0
    assert faded[479] == faded[-480] == 1.0
    assert (faded[480:-480] == 1.0).all() and (signal == 1.0).all()
    with pytest.raises(UsageError, match="fewer"):
        mixing.ramp(np.ones(100))
