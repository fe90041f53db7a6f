"""DNSMOS as a network that gradients pass through."""

import numpy as np
import pytest
import torch

from lafufu_sb.lobes.dnsmos import DNSMOSNetwork, published_folder

SAMPLES = 144160  # the 9.01 s that the published network is fixed to


def sounds():
    """Four: noise, faint noise, a tone that comes and goes, and silence."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(SAMPLES, generator=generator)
    time = torch.arange(SAMPLES) / 16000
    tone = torch.sin(2 * torch.pi * 220 * time) * (torch.sin(6 * time) > 0)
    return torch.stack([0.1 * noise, 1e-3 * noise, 0.2 * tone, 0 * noise])


@pytest.fixture(scope="module")
def network():
    pytest.importorskip("onnx")
    pytest.importorskip("speechmos")
    return DNSMOSNetwork().requires_grad_(False)


def test_rates_as_the_published_network_does(network):
    onnxruntime = pytest.importorskip("onnxruntime")
    published = str(published_folder() / "sig_bak_ovr.onnx")
    session = onnxruntime.InferenceSession(published)
    (expected,) = session.run(None, {"input_1": sounds().numpy()})
    assert np.ptp(expected, axis=0).min() > 0.5  # the sounds are told apart
    np.testing.assert_allclose(network(sounds()), expected, atol=1e-4)


def test_gradients_are_finite_in_silence_too_and_lead_upwards(network):
    wavs = sounds()[:, :32000].requires_grad_()
    ratings = network(wavs)
    (gradient,) = torch.autograd.grad(ratings.sum(), wavs)
    assert torch.isfinite(gradient).all()
    noise, step = wavs[:1].detach(), gradient[:1]
    better = network(noise + 1e-3 * step / step.norm())
    assert better.sum() > ratings[:1].sum()


def test_items_of_a_batch_do_not_touch(network):
    wavs = sounds()[:, :16000]
    alone = torch.cat([network(wav[None]) for wav in wavs])
    torch.testing.assert_close(network(wavs), alone, atol=1e-5, rtol=0)


def test_half_precision_rates_nearly_the_same(network):
    half = DNSMOSNetwork(torch.bfloat16).requires_grad_(False)
    ratings, exact = half(sounds()), network(sounds())
    assert ratings.dtype == torch.float32 and not torch.equal(ratings, exact)
    torch.testing.assert_close(ratings, exact, atol=0.05, rtol=0)
