"""Measures that gradients pass through; most are tested within their loss."""

import pytest
import torch

from lafufu_sb.differentiable import RatingShortfall

RATE = 48000


@pytest.fixture(scope="module")
def shortfall():
    pytest.importorskip("onnx")
    pytest.importorskip("speechmos")
    return RatingShortfall(RATE)


def clean_and_noise():
    """A tone that comes and goes, and white noise, a second of each."""
    time = torch.arange(RATE) / RATE
    tone = 0.1 * torch.sin(2 * torch.pi * 220 * time) * (torch.sin(20 * time) > 0)
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    return tone[None], 0.01 * noise


def test_noise_costs_and_more_noise_more(shortfall):
    clean, noise = clean_and_noise()
    little, much = (float(shortfall(clean + g * noise, clean)) for g in (0.1, 1.0))
    assert 0 < little < much
    assert float(shortfall(clean, clean)) == 0


def test_nothing_is_gained_above_the_target(shortfall):
    clean, noise = clean_and_noise()
    better = clean.clone().requires_grad_()
    above = shortfall(better, clean + 100 * noise)
    assert above.tolist() == [0]
    (gradient,) = torch.autograd.grad(above.sum(), better)
    assert float(gradient.abs().max()) == 0


@pytest.mark.parametrize("gain", [0.01, 10.0])
def test_a_common_level_does_not_matter_and_a_difference_does(shortfall, gain):
    clean, noise = clean_and_noise()
    expected = float(shortfall(clean + noise, clean))
    common = float(shortfall(gain * (clean + noise), gain * clean))
    assert common == pytest.approx(expected, rel=1e-3)
    assert float(shortfall(0.1 * (clean + noise), clean)) != pytest.approx(
        expected, rel=0.05
    )
