"""Resampling: block by block it is what it is for the whole signal."""

import pytest
import torch

from lafufu_sb.audio.resampling import resample, resample_blocks

RATES = [
    (8000, 48000),
    (44100, 48000),
    (48000, 44100),
    (192000, 48000),
    (48000, 8000),
    (11025, 48000),
    (44101, 48000),  # no common factor but one
    (48000, 47999),
]


def noise(samples):
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
@pytest.mark.parametrize("block", [777, 65536])
def test_blocks_are_those_of_the_whole(from_rate, to_rate, block):
    wavs = noise(int(2.3 * from_rate) + 1)
    whole = resample(wavs, from_rate, to_rate)
    blocks = list(resample_blocks(wavs.split(block, dim=1), from_rate, to_rate))
    assert whole.shape[1] == -(-wavs.shape[1] * to_rate // from_rate)
    torch.testing.assert_close(torch.cat(blocks, dim=1), whole, atol=1e-6, rtol=0)


def test_blocks_come_while_the_signal_does():
    arrived = []

    def blocks():
        for i in range(50):
            arrived.append(i)
            yield noise(10_000)

    longest = 0
    for block in resample_blocks(blocks(), 44100, 48000):
        longest = max(longest, block.shape[1])
        assert len(arrived) <= 2 or block.shape[1] > 0
    assert longest < 25_000


@pytest.mark.parametrize("samples", [1, 2, 147, 148])
def test_short_signals_are_resampled_too(samples):
    wavs = noise(samples)
    (block,) = resample_blocks([wavs], 44100, 48000)
    assert torch.equal(block, resample(wavs, 44100, 48000))


def test_equal_rates_leave_blocks_alone():
    wavs = noise(10)
    assert next(resample_blocks([wavs], 48000, 48000)) is wavs


@pytest.mark.parametrize(("from_rate", "to_rate"), [(44100, 48000), (44101, 48000)])
def test_resampling_keeps_a_tone(from_rate, to_rate):
    tone, wanted = (
        torch.sin(2 * torch.pi * 1000 * torch.arange(rate) / rate)
        for rate in (from_rate, to_rate)
    )
    out = resample(tone, from_rate, to_rate)
    assert out.shape == wanted.shape
    assert (out - wanted)[1000:-1000].abs().max() < 2e-3
