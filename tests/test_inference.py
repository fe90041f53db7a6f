"""EnhanceLatent: what SpeechBrain's users expect, and what they suffered from."""

import copy
import shutil

import numpy as np
import pytest
import soundfile
import torch

from lafufu_sb import EnhanceLatent
from lafufu_sb.dataio import read_wav
from lafufu_sb.mini_corpus import mini_corpus_folder
from lafufu_sb.models import TASK_MODELS, shipped_model


@pytest.fixture(scope="module")
def model(tiny_model):
    return EnhanceLatent.from_hparams(source=tiny_model, run_opts={"device": "cpu"})


@pytest.fixture(scope="module")
def noisy():
    folder = mini_corpus_folder("EARS-WHAM") / "test" / "noisy"
    return [read_wav(path, 48000) for path in sorted(folder.rglob("*.wav"))]


def test_batch_has_the_shape_of_its_input_and_is_reproducible(model, noisy):
    batch = noisy[0][None, :60000]
    first, again = model.enhance_batch(batch), model(batch)
    assert first.shape == batch.shape
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)


def test_seed_changes_a_stochastic_sampler_only(model, noisy):
    batch = noisy[0][None, :30000]
    restorer = model.restorer
    name, options = restorer.sampler_name, restorer.sampler_options
    restorer.set_sampler("bridge_sde", num_steps=2)
    one, other = (model.enhance_batch(batch, seed=seed) for seed in (0, 1))
    restorer.set_sampler(name, **options)
    assert not torch.equal(one, other)
    one, other = (model.enhance_batch(batch, seed=seed) for seed in (0, 1))
    assert torch.equal(one, other)


def test_preset_is_chosen_by_name_and_switched(tiny_model, noisy):
    batch = noisy[0][None, :30000]
    model = EnhanceLatent.from_hparams(source=tiny_model, preset="balanced")
    assert model.restorer.describe_sampling() == "preset balanced, 4 calls"
    balanced = model.enhance_batch(batch)
    model.set_preset("fast")
    assert not torch.equal(model.enhance_batch(batch), balanced)
    model.set_preset("balanced", num_steps=2)
    assert model.restorer.sampler.calls == 2


@pytest.mark.parametrize(
    ("asked", "sampling"),
    [
        ({"preset": "balanced", "num_steps": 3}, "bridge_ode, 3 calls"),
        ({"preset": "balanced", "sampler": "bridge_sde"}, "bridge_sde, 8 calls"),
        ({"num_steps": 2}, "bridge_ode, 2 calls"),
    ],
)
def test_sampler_and_steps_override_the_preset(tiny_model, asked, sampling):
    model = EnhanceLatent.from_hparams(source=tiny_model, **asked)
    assert model.restorer.describe_sampling() == sampling


@pytest.mark.parametrize("task", TASK_MODELS)
def test_shipped_models_have_presets_and_begin_with_the_fast_one(task):
    restorer = EnhanceLatent.from_hparams(source=shipped_model(task)).restorer
    assert set(restorer.presets) == {"fast", "balanced", "paper"}
    assert restorer.preset == "fast" and restorer.sampler.calls == 1


def test_unknown_preset_is_refused(tiny_model):
    with pytest.raises(ValueError, match="no preset 'best': .* fast, balanced, paper"):
        EnhanceLatent.from_hparams(source=tiny_model, preset="best")


def test_an_item_alone_and_in_a_batch_of_four_is_the_same(model, noisy):
    batch = torch.zeros(4, 90000)
    lengths = torch.tensor([1.0, 0.5, 0.8, 0.01])
    for item, relative in enumerate(lengths):
        samples = round(90000 * float(relative))
        batch[item, :samples] = noisy[0][1000 * item :][:samples]
    together = model.enhance_batch(batch, lengths)
    for item, relative in enumerate(lengths):
        samples = round(90000 * float(relative))
        alone = model.enhance_batch(batch[item : item + 1, :samples])
        assert torch.allclose(together[item, :samples], alone[0], atol=1e-5)
        assert not together[item, samples:].any()


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_file_is_restored_and_written(model, noisy, tmp_path, kind):
    soundfile.write(tmp_path / "in.wav", noisy[1].numpy(), 48000)
    out = model.enhance_file(kind(tmp_path / "in.wav"), kind(tmp_path / "out.wav"))
    assert out.shape == noisy[1].shape
    written, rate = soundfile.read(tmp_path / "out.wav")
    assert rate == 48000
    assert np.abs(written - out.numpy()).max() < 2**-22
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.wav", "out.wav"]


def test_stereo_is_restored_channel_by_channel(model, noisy, tmp_path):
    left, right = noisy[0][:40000], noisy[1][:40000]
    stereo = torch.stack([left, right])
    soundfile.write(tmp_path / "in.wav", stereo.numpy().T, 48000, subtype="FLOAT")
    out = model.enhance_file(tmp_path / "in.wav", tmp_path / "out.wav")
    assert torch.allclose(out[0], model.enhance_batch(left[None])[0], atol=1e-5)
    assert torch.allclose(out[1], model.enhance_batch(right[None])[0], atol=1e-5)
    assert soundfile.info(tmp_path / "out.wav").channels == 2


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_other_rates_are_resampled(model, tmp_path, rate):
    samples = rate // 2 + 1
    noise = np.random.default_rng(0).normal(0, 0.1, samples)
    soundfile.write(tmp_path / "in.wav", noise, rate)
    out = model.enhance_file(tmp_path / "in.wav", tmp_path / "model_rate.wav")
    assert soundfile.info(tmp_path / "model_rate.wav").samplerate == 48000
    assert len(out) == -(-samples * 48000 // rate)
    out = model.enhance_file(
        tmp_path / "in.wav", tmp_path / "own_rate.wav", keep_sample_rate=True
    )
    assert len(out) == samples
    assert soundfile.info(tmp_path / "own_rate.wav").samplerate == rate


@pytest.mark.parametrize("samples", [1, 2, 480, 97919, 97920, 97921])
def test_any_length_comes_back(model, samples):
    wav = torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    out = model.enhance_batch(wav)
    assert out.shape == wav.shape and torch.isfinite(out).all()


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.03)])
@pytest.mark.parametrize("task", TASK_MODELS)
def test_fast_networks_restore_what_the_plain_ones_do(
    task, precision, tolerance, noisy
):
    restorer = EnhanceLatent.from_hparams(source=shipped_model(task)).restorer
    wavs = noisy[0][None, :150000]  # two windows
    for network in (restorer.autoencoder, restorer.score_model):
        network.follows_weights = False  # no twin: float32 in the default layout
        network.to(memory_format=torch.contiguous_format)
    restorer.set_computation("fp32")
    plain = restorer.restore(wavs)
    for network in (restorer.autoencoder, restorer.score_model):
        network.follows_weights = True
    restorer.set_computation(precision)
    restored = restorer.restore(wavs)
    assert (restored - plain).norm() < tolerance * plain.norm()


@pytest.mark.parametrize("num_steps", [1, 3])
def test_network_is_called_as_often_as_the_sampler_says(model, noisy, num_steps):
    restorer = copy.deepcopy(model.restorer)
    restorer.change_sampler("bridge_sde", num_steps=num_steps)
    restorer.windows_per_batch = 1
    network, calls = restorer.inference_networks().score_model, []
    network.step = counted(network.step, calls)
    network.condition = counted(network.condition, conditions := [])
    restorer.restore(noisy[0][None, : 2 * restorer.plan.window])
    windows = len(restorer.plan.starts(2 * restorer.plan.window))
    assert len(calls) == windows * restorer.sampler.calls == windows * num_steps
    assert len(conditions) == windows


def counted(function, calls):
    def counting(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return counting


def test_computation_is_chosen_at_loading(tiny_model):
    options = {"precision": "fp32", "compile": True, "fallback": False}
    restorer = EnhanceLatent.from_hparams(source=tiny_model, **options).restorer
    assert (restorer.precision, restorer.compiled, restorer.fallback) == (
        "fp32",
        True,
        False,
    )
    restorer = EnhanceLatent.from_hparams(source=tiny_model).restorer
    assert (restorer.precision, restorer.compiled, restorer.fallback) == (
        "bf16",
        False,
        True,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_missing_device_is_the_cpu_or_an_error(tiny_model):
    cuda = {"device": "cuda"}
    model = EnhanceLatent.from_hparams(source=tiny_model, run_opts=cuda)
    assert model.device == "cpu"
    with pytest.raises(ValueError, match="device 'cuda' cannot be used"):
        EnhanceLatent.from_hparams(source=tiny_model, run_opts=cuda, fallback=False)


def test_silence_stays_silence(model):
    assert not model.enhance_batch(torch.zeros(2, 5000)).any()


def test_arrays_and_devices_are_accepted(tiny_model):
    model = EnhanceLatent.from_hparams(
        source=str(tiny_model), run_opts={"device": torch.device("cpu")}
    )
    assert model.enhance_batch(np.zeros((1, 480), dtype=np.float32)).shape == (1, 480)


@pytest.mark.parametrize("source", ["./no/model", "/no/model", "tests/nothing", "a"])
def test_missing_folder_is_an_error_and_no_download(source):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        EnhanceLatent.from_hparams(source=source)


def test_folder_without_yaml_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no hyperparams.yaml"):
        EnhanceLatent.from_hparams(source=tmp_path)


def broken(model_folder, tmp_path, change):
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    change(folder)
    return folder


def test_wrong_sample_rate_in_the_folder_is_refused(tiny_model, tmp_path):
    def change(folder):
        yaml = folder / "hyperparams.yaml"
        text = yaml.read_text().replace(
            "  sample_rate: !ref <sample_rate>", "  sample_rate: 16000"
        )
        yaml.write_text(text)

    with pytest.raises(ValueError, match="sample_rate 48000.*16000"):
        EnhanceLatent.from_hparams(source=broken(tiny_model, tmp_path, change))


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda state: state.pop("stem.weight"), "missing stem.weight"),
        (lambda state: state.update(x=torch.ones(1)), "unexpected x"),
        (
            lambda state: state.update({"stem.weight": torch.ones(1)}),
            r"stem.weight is \(1,\) instead",
        ),
        (lambda state: state["stem.weight"].add_(1), "not those that the score model"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tiny_model, tmp_path, edit, message):
    def change(folder):
        state = torch.load(folder / "autoencoder.ckpt", weights_only=True)
        edit(state)
        torch.save(state, folder / "autoencoder.ckpt")

    with pytest.raises(ValueError, match=message):
        EnhanceLatent.from_hparams(source=broken(tiny_model, tmp_path, change))


def test_nothing_is_linked_into_the_working_directory(
    tiny_model, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    EnhanceLatent.from_hparams(source=tiny_model)
    assert not list(tmp_path.iterdir())
