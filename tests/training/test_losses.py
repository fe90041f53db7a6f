"""Losses of the autoencoder stage, and of decoded estimates."""

import math
import re
import sys

import pytest
import torch
from runs import RECIPE

from lafufu_sb.errors import MissingPackageError
from lafufu_sb.evaluation.metrics import evaluate
from lafufu_sb.lobes.representations import Reconstructions
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram
from lafufu_sb.training.differentiable import RatingShortfall, RecognitionDistance
from lafufu_sb.training.losses import (
    AutoencoderLoss,
    MultiResolutionSTFTLoss,
    PerceptualLoss,
    RegLoss,
    SpectrogramLoss,
)

WINDOWS = (32, 64, 128, 256, 512, 1024, 1534, 2048)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def mrstft():
    return MultiResolutionSTFTLoss()


def test_windows_are_those_of_the_paper_and_hops_a_quarter(mrstft):
    assert mrstft.windows == WINDOWS
    wavs = noise(1, 4096)
    for n in WINDOWS:
        frames = 1 + 4096 // (n // 4)
        assert mrstft.magnitude(wavs, n).shape == (1, n // 2 + 1, frames)
    assert mrstft.magnitude(noise(1, 383 * 10), 1534).shape[-1] == 11


def test_equal_waveforms_cost_nothing_and_polarity_neither(mrstft):
    wavs = noise(2, 4096)
    assert float(mrstft(wavs, wavs)) == 0
    assert float(mrstft(-wavs, wavs)) == 0
    assert float(mrstft(wavs + 0.1 * noise(2, 4096, seed=1), wavs)) > 0.1


@pytest.mark.parametrize("gain", [2.0, 0.5])
def test_wrong_level_has_a_known_cost(mrstft, gain):
    """Convergence is the relative error, log magnitude the logarithm of the gain."""
    wavs = 100 * noise(2, 4096)
    expected = abs(gain - 1) + abs(math.log(gain))
    assert float(mrstft(gain * wavs, wavs)) == pytest.approx(expected, rel=1e-4)


def test_loud_items_do_not_hide_quiet_ones(mrstft):
    target = noise(2, 4096) * torch.tensor([[10.0], [0.1]])
    estimate = target * torch.tensor([[1.0], [3.0]])
    alone = [mrstft(estimate[i : i + 1], target[i : i + 1]) for i in range(2)]
    assert float(alone[0]) == 0 and float(alone[1]) > 1
    together = float(mrstft(estimate, target))
    assert together == pytest.approx(float(alone[1]) / 2, rel=1e-4)


@pytest.mark.parametrize("estimate_level", [0.0, 1.0])
@pytest.mark.parametrize("target_level", [0.0, 1.0])
def test_silence_has_a_finite_loss_and_gradient(mrstft, estimate_level, target_level):
    estimate = (estimate_level * noise(1, 4096)).requires_grad_()
    loss = mrstft(estimate, target_level * noise(1, 4096))
    loss.backward()
    assert loss.isfinite() and estimate.grad.isfinite().all()


def test_gradient_leads_to_the_target(mrstft):
    target = noise(1, 4096)
    estimate = (0.5 * target).requires_grad_()
    before = mrstft(estimate, target)
    before.backward()
    step = 10 * estimate.grad / estimate.grad.norm()
    assert mrstft(estimate.detach() - step, target) < before.detach()


def test_losses_are_computed_in_float32(mrstft):
    wavs = noise(1, 4096)
    with torch.autocast("cpu", torch.bfloat16):
        inside = mrstft(wavs, 2 * wavs)
        reg = RegLoss()(wavs.bfloat16(), wavs.bfloat16())
    assert torch.equal(inside, mrstft(wavs, 2 * wavs))
    assert reg.dtype == torch.float32


@pytest.mark.parametrize(
    ("latent", "spectrogram", "expected"),
    [
        ([-1.0, 1.0], [-2.0, 2.0], 0.0),  # same mean, half the deviation
        ([3.0, 3.0], [-1.0, 1.0], 3 + 0.5 * math.sqrt(2)),
        ([-2.0, 2.0], [-2.0, 2.0], math.sqrt(2)),
        ([0.0, 2.0], [-3.0, 1.0], 2.0),
        ([-3.0, 1.0], [1.0, 5.0], 4 + 0.5 * 2 * math.sqrt(2)),
    ],
)
def test_reg_loss_values(latent, spectrogram, expected):
    loss = RegLoss()(torch.tensor(latent), torch.tensor(spectrogram))
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_reg_loss_takes_the_whole_batch_as_one():
    """Means of opposite sign in two items cancel."""
    latent = torch.tensor([[1.0, 3.0], [-1.0, -3.0]])
    assert float(RegLoss()(latent, 2 * latent)) == pytest.approx(0, abs=1e-6)


SPECTROGRAM = CompressedSpectrogram(n_fft=62, hop_length=16)
OFF = {
    "mrstft_weight": 0.0,
    "complex_weight": 0.0,
    "magnitude_weight": 0.0,
    "reg_weight": 0.0,
}


def step():
    """Inputs of the loss: reconstructions that are wrong in different ways."""
    distorted_wavs, clean_wavs = noise(2, 2048), noise(2, 2048, seed=1)
    distorted, clean = SPECTROGRAM(distorted_wavs), SPECTROGRAM(clean_wavs)
    latents = noise(2, 4, 8, 8, seed=2), noise(2, 4, 8, 8, seed=3)
    reconstructions = Reconstructions(1.5 * distorted, -clean, *latents)
    return reconstructions, distorted, clean, distorted_wavs, clean_wavs


def loss_of(**weights):
    return float(AutoencoderLoss(SPECTROGRAM, **OFF | weights)(*step()))


def test_all_weights_off_cost_nothing():
    assert loss_of() == 0


def test_complex_term_sees_phase_and_the_magnitude_term_does_not():
    _, distorted, clean, *_ = step()
    both = float(0.5 * distorted.abs().mean() + 2 * clean.abs().mean())
    assert loss_of(complex_weight=1.0) == pytest.approx(both, rel=1e-4)
    magnitude = 0.5 * distorted.square().sum(dim=1).sqrt().mean()
    assert loss_of(magnitude_weight=1.0) == pytest.approx(float(magnitude), rel=1e-4)


def test_distorted_weight_scales_only_that_reconstruction():
    _, _, clean, *_ = step()
    without = loss_of(complex_weight=1.0, distorted_weight=0.0)
    assert without == pytest.approx(float(2 * clean.abs().mean()), rel=1e-4)
    once = loss_of(complex_weight=1.0, distorted_weight=1.0)
    thrice = loss_of(complex_weight=1.0, distorted_weight=3.0)
    assert thrice - without == pytest.approx(3 * (once - without), rel=1e-4)


def test_mrstft_term_compares_waveforms():
    r, _, _, distorted_wavs, clean_wavs = step()
    mrstft = MultiResolutionSTFTLoss()
    resynthesised = SPECTROGRAM.inverse(r.distorted, 2048)
    expected = mrstft(resynthesised, distorted_wavs)  # the clean one: only polarity
    assert loss_of(mrstft_weight=1.0) == pytest.approx(float(expected), abs=1e-3)


def test_reg_term_sees_the_distorted_latent():
    r, distorted, *_ = step()
    expected = 0.1 * float(RegLoss()(r.distorted_latent, distorted))
    assert loss_of(reg_weight=0.1) == pytest.approx(expected, rel=1e-5)


def test_terms_add_up():
    weights = {name: 0.5 for name in OFF}
    parts = [loss_of(**{name: value}) for name, value in weights.items()]
    assert loss_of(**weights) == pytest.approx(sum(parts), rel=1e-5)


def test_without_mrstft_nothing_is_resynthesised(monkeypatch):
    def refuse(*args):
        raise AssertionError("resynthesised for nothing")

    loss = AutoencoderLoss(SPECTROGRAM, **OFF | {"complex_weight": 1.0})
    monkeypatch.setattr(SPECTROGRAM, "inverse", refuse)
    assert float(loss(*step())) > 0


def test_gradient_is_finite_where_the_estimate_is_silent():
    loss = AutoencoderLoss(SPECTROGRAM, complex_weight=1.0, magnitude_weight=1.0)
    wavs = noise(1, 2048)
    target = SPECTROGRAM(wavs)
    estimate = torch.zeros_like(target).requires_grad_()
    loss.reconstruction(estimate, target, wavs).backward()
    assert estimate.grad.isfinite().all() and estimate.grad.abs().max() > 0


def test_spectrogram_loss_is_a_sum_per_item_and_hears_faint_parts():
    target = torch.zeros(3, 2, 4, 5)
    target[:, 0] = 0.1
    estimate = 0.5 * target
    plain = SpectrogramLoss(complex_weight=0.0)(estimate, target)
    assert plain == pytest.approx(4 * 5 * 0.05)
    root = SpectrogramLoss(complex_weight=0.0, magnitude_exponent=0.5)
    loud = root(estimate, target)
    faint = root(0.01 * estimate, 0.01 * target)
    assert loud == pytest.approx(4 * 5 * (0.1**0.5 - 0.05**0.5), rel=1e-3)
    assert faint / loud > 0.02  # where the plain magnitudes' ratio is 0.01


def test_spectrogram_loss_has_finite_gradients_in_silence():
    estimate = torch.zeros(1, 2, 4, 4, requires_grad=True)
    SpectrogramLoss(magnitude_exponent=0.5)(
        estimate, torch.zeros(1, 2, 4, 4)
    ).backward()
    assert torch.isfinite(estimate.grad).all()


def speech(seed=0, samples=48000):
    """(1, samples): harmonics that come and go, for what measures speech."""
    time = torch.arange(samples) / 48000
    pitch = 2 * math.pi * (120 + 10 * seed) * time
    voice = sum(torch.sin(k * pitch) / k for k in range(1, 30))
    return (0.1 * voice * torch.sin(2 * math.pi * 2 * time).clamp(min=0))[None]


def perceptual(**weights):
    own = {"complex_weight": 0.0, "magnitude_weight": 0.0} | weights
    return PerceptualLoss(CompressedSpectrogram(), 48000, **own)


def test_perceptual_loss_without_its_terms_is_the_spectral_one():
    estimate, target = noise(2, 2, 768, 20), noise(2, 2, 768, 20, seed=1)
    weights = {"complex_weight": 0.3, "magnitude_weight": 1.0}
    expected = SpectrogramLoss(**weights)(estimate, target)
    assert torch.equal(perceptual(**weights)(estimate, target), expected)


def test_waveform_term_is_the_mean_difference_of_the_samples():
    """Of the samples of the crop, whatever PESQ and ESTOI pad it to."""
    loss = perceptual(waveform_weight=3.0)
    for samples in (48000, 9600):
        clean = speech(samples=samples)
        noisy = clean + 0.01 * noise(1, samples)
        pair = loss.spectrogram(noisy), loss.spectrogram(clean)
        length = loss.spectrogram.samples(pair[0].shape[-1])
        estimate, target = (loss.spectrogram.inverse(s, length) for s in pair)
        expected = 3 * float((estimate - target).abs().mean())
        assert float(loss(*pair)) == pytest.approx(expected, rel=1e-4)
        assert float(loss(pair[1], pair[1])) == 0


@pytest.mark.parametrize("ratio", [10.0, 0.0, -10.0])
@pytest.mark.parametrize("gain", [1.0, 0.25])
def test_si_sdr_term_is_the_metric_and_ignores_level(ratio, gain):
    loss = perceptual(si_sdr_weight=2.0)
    clean = speech()
    noisy = clean + 10 ** (-ratio / 20) * clean.std() * noise(1, 48000)
    pair = loss.spectrogram(gain * noisy), loss.spectrogram(clean)
    wavs = (loss.spectrogram.inverse(s, loss.spectrogram.samples(126)) for s in pair)
    wavs = [w[0] for w in wavs]
    expected = evaluate(*wavs, 48000, ["si_sdr"])["si_sdr"].value
    assert expected == pytest.approx(ratio, abs=0.5)  # by chance not orthogonal
    assert float(loss(*pair)) == pytest.approx(-2 * expected, abs=0.01)


def test_pesq_term_orders_what_pesq_orders_and_ignores_level():
    pytest.importorskip("torch_pesq")
    loss = perceptual(pesq_weight=1.0)
    clean = speech()
    target = loss.spectrogram(clean)

    def of(wavs):
        return float(loss(loss.spectrogram(wavs), target))

    slightly, badly = (clean + level * noise(1, 48000) for level in (0.001, 0.01))
    assert of(clean) == pytest.approx(0, abs=1e-3)
    assert 0.05 < of(slightly) < of(badly)
    assert of(0.3 * badly) == pytest.approx(of(badly), rel=1e-3)


def recipe_weights(recipe):
    """Weights of the decoded loss of a recipe."""
    text = (RECIPE / "hparams" / f"{recipe}.yaml").read_text()
    loss = text.partition("score_decoded_loss:")[2].partition("\nscore_latent")[0]
    found = re.findall(r"^    (\w+_(?:weight|exponent)): ([\d.]+)", loss, re.M)
    return {name: float(value) for name, value in found}


@pytest.mark.parametrize("recipe", ["lafufu_mini_wham", "lafufu_mini_reverb"])
def test_a_click_at_the_first_sample_does_not_pay(recipe):
    """It raises PESQ, which then hears the rest as quiet (de Oliveira et al. 2024)."""
    for package in ("torch_pesq", "torch_stoi", "onnx", "speechmos"):
        pytest.importorskip(package)
    weights = recipe_weights("lafufu_mini_wham") | recipe_weights(recipe)
    assert weights["pesq_weight"] > 0
    loss = perceptual(**weights)
    clean = speech()
    noisy = clean + 0.3 * clean.std() * noise(1, 48000)
    target, losses = loss.spectrogram(clean), []
    for height in (0.0, 0.1, 1.0, 10.0, 666.0):
        clicked = noisy.clone()
        clicked[:, 0] += height
        losses.append(float(loss(loss.spectrogram(clicked), target)))
    without, *clicks = losses
    assert min(clicks) > without - 1e-4 * abs(without)  # a small one costs little
    assert clicks[-1] > without + 1e-3 * abs(without)


def test_silent_items_do_not_count_and_gradients_are_finite(tiny_whisper):
    pytest.importorskip("torch_pesq")
    pytest.importorskip("torch_stoi")
    pytest.importorskip("onnx")
    pytest.importorskip("speechmos")
    names = "pesq_weight", "estoi_weight", "dnsmos_weight", "recognition_weight"
    measures = dict.fromkeys(names, 100.0) | {"si_sdr_weight": 10.0}
    loss = perceptual(complex_weight=1.0, recogniser=tiny_whisper, **measures)
    clean = torch.cat([speech(), speech(1)])
    clean[1] = 0
    clean[0, :9600] = 0  # digital silence within speech, as edited recordings have
    target = loss.spectrogram(clean)
    estimate = (target + 0.01 * noise(*target.shape)).requires_grad_()
    both = loss(estimate, target)
    (gradient,) = torch.autograd.grad(both, estimate)
    assert torch.isfinite(gradient).all()
    estimate = estimate.detach()
    alone = loss(estimate[:1], target[:1])
    spectral = SpectrogramLoss(1.0, 0.0)(estimate[1:], target[1:])
    assert both.item() == pytest.approx(float(alone + spectral) / 2, rel=1e-4)
    nothing = loss(estimate[1:], target[1:])
    assert float(nothing) == pytest.approx(float(spectral), rel=1e-6)


@pytest.mark.parametrize("weights", [{"pesq_weight": 1.0}, {"estoi_weight": 1.0}])
def test_measures_take_crops_that_are_shorter_than_their_pooling(weights):
    """Of so little speech there is a PESQ, and no ESTOI."""
    pytest.importorskip("torch_pesq")
    pytest.importorskip("torch_stoi")
    loss = perceptual(**weights)
    target = loss.spectrogram(speech(samples=384 * 7))
    estimate = (target + 0.01 * noise(*target.shape)).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(estimate, target), estimate)
    assert torch.isfinite(gradient).all()
    assert (gradient.abs().max() > 0) == ("pesq_weight" in weights)


@pytest.mark.parametrize("level", [0.001, 0.01, 0.1])
def test_estoi_term_is_the_metric(level):
    pytest.importorskip("torch_stoi")
    loss = perceptual(estoi_weight=10.0)
    pair = (loss.spectrogram(w) for w in (speech() + level * noise(1, 48000), speech()))
    estimate, target = pair
    wavs = (loss.spectrogram.inverse(s, 48000)[0] for s in (estimate, target))
    measured = evaluate(*wavs, 48000, ("estoi",))["estoi"].value
    # Resampled by another filter.
    assert float(loss(estimate, target)) == pytest.approx(-10 * measured, abs=0.3)


def test_dnsmos_term_is_the_mean_of_what_the_ratings_lack():
    pytest.importorskip("onnx")
    pytest.importorskip("speechmos")
    loss = perceptual(dnsmos_weight=10.0)
    pair = [loss.spectrogram(w) for w in (speech() + 0.05 * noise(1, 48000), speech())]
    samples = loss.spectrogram.samples(126)
    wavs = [loss.spectrogram.inverse(s, samples) for s in pair]
    # With the sample of padding that the loss adds: half precision tells it.
    lost = RatingShortfall(48000)(*(torch.nn.functional.pad(w, (0, 1)) for w in wavs))
    assert float(loss(*pair)) == pytest.approx(10 * float(lost), rel=1e-3) and lost > 0


def test_recognition_term_is_the_distance_of_what_is_resynthesised(tiny_whisper):
    loss = perceptual(recognition_weight=10.0, recogniser=tiny_whisper)
    pair = [loss.spectrogram(w) for w in (speech() + 0.05 * noise(1, 48000), speech())]
    samples = loss.spectrogram.samples(126)
    wavs = [loss.spectrogram.inverse(s, samples) for s in pair]
    distance = RecognitionDistance(48000, tiny_whisper)
    lost = float(distance(*(torch.nn.functional.pad(w, (0, 1)) for w in wavs)))
    assert float(loss(*pair)) == pytest.approx(10 * lost, rel=1e-3) and lost > 0


@pytest.mark.parametrize(
    ("package", "option"),
    [
        ("torch_pesq", "pesq_weight"),
        ("torch_stoi", "estoi_weight"),
        ("speechmos", "dnsmos_weight"),
        ("onnx", "dnsmos_weight"),
        ("transformers", "recognition_weight"),
    ],
)
def test_a_missing_package_is_named_with_the_remedy(monkeypatch, package, option):
    monkeypatch.setitem(sys.modules, package, None)
    needs = rf"{option} needs {package} .*pip install \"lafufu_sb\[train\]\""
    with pytest.raises(MissingPackageError, match=needs):
        perceptual(**{option: 1.0})
    perceptual(si_sdr_weight=1.0)
