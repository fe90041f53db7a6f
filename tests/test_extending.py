"""The examples of docs/extending.md: each is run, and is what the page shows."""

import importlib
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from lafufu_sb.diffusion import registry
from lafufu_sb.diffusion.objectives import DataPrediction
from lafufu_sb.diffusion.processes import SchroedingerBridge
from lafufu_sb.diffusion.samplers import get_sampler
from lafufu_sb.lobes.representations import SpectrogramRepresentation
from lafufu_sb.lobes.score_network import ScoreNetwork
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram
from lafufu_sb.restoration.restorer import Restorer
from lafufu_sb.training.recipe import load_recipe

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extending.md"
EXAMPLES = ROOT / "docs" / "examples"
RECIPES = ROOT / "recipes" / "EARS" / "enhance" / "LAFUFU" / "hparams"

BLOCK = re.compile(r"\[`(\S+)`\]\(examples/(\S+)\):\n\n```\w+\n(.*?)```\n", re.DOTALL)


@pytest.fixture(scope="module")
def examples():
    """Import an example as train.py does, from a folder on the path."""
    tables = registry.PROCESSES, registry.OBJECTIVES, registry.SAMPLERS
    registered, imported = [dict(table) for table in tables], set(sys.modules)
    sys.path.insert(0, str(EXAMPLES))
    yield importlib.import_module
    sys.path.remove(str(EXAMPLES))
    for name in set(sys.modules) - imported:
        if (EXAMPLES / f"{name}.py").exists():
            del sys.modules[name]
    for table, before in zip(tables, registered, strict=True):
        table.clear()
        table.update(before)


class Unchanged(ScoreNetwork):
    """With ``DataPrediction``: the estimate is ``mean``."""

    def forward(self, x_t, condition, t):
        return torch.zeros_like(x_t)


def restorer(**changes):
    """A small restorer that returns its input; 8 frames are a window."""
    spectrogram = CompressedSpectrogram(n_fft=62, hop_length=16)
    parts = {
        "representation": SpectrogramRepresentation(spectrogram),
        "score_model": Unchanged(),
        "process": SchroedingerBridge(),
        "objective": DataPrediction(),
        "sampler": "bridge_ode",
        "window_frames": 8,
        "overlap_frames": 4,
    }
    return Restorer(**parts | changes)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed))


def tone_in_noise(samples):
    """A tone that is on in every other 1000 samples, and noise that is always on."""
    time = torch.arange(samples)
    tone = torch.sin(0.3 * time) * (time // 1000 % 2)
    return tone + 0.5 * noise(samples), tone


def page_blocks():
    """Files that the page shows, by name."""
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert all(name == target for name, target, _ in blocks)
    return {name: text for name, _, text in blocks}


def test_the_page_shows_the_files():
    files = {path.name: path.read_text() for path in EXAMPLES.glob("*.*")}
    shown = page_blocks()
    assert sorted(shown) == sorted(files)
    for name, text in files.items():
        assert shown[name] == text, f"docs/extending.md shows an old {name}"


def test_the_page_names_each_command():
    text = PAGE.read_text(encoding="utf-8")
    for recipe in EXAMPLES.glob("*.yaml"):
        assert f"train.py hparams/{recipe.name}" in text


@pytest.fixture(scope="module")
def hparams_folder(tmp_path_factory):
    """The recipe's YAMLs and those of the examples, side by side."""
    folder = tmp_path_factory.mktemp("hparams")
    for path in (*RECIPES.glob("*.yaml"), *EXAMPLES.glob("*.yaml")):
        shutil.copy(path, folder)
    return folder


OWN_CLASSES = {  # recipe: the key, and the class that it holds
    "absolute_error_wham": ("objective", "AbsoluteError"),
    "brownian_bridge_wham": ("process", "BrownianBridge"),
    "film_network_wham": ("score_model", "FiLMNetwork"),
    "mdct_wham": ("representation", "MDCT"),
    "recording_subtraction_wham": ("pre_enhancer", "RecordingSubtraction"),
    "telephone_wham": ("mixer", "Telephone"),
    "window_subtraction_wham": ("pre_enhancer", "WindowSubtraction"),
}


def test_each_recipe_is_tested():
    assert sorted(OWN_CLASSES) == sorted(p.stem for p in EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("recipe", OWN_CLASSES)
def test_recipes_build_parts_that_train_and_restore(
    recipe, hparams_folder, examples, tmp_path
):
    overrides = {"output_folder": str(tmp_path)}
    if recipe != "absolute_error_wham":  # the base's loss needs optional packages
        overrides["score_decoded_loss"] = None
    hparams, _ = load_recipe(hparams_folder / f"{recipe}.yaml", overrides)
    key, name = OWN_CLASSES[recipe]
    own = hparams["mixer"].degradation if key == "mixer" else hparams[key]
    assert type(own).__name__ == name
    restorer = hparams["restorer"].with_settings(window=0.25, precision="fp32")
    if key != "mixer":
        assert getattr(restorer, key) is own
    with torch.no_grad():
        assert training_loss(restorer, hparams["score_decoded_loss"]) > 0
    wavs = 0.3 * noise(1, 10_000)
    restored = restorer.restore(wavs)
    assert restored.shape == wavs.shape and restored.isfinite().all()


def training_loss(restorer, decoded_loss):
    """Loss of one item in the recipe's own objective, as ``ScoreBrain`` takes it."""
    representation = restorer.representation
    samples = representation.samples(32)
    encoded = {}
    for i, name in enumerate(("distorted", "enhanced")):
        features = representation.features(0.3 * noise(1, samples, seed=i))
        encoded[name] = representation.encode(features)
    mean, condition, (source,) = restorer.conditioning.roles(encoded)
    clean = representation.features(0.3 * noise(1, samples, seed=2))
    loss = restorer.objective(
        lambda x_t, t: restorer.score_model(x_t, condition, t),
        restorer.process,
        representation.encode(clean).latent,
        mean,
        generator(),
    )
    total = loss.per_item.mean()
    if decoded_loss is not None:
        decoded = representation.decode(loss.estimate, source.skips, source.size)
        total = total + decoded_loss(decoded, clean)
    return total.item()


# 1. A process and its sampler


@pytest.fixture(scope="module")
def bridge(examples):
    return examples("brownian_bridge").BrownianBridge(sigma=0.8)


def test_states_of_the_walk_are_distributed_as_in_training(bridge):
    """For data that is one point, which an exact estimate knows."""
    x0, y = torch.full((1, 1, 1, 20_000), -1.0), torch.full((1, 1, 1, 20_000), 2.0)
    states = []

    def estimate(x, t):
        states.append((x, t))
        return x0

    sampler = get_sampler("brownian_walk", bridge, estimates="data", num_steps=5)
    assert torch.equal(sampler(estimate, y, generator=generator()), x0)
    assert len(states) == sampler.calls == 5
    assert torch.equal(states[0][0], y)
    for x, t in states[1:]:
        std = (bridge.noise_variance**0.5 * bridge.std(t)).item()
        assert x.mean().item() == pytest.approx(3 * t.item() - 1, abs=0.02)
        assert x.std().item() == pytest.approx(std, rel=0.03)


def test_the_walk_gives_samples_of_the_data(bridge):
    """Of normal data, whose expectation given a state is known."""
    mean, std, y = 1.0, 0.5, torch.full((1, 1, 1, 20_000), 2.0)
    noise_power = bridge.noise_variance * bridge.sigma**2

    def estimate(x, t):
        share = std**2 / (std**2 * (1 - t) + noise_power * t)
        return mean + share * (x - (1 - t) * mean - t * y)

    sampler = get_sampler("brownian_walk", bridge, num_steps=100, spacing="log_sigma")
    result = sampler(estimate, y, generator=generator())
    assert result.mean().item() == pytest.approx(mean, abs=0.02)
    assert result.std().item() == pytest.approx(std, rel=0.05)


def test_a_restorer_walks_the_bridge(bridge):
    wavs = 0.3 * noise(2, 300)
    model = restorer(process=bridge, sampler="brownian_walk")
    assert model.sampler.calls == 4
    assert torch.allclose(model.restore(wavs), wavs, atol=1e-4)


# 2. A loss


def minimise(loss, parameters, steps=30, lr=0.05):
    """First and last value of a loss."""
    optimizer, values = torch.optim.Adam(parameters, lr), []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values[0], values[-1]


def test_the_objective_is_a_sum_of_absolute_errors(examples):
    objective = examples("absolute_error").AbsoluteError()
    x0, mean = noise(3, 2, 4, 4), noise(3, 2, 4, 4, seed=1)
    loss = objective(lambda x_t, t: 0 * x_t, SchroedingerBridge(), x0, mean)
    assert torch.allclose(loss.per_item, (mean - x0).abs().sum(dim=(1, 2, 3)))


def test_the_objective_learns_the_median(examples):
    objective, process = (
        examples("absolute_error").AbsoluteError(),
        SchroedingerBridge(),
    )
    x0, mean = torch.full((8, 1, 4, 4), 0.7), torch.zeros(8, 1, 4, 4)
    x0[0] = 100.0  # an outlier, which a mean would follow
    offset = torch.nn.Parameter(torch.zeros(()))

    def loss():
        batch = objective(
            lambda x_t, t: offset.expand_as(x_t), process, x0, mean, generator()
        )
        return batch.per_item.mean()

    minimise(loss, [offset], steps=60)
    assert offset.item() == pytest.approx(0.7, abs=0.1)


def test_the_decoded_loss_compares_magnitudes(examples):
    loss = examples("absolute_error").MagnitudeError()
    target = noise(2, 2, 6, 5)
    turned = torch.stack([-target[:, 1], target[:, 0]], dim=1)
    assert loss(turned, target).item() == pytest.approx(0.0, abs=1e-4)
    estimate = torch.nn.Parameter(torch.zeros_like(target))
    with torch.no_grad():
        estimate += 0.01 * noise(2, 2, 6, 5, seed=1)
    first, last = minimise(lambda: loss(estimate, target), [estimate])
    assert last < 0.3 * first


# 3. A network


def test_the_network_learns_and_is_told_the_time(examples):
    torch.manual_seed(0)
    network = examples("film_network").FiLMNetwork(data_channels=2, width=8, blocks=2)
    x_t, condition = noise(4, 2, 8, 8), noise(4, 2, 8, 8, seed=1)
    t = torch.tensor([0.1, 0.3, 0.6, 1.0])
    assert not network(x_t, condition, t).any()  # starts at "leave it unchanged"
    target = 0.5 * condition * t[:, None, None, None]

    def loss():
        return (network(x_t, condition, t) - target).square().mean()

    first, last = minimise(loss, network.parameters(), lr=0.02)
    assert last < 0.3 * first
    assert not torch.allclose(
        network(x_t, condition, t), network(x_t, condition, 1 - t)
    )


@pytest.mark.parametrize("names, precision", [(0, "fp32"), (1, "bf16")])
def test_the_network_restores(examples, names, precision):
    network = examples("film_network").FiLMNetwork(2, 2 * names, width=8, blocks=2)
    torch.nn.init.normal_(network.head.weight, std=0.1, generator=generator())
    wavs = 0.3 * noise(2, 300)
    model = restorer(
        score_model=network, condition=["distorted"] * names, precision=precision
    )
    restored = model.restore(wavs)
    assert restored.shape == wavs.shape and restored.isfinite().all()
    assert not torch.allclose(restored, wavs, atol=1e-3)


# 4. A representation


@pytest.mark.parametrize("samples", [1, 16, 255, 256, 1000])
def test_the_transform_is_orthonormal(examples, samples):
    mdct = examples("mdct").MDCT(bands=16)
    wavs = noise(2, samples)
    features = mdct.features(wavs)
    assert features.shape[:3] == (2, 1, 16)
    assert torch.allclose(features.square().sum(), wavs.square().sum(), rtol=1e-4)
    latent, skips, size = mdct.encode(features)
    back = mdct.waveforms(mdct.decode(latent, skips, size), samples)
    assert torch.allclose(back, wavs, atol=1e-5)


def test_windows_of_the_transform_have_the_frames_that_they_should(examples):
    mdct = examples("mdct").MDCT(bands=16)
    for frames in (2, 8):
        assert mdct.features(noise(1, mdct.samples(frames))).shape[-1] == frames


def test_a_restorer_works_in_the_transform(examples):
    mdct = examples("mdct").MDCT(bands=16)
    mdct.set_latent_std(measured=0.2, wanted=1.0)
    wavs = 0.3 * noise(2, 333)
    options = {"sampler": "bridge_sde", "precision": "bf16"}
    model = restorer(representation=mdct, **options)
    assert torch.allclose(model.restore(wavs), wavs, atol=1e-5)


# 5. Pre-enhancers


@pytest.mark.parametrize("name", ["WindowSubtraction", "RecordingSubtraction"])
def test_subtraction_lowers_the_noise(examples, name):
    options = {"n_fft": 64} if name == "RecordingSubtraction" else {}
    enhancer = getattr(examples("spectral_subtraction"), name)(**options)
    wav, clean = tone_in_noise(8000)
    model = restorer(
        pre_enhancer=enhancer,
        condition=["distorted", "enhanced"],
        mean="enhanced",
        window_frames=256,
        overlap_frames=64,
    )
    restored = model.restore(wav[None])[0]
    error, before = (restored - clean).square().sum(), (wav - clean).square().sum()
    assert error < 0.7 * before
    assert torch.allclose(restored, model.pre_enhance(wav[None])[0], atol=1e-4)


@pytest.mark.parametrize("samples", [1, 100, 5000])
def test_whole_signals_keep_their_length(examples, samples):
    enhancer = examples("spectral_subtraction").RecordingSubtraction()
    enhanced = enhancer.enhance(noise(samples), 48000)
    assert enhanced.shape == (samples,) and enhanced.isfinite().all()


def test_nothing_subtracted_is_nothing_changed(examples):
    enhancer = examples("spectral_subtraction").RecordingSubtraction(excess=0.0)
    wav = noise(5000)
    assert torch.allclose(enhancer.enhance(wav, 48000), wav, atol=1e-4)


# 6. A degradation


def speech_like(samples=48000):
    """Noise below 2 kHz whose level rises and falls."""
    wav = np.random.default_rng(1).standard_normal(samples)
    wav = np.convolve(wav, np.hanning(24), "same")
    return 0.1 * wav * (1.1 + np.sin(np.arange(samples) / 3000))


def test_the_degradation_keeps_length_alignment_and_its_input(examples):
    telephone = examples("telephone").Telephone()
    wav = speech_like()
    before = wav.copy()
    degraded = telephone(wav, 48000, np.random.default_rng(0))
    assert degraded.shape == wav.shape and np.array_equal(wav, before)
    lags = np.arange(-20, 21)
    match = [np.dot(np.roll(degraded, -lag), wav) for lag in lags]
    assert lags[np.argmax(match)] == 0
    assert not np.allclose(degraded, wav, atol=0.01)
    spectrum = np.abs(np.fft.rfft(degraded)) ** 2  # one bin a hertz
    assert spectrum[5000:].sum() < 0.01 * spectrum.sum()


def test_the_degradation_is_drawn_from_its_generator_alone(examples):
    telephone = examples("telephone").Telephone()
    first, again, other = (
        telephone(speech_like(), 48000, np.random.default_rng(s)) for s in (0, 0, 1)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert not telephone(np.zeros(4800), 48000, np.random.default_rng(0)).any()


def test_the_degradation_writes_test_pairs(examples, tmp_path):
    clean, distorted = tmp_path / "clean" / "p001", tmp_path / "noisy"
    clean.mkdir(parents=True)
    soundfile.write(clean / "00001.wav", speech_like(4800), 48000)
    examples("telephone").convert_folder(tmp_path / "clean", distorted)
    wav, sample_rate = soundfile.read(distorted / "p001" / "00001.wav")
    assert sample_rate == 48000 and wav.shape == (4800,) and wav.any()
