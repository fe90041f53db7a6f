"""Measures that gradients pass through; most are tested within their loss."""

import pytest
import torch

from lafufu_sb.training.differentiable import RatingShortfall, RecognitionDistance

RATE = 48000


@pytest.fixture(scope="module")
def shortfall():
    pytest.importorskip("onnx")
    pytest.importorskip("speechmos")
    return RatingShortfall(RATE)


@pytest.fixture(scope="module")
def recognition(tiny_whisper):
    return RecognitionDistance(RATE, tiny_whisper)


def clean_and_noise():
    """A tone that comes and goes, and white noise, a second of each."""
    time = torch.arange(RATE) / RATE
    tone = 0.1 * torch.sin(2 * torch.pi * 220 * time) * (torch.sin(20 * time) > 0)
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    return tone[None], 0.01 * noise


@pytest.mark.parametrize("name", ["shortfall", "recognition"])
def test_noise_costs_and_more_noise_more(name, request):
    measure = request.getfixturevalue(name)
    clean, noise = clean_and_noise()
    little, much = (float(measure(clean + g * noise, clean)) for g in (0.1, 1.0))
    assert 0 < little < much
    assert float(measure(clean, clean)) == 0


def test_nothing_is_gained_above_the_target(shortfall):
    clean, noise = clean_and_noise()
    better = clean.clone().requires_grad_()
    above = shortfall(better, clean + 100 * noise)
    assert above.tolist() == [0]
    (gradient,) = torch.autograd.grad(above.sum(), better)
    assert float(gradient.abs().max()) == 0


@pytest.mark.parametrize("name", ["shortfall", "recognition"])
@pytest.mark.parametrize("gain", [0.01, 10.0])
def test_a_common_level_does_not_matter_and_a_difference_does(name, gain, request):
    measure = request.getfixturevalue(name)
    clean, noise = clean_and_noise()
    expected = float(measure(clean + noise, clean))
    common = float(measure(gain * (clean + noise), gain * clean))
    assert common == pytest.approx(expected, rel=1e-3)
    assert float(measure(0.1 * (clean + noise), clean)) != pytest.approx(
        expected, rel=0.05
    )


def test_recognition_of_an_item_does_not_depend_on_its_batch(recognition):
    clean, noise = clean_and_noise()
    targets = torch.cat([clean, 10 * noise])
    estimates = targets + 0.3 * noise
    together = recognition(estimates, targets)
    alone = torch.cat([recognition(estimates[i:][:1], targets[i:][:1]) for i in (0, 1)])
    torch.testing.assert_close(together, alone, rtol=1e-2, atol=0)


def test_recognition_is_that_of_the_encoder_given_all_of_its_length(tiny_whisper):
    """Shorter sounds take the first positions: with all of them nothing is left out."""
    from transformers import WhisperModel

    own = RecognitionDistance(16000, tiny_whisper)
    wavs = torch.randn(1, 4 * 16000, generator=torch.Generator().manual_seed(1))
    mel = own.whisper.log_mel_spectrogram(wavs)
    encoder = WhisperModel.from_pretrained(tiny_whisper).encoder.eval()
    with torch.no_grad():
        expected = encoder(mel).last_hidden_state
        short = own.encoded(wavs[:, :16000])
        whole = own.encoded(wavs)
    assert short.shape == (1, 50, 16) and whole.shape == (1, 200, 16)
    torch.testing.assert_close(whole, expected, atol=0.05, rtol=0.05)


def test_recognition_teaches_the_waveform_and_not_the_recogniser(recognition):
    clean, noise = clean_and_noise()
    estimate = (clean + noise).requires_grad_()
    recognition(estimate, clean).sum().backward()
    assert torch.isfinite(estimate.grad).all() and estimate.grad.abs().max() > 0
    assert all(p.grad is None for p in recognition.parameters())
