"""Measures without a reference: known values, any blocks, and what is not defined."""

import numpy as np
import pyloudnorm
import pytest
import torch

from lafufu_sb.cleaning.measures import MEASURES, measure_all
from lafufu_sb.cleaning.sound import MemorySound
from lafufu_sb.corpora.spectra import bandwidth, low_pass

RATE = 16000


def noise(seconds=4.0, level=0.05, channels=1, seed=0):
    shape = channels, round(seconds * RATE)
    return level * np.random.default_rng(seed).standard_normal(shape)


def value(name, wavs, rate=RATE, stretches=None, block=None):
    wavs = torch.from_numpy(np.atleast_2d(wavs))
    blocks = wavs.split(block or wavs.shape[1], dim=1)
    return measure_all(MemorySound(wavs, rate), blocks, [name], stretches)[name]


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("block", [1000, 7777])
def test_blocks_of_any_length_give_the_same(name, block):
    wavs = np.clip(noise(channels=2), -0.11, 0.11)
    wavs[1] *= 3
    stretches = [[(1.0, 2.0)], [(0.5, 1.0), (2.0, 3.0)]]
    whole = value(name, wavs, stretches=stretches)
    assert np.isfinite(whole) and whole > -100
    assert value(name, wavs, stretches=stretches, block=block) == pytest.approx(whole)


@pytest.mark.parametrize("name", MEASURES)
def test_silence_and_single_samples_have_no_error(name):
    for length in (1, 4 * RATE):
        found = value(name, np.zeros((2, length)), stretches=[[], []])
        assert np.isnan(found) or found == 0.0


@pytest.mark.parametrize("snr", [0.0, 10.0, 20.0, 30.0])
def test_snr_of_bursts_in_noise(snr):
    level = 10.0 ** (-snr / 20.0)
    loud = np.zeros((1, 4 * RATE))
    loud[:, RATE : 2 * RATE] = 0.1 * np.sin(0.5 * np.arange(RATE))
    hiss = noise(level=0.1 * 0.5**0.5 * level)
    found = value("snr", loud + hiss, stretches=[[(1.0, 2.0)]])
    assert found == pytest.approx(snr, abs=0.5)


def test_snr_without_pauses_takes_the_quietest_frames():
    wavs = noise(level=0.1)
    wavs[:, : RATE // 2] *= 0.1
    found = value("snr", wavs, stretches=[[(0.0, 4.0)]])
    assert found == pytest.approx(20.0, abs=1.5)


def test_snr_ignores_rumble_and_channels_without_speech():
    wavs = np.concatenate([noise(seed=1), noise(seed=2)])
    wavs[0, RATE : 2 * RATE] *= 10
    stretches = [[(1.0, 2.0)], []]
    plain = value("snr", wavs, stretches=stretches)
    rumble = 0.3 + 0.5 * np.sin(2 * np.pi * 20 / RATE * np.arange(4 * RATE))
    assert value("snr", wavs + rumble, stretches=stretches) == pytest.approx(
        plain, abs=0.3
    )
    assert plain == pytest.approx(20.0, abs=0.5)


@pytest.mark.parametrize("cutoff", [2000.0, 4000.0, 6000.0])
def test_bandwidth_finds_a_low_pass(cutoff):
    wav = low_pass(noise()[0], cutoff, RATE)  # its edge is 500 Hz wide
    assert value("bandwidth", wav) == pytest.approx(cutoff + 500, abs=500)
    assert value("bandwidth", wav) == pytest.approx(bandwidth(wav, RATE), abs=500)


def test_bandwidth_of_the_widest_channel_not_of_quantisation():
    narrow = low_pass(noise(level=0.001)[0], 2000.0, RATE)
    coarse = np.round(narrow * 2**15) / 2**15
    assert value("bandwidth", coarse) == pytest.approx(2500, abs=500)
    assert value("bandwidth", np.stack([coarse, noise()[0]])) == RATE / 2


@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_clipping_counts_flat_tops(gain):
    wav = np.sin(2 * np.pi * 100 / RATE * np.arange(RATE))
    clipped = gain * np.clip(wav, -0.5, 0.8)
    share = np.mean((wav >= 0.8) | (wav <= -0.5))
    assert value("clipping", clipped) == pytest.approx(share)
    assert value("clipping", gain * wav) == 0.0
    assert value("clipping", clipped, block=3) == pytest.approx(share)


def test_a_constant_is_clipped_and_a_single_peak_is_not():
    assert value("clipping", np.full((1, 1000), 0.5), block=10) == 1.0
    peak = noise(seconds=1)
    peak[0, 500] = 1.0
    assert value("clipping", peak) == 0.0
    assert value("clipping", np.full((1, 1000), 0.05)) == 0.0  # below -20 dBFS


@pytest.mark.parametrize("rate, channels", [(16000, 1), (44100, 2), (48000, 5)])
def test_loudness_is_that_of_pyloudnorm(rate, channels):
    rng = np.random.default_rng(3)
    wavs = 0.1 * rng.standard_normal((channels, 5 * rate))
    wavs[:, : 2 * rate] *= 0.01
    expected = pyloudnorm.Meter(rate).integrated_loudness(wavs.T)
    found = value("loudness", wavs, rate=rate, block=1234)
    assert found == pytest.approx(expected, abs=0.02)


def test_speech_is_the_mean_share_of_the_channels():
    stretches = [[(0.0, 1.0), (2.0, 3.0)], []]
    assert value("speech", noise(channels=2), stretches=stretches) == 0.25
