"""Weighted prediction error removes late reverberation and nothing else."""

import numpy as np
import pytest
import torch

from lafufu_sb.errors import UsageError
from lafufu_sb.lobes.wpe import WPE

RATE = 16000


def speech_like(seconds, seed=0):
    """Noise in bursts of a fifth of a second with pauses between."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(round(seconds * RATE), generator=generator)
    time = torch.arange(len(noise)) / RATE
    return 0.1 * noise * ((2.5 * time) % 1 < 0.5)


def room(rt60, seed=1):
    """A direct path and an exponential decay from 32 ms on."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(rt60 * RATE)) / RATE
    late = torch.randn(len(time), generator=generator) * 10 ** (-3 * time / rt60)
    late[time < 0.032] = 0
    rir = 0.05 * late
    rir[0] = 1.0
    return rir


def convolve(signal, rir):
    size = 2 * max(len(signal), len(rir))
    product = torch.fft.rfft(signal, size) * torch.fft.rfft(rir, size)
    return torch.fft.irfft(product, size)[: len(signal)]


def ratio_db(dry, wet):
    """Energy of the dry signal over that of the difference."""
    return float(10 * torch.log10(dry.square().sum() / (wet - dry).square().sum()))


def test_late_reverberation_becomes_weaker():
    dry = speech_like(9.0)
    wet = convolve(dry, room(0.4))
    enhanced = WPE(RATE).enhance(wet, RATE)
    assert enhanced.shape == wet.shape
    assert ratio_db(dry, enhanced) > ratio_db(dry, wet) + 1


def test_dry_speech_stays():
    dry = speech_like(9.0)
    assert ratio_db(dry, WPE(RATE).enhance(dry, RATE)) > 15


def test_what_follows_a_recording_does_not_change_it():
    # Padding to a block is digital silence, which must not be taken for a room
    # without reverberation.
    wet = convolve(speech_like(6.0), room(0.4))
    padded = torch.nn.functional.pad(wet, (0, 4 * RATE))
    enhancer = WPE(RATE)
    assert torch.equal(
        enhancer.dereverberate(padded)[: len(wet)], enhancer.dereverberate(wet)
    )


@pytest.mark.parametrize("sizes", [[1], [160, 7], [48000], [1_000_000]])
def test_a_stream_gives_the_result_of_the_whole(sizes):
    enhancer = WPE(RATE, taps=4, iterations=1, block_seconds=2.0)
    wet = convolve(speech_like(2.5 if sizes == [1] else 7.3), room(0.3))
    whole = enhancer.enhance(wet, RATE)
    stream = enhancer.open(RATE)
    given = torch.nn.functional.pad(wet, (0, enhancer.delay))
    parts, place, turn = [], 0, 0
    while place < len(given):
        block = given[place : place + sizes[turn % len(sizes)]]
        parts.append(stream(block))
        place, turn = place + len(block), turn + 1
    assert torch.equal(torch.cat(parts)[enhancer.delay :], whole)


def test_blocks_join_without_a_seam():
    # Where nothing is removed, the blocks must add up to the input.
    enhancer = WPE(RATE, taps=1, delay_frames=100, block_seconds=2.0)
    noise = torch.randn(10 * RATE, generator=torch.Generator().manual_seed(0))
    assert ratio_db(noise, enhancer.enhance(noise, RATE)) > 20
    enhancer.dereverberate = lambda block: block
    torch.testing.assert_close(enhancer.enhance(noise, RATE), noise)


def test_the_level_does_not_matter():
    wet = convolve(speech_like(4.0), room(0.4))
    enhancer = WPE(RATE)
    quiet = enhancer.enhance(wet / 1024, RATE)  # exact in binary
    assert ratio_db(enhancer.enhance(wet, RATE), 1024 * quiet) > 60


def test_silence_and_constants_stay_finite():
    enhancer = WPE(RATE)
    assert not enhancer.enhance(torch.zeros(5000), RATE).any()
    assert torch.isfinite(enhancer.enhance(torch.ones(5000), RATE)).all()
    click = torch.zeros(RATE)
    click[500] = 1.0
    assert torch.isfinite(enhancer.enhance(click, RATE)).all()


def test_it_predicts_as_the_formula_says():
    # One bin, one tap, one iteration: g = sum(p x* / |x|^2) / sum(|p|^2 / |x|^2).
    rng = np.random.default_rng(0)
    x = rng.standard_normal(50) + 1j * rng.standard_normal(50)
    past = np.concatenate([np.zeros(2), x[:-2]])
    weights = 1 / np.abs(x) ** 2
    gain = (past * x.conj() * weights).sum() / (np.abs(past) ** 2 * weights).sum()
    expected = x - gain.conj() * past
    found = WPE(RATE, iterations=1)._filtered(
        torch.from_numpy(x[None].astype(np.complex64)), taps=1
    )
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-3, atol=1e-4)


def test_wrong_use_is_refused():
    with pytest.raises(UsageError, match="WPE works at 16000 Hz, the model at 48000"):
        WPE(RATE).enhance(torch.zeros(100), 48000)
    with pytest.raises(UsageError, match="taps"):
        WPE(taps=0)
