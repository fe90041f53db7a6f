"""What is done to spectra of training pairs, against tones and noise."""

import numpy as np
import pytest

from lafufu_sb.corpora.spectra import bandwidth, low_pass, recolour, turn_phase

RATE = 48000


@pytest.fixture
def noise():
    return np.random.default_rng(0).standard_normal(RATE)


def test_a_low_pass_ends_a_signal_within_its_edge(noise):
    low = low_pass(noise, 6000.0, RATE)
    gains = np.abs(np.fft.rfft(low)) / np.abs(np.fft.rfft(noise))
    assert gains[:6000] == pytest.approx(1.0)
    assert gains[6250] == pytest.approx(0.5, abs=0.01)
    assert gains[6501:].max() < 1e-6
    assert bandwidth(low, RATE) == pytest.approx(6500, abs=500)
    assert low_pass(noise, 23600.0, RATE) is noise  # no room for the edge


def test_silence_has_no_bandwidth():
    assert bandwidth(np.zeros(RATE), RATE) == 0.0


def test_a_new_colour_stays_within_its_decibels(noise):
    coloured = recolour(noise, 6.0, np.random.default_rng(1), RATE)
    gains = np.abs(np.fft.rfft(coloured)) / np.abs(np.fft.rfft(noise))
    gains_db = 20 * np.log10(gains)
    assert np.abs(gains_db).max() <= 6.0 + 1e-6
    assert np.ptp(gains_db) > 3.0
    assert recolour(noise, 0.0, None, RATE) is noise


def test_a_turned_phase_is_a_delay_of_each_tone_by_its_own_period():
    time = np.arange(RATE) / RATE
    tones = [np.cos(2 * np.pi * 300 * time), np.cos(2 * np.pi * 7300 * time)]
    turned = turn_phase(sum(tones), np.pi / 3)
    expected = sum(np.cos(2 * np.pi * f * time + np.pi / 3) for f in (300, 7300))
    inner = slice(RATE // 4, -RATE // 4)  # the ends are steps, which the turn smears
    assert turned[inner] == pytest.approx(expected[inner], abs=0.02)
    assert turn_phase(tones[0], np.pi) == pytest.approx(-tones[0])
