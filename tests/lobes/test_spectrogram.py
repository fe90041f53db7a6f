"""Waveform to compressed spectrogram and back."""

import pytest
import torch
from speechbrain.processing.features import STFT

from lafufu_sb.lobes.spectrogram import CompressedSpectrogram


@pytest.fixture(scope="module")
def spectrogram():
    return CompressedSpectrogram()


def noise(*shape, seed=0):
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("samples", [768, 1535, 5003, 97920])
def test_inverse_undoes_forward(spectrogram, samples):
    wavs = noise(2, samples)
    back = spectrogram.inverse(spectrogram(wavs), samples)
    assert back.shape == wavs.shape
    torch.testing.assert_close(back, wavs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("gain", [1e-9, 1e-6, 1e-3, 10.0])
def test_inverse_undoes_forward_at_any_level(spectrogram, gain):
    """Also below the level where compression ends."""
    wavs = noise(1, 4000)
    back = spectrogram.inverse(spectrogram(gain * wavs), 4000) / gain
    torch.testing.assert_close(back, wavs, atol=1e-5, rtol=0)


def test_training_crop_gives_768_bins_and_256_frames(spectrogram):
    assert spectrogram(noise(1, 97920)).shape == (1, 2, 768, 256)
    assert spectrogram.bins == 768
    assert spectrogram.samples(256) == 97920


@pytest.mark.parametrize("samples", [800, 1151, 1152, 1153])
def test_frames_counts_what_forward_gives(spectrogram, samples):
    assert spectrogram(noise(1, samples)).shape[-1] == spectrogram.frames(samples)


def test_samples_is_the_fewest_that_give_the_frames(spectrogram):
    fewest = spectrogram.samples(7)
    assert spectrogram.frames(fewest) == 7
    assert spectrogram.frames(fewest - 1) == 6


def test_equals_the_published_transform(spectrogram):
    wavs = noise(2, 6000)
    c = torch.stft(wavs, 1534, 384, window=torch.hann_window(1534), return_complex=True)
    expected = 0.065 * c.abs() ** 0.667 * torch.exp(1j * c.angle())
    actual = spectrogram(wavs)
    torch.testing.assert_close(actual[:, 0], expected.real, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(actual[:, 1], expected.imag, atol=1e-5, rtol=1e-4)


def test_without_compression_equals_the_stft_of_speechbrain():
    wavs = noise(2, 6000)
    stft = STFT(
        sample_rate=48000,
        win_length=1534 / 48,  # milliseconds
        hop_length=384 / 48,
        n_fft=1534,
        window_fn=torch.hann_window,
        pad_mode="reflect",
    )
    plain = CompressedSpectrogram(factor=1.0, exponent=1.0)
    expected = stft(wavs).permute(0, 3, 2, 1)  # from (batch, frames, bins, 2)
    torch.testing.assert_close(plain(wavs), expected, atol=1e-5, rtol=1e-4)


def test_level_is_compressed_by_the_exponent(spectrogram):
    wavs = noise(1, 4000)
    expected = 8**0.667 * spectrogram(wavs)
    torch.testing.assert_close(spectrogram(8 * wavs), expected, atol=1e-6, rtol=1e-4)


def test_silence_stays_silence(spectrogram):
    silent = spectrogram(torch.zeros(1, 4000))
    assert silent.abs().max() == 0
    assert spectrogram.inverse(silent, 4000).abs().max() == 0


def test_gradient_at_silence_is_finite(spectrogram):
    wavs = torch.zeros(1, 2000, requires_grad=True)
    (spectrogram(wavs) - 1).abs().sum().backward()
    assert wavs.grad.isfinite().all() and wavs.grad.abs().max() > 0

    spectra = torch.zeros(1, 2, 768, 6, requires_grad=True)
    (spectrogram.inverse(spectra, 1920) - 1).abs().sum().backward()
    assert spectra.grad.isfinite().all() and spectra.grad.abs().max() > 0


def test_autocast_changes_nothing(spectrogram):
    wavs = noise(1, 4000)
    with torch.autocast("cpu", torch.bfloat16):
        spectra = spectrogram(wavs)
        back = spectrogram.inverse(spectra, 4000)
    assert torch.equal(spectra, spectrogram(wavs))
    assert torch.equal(back, spectrogram.inverse(spectra, 4000))


def test_half_precision_input_is_computed_in_float32(spectrogram):
    wavs, spectra = noise(1, 4000).bfloat16(), noise(1, 2, 768, 11).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        forward, back = spectrogram(wavs), spectrogram.inverse(spectra, 4000)
    assert forward.dtype == back.dtype == torch.float32
    assert torch.equal(forward, spectrogram(wavs.float()))
    assert torch.equal(back, spectrogram.inverse(spectra.float(), 4000))


def test_window_follows_the_module_but_is_not_saved():
    spectrogram = CompressedSpectrogram().to(torch.float64)
    wavs = noise(1, 4000).double()
    back = spectrogram.inverse(spectrogram(wavs), 4000)
    torch.testing.assert_close(back, wavs, atol=1e-12, rtol=0)
    assert spectrogram.to("meta").window.device.type == "meta"
    assert not spectrogram.state_dict()


def test_refuses_what_is_too_short_to_reflect(spectrogram):
    with pytest.raises(RuntimeError, match="[Pp]adding"):
        spectrogram(noise(1, 767))
