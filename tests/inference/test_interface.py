"""EnhanceLatent: batches, files, settings of a model and of a call."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from lafufu_sb import EnhanceLatent
from lafufu_sb.audio.files import read_recording
from lafufu_sb.audio.resampling import resample
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.corpora.pairs import read_wav
from lafufu_sb.errors import NotFiniteError, UsageError
from lafufu_sb.inference.shipped import NAMES, shipped_model


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
    for preset, equal in (("paper", False), ("fast", True)):
        one, other = (
            model.enhance_batch(batch, preset=preset, seed=seed) for seed in (0, 1)
        )
        assert torch.equal(one, other) is equal


def test_model_with_other_settings_shares_the_networks(tiny_model, noisy):
    batch = noisy[0][None, :30000]
    model = EnhanceLatent.from_hparams(source=tiny_model, preset="balanced")
    assert model.restorer.describe() == "preset balanced, 1 call, 2 phase averages"
    balanced = model.enhance_batch(batch)
    fast = model.with_settings(preset="fast", seed=2)
    assert fast.restorer.score_model is model.restorer.score_model
    assert (fast.settings.phase_averages, fast.settings.seed) == (1, 2)
    assert not torch.equal(fast.enhance_batch(batch), balanced)
    assert torch.equal(model.enhance_batch(batch), balanced)
    with pytest.raises(UsageError, match="num_steps must be a whole number"):
        model.with_settings(num_steps=0)


@pytest.mark.parametrize(
    ("asked", "sampling"),
    [
        ({"preset": "fast", "num_steps": 3}, "bridge_ode, 3 calls"),
        ({"preset": "fast", "sampler": "bridge_sde"}, "bridge_sde, 8 calls"),
        ({"num_steps": 2}, "bridge_ode, 2 calls, 2 phase averages"),
        ({"phase_averages": 3}, "bridge_ode, 1 call, 3 phase averages"),
        ({"preset": "paper", "phase_averages": 1}, "preset paper, 4 calls"),
    ],
)
def test_sampler_and_steps_override_the_preset(tiny_model, asked, sampling):
    model = EnhanceLatent.from_hparams(source=tiny_model, **asked)
    assert model.restorer.describe() == sampling


@pytest.mark.parametrize("name", NAMES)
def test_shipped_models_have_presets_and_a_default(name):
    restorer = EnhanceLatent.from_hparams(source=shipped_model(name)).restorer
    assert set(restorer.presets) == {"fast", "balanced", "paper"}
    fast = restorer.pre_enhancer is not None  # which takes time too
    default = "fast, 1 call" if fast else "balanced, 1 call, 2 phase averages"
    assert restorer.describe() == f"preset {default}"


def test_unknown_preset_is_refused(tiny_model):
    with pytest.raises(UsageError, match="no preset 'best': .* fast, balanced, paper"):
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
    soundfile.write(tmp_path / "in.wav", noisy[1].numpy(), 48000, subtype="FLOAT")
    out = model.enhance_file(kind(tmp_path / "in.wav"))
    assert out.shape == noisy[1].shape
    target = tmp_path / "out.wav"
    assert model.enhance_file(kind(tmp_path / "in.wav"), kind(target)) == target
    written, rate = soundfile.read(tmp_path / "out.wav")
    assert rate == 48000
    assert np.abs(written - out.numpy()).max() < 2**-22
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.wav", "out.wav"]


def test_stereo_is_restored_channel_by_channel(model, noisy, tmp_path):
    left, right = noisy[0][:40000], noisy[1][:40000]
    stereo = torch.stack([left, right])
    soundfile.write(tmp_path / "in.wav", stereo.numpy().T, 48000, subtype="FLOAT")
    out = model.enhance_file(tmp_path / "in.wav")
    model.enhance_file(tmp_path / "in.wav", tmp_path / "out.wav")
    assert torch.allclose(out[0], model.enhance_batch(left[None])[0], atol=1e-5)
    assert torch.allclose(out[1], model.enhance_batch(right[None])[0], atol=1e-5)
    written, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert np.abs(written.T - out.numpy()).max() < 2**-22


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_other_rates_are_resampled(model, tmp_path, rate):
    samples = rate // 2 + 1
    noise = np.random.default_rng(0).normal(0, 0.1, samples)
    soundfile.write(tmp_path / "in.wav", noise, rate)
    out = model.enhance_file(tmp_path / "in.wav")
    assert len(out) == -(-samples * 48000 // rate)
    resampled = resample(read_recording(tmp_path / "in.wav")[0], rate, 48000)
    wanted = model.enhance_batch(resampled)[0]
    torch.testing.assert_close(out, wanted, atol=1e-5, rtol=0)
    own = model.enhance_file(tmp_path / "in.wav", keep_sample_rate=True)
    wanted = resample(wanted, 48000, rate)[:samples]
    torch.testing.assert_close(own, wanted, atol=1e-5, rtol=0)
    model.enhance_file(tmp_path / "in.wav", tmp_path / "a.wav")
    model.enhance_file(tmp_path / "in.wav", tmp_path / "b.wav", keep_sample_rate=True)
    for name, length, written_rate in (("a", len(out), 48000), ("b", samples, rate)):
        info = soundfile.info(tmp_path / f"{name}.wav")
        assert (info.frames, info.samplerate) == (length, written_rate)


@pytest.mark.parametrize("samples", [1, 480, 24192, 24193])
def test_any_length_is_kept(model, samples):
    wav = torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    out = model.enhance_batch(wav)
    assert out.shape == wav.shape and torch.isfinite(out).all()


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.03)])
@pytest.mark.parametrize("name", ["denoise_small", "dereverb"])
@torch.no_grad()
def test_shipped_model_is_the_formula_of_its_parts(name, precision, tolerance, noisy):
    """One window by hand, with the original networks and without a restorer."""
    model = EnhanceLatent.from_hparams(
        source=shipped_model(name), preset="fast", precision=precision
    )
    parts = model.restorer.eval()
    wav = noisy[0][None, : parts.plan.window]
    level = wav.abs().max()
    wavs = [wav / level]
    if parts.pre_enhancer is not None:
        wavs.append(parts.pre_enhancer.enhance(wavs[0][0], 48000)[None])
    representation = parts.representation
    inputs = [representation.encode(representation.features(w)) for w in wavs]
    condition = torch.cat([source.latent for source in inputs], dim=1)
    encoded = representation.join(inputs[::-1])
    y = inputs[-1].latent
    restored = y + parts.score_model(y, condition, torch.ones(1))
    features = parts.representation.decode(restored, encoded.skips, encoded.size)
    expected = parts.representation.waveforms(features, wav.shape[1]) * level
    actual = model.enhance_batch(wav)
    assert (actual - expected).norm() < tolerance * expected.norm()


def test_precision_and_compilation_are_chosen_at_loading(tiny_model):
    options = {"precision": "bf16", "compile": True, "fallback": False}
    for given in ({"precision": "fp32", "compile": False, "fallback": True}, options):
        restorer = EnhanceLatent.from_hparams(source=tiny_model, **given).restorer
        chosen = restorer.settings.precision, restorer.settings.compile
        assert (*chosen, restorer.fallback) == tuple(given.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_missing_device_is_the_cpu_or_an_error(tiny_model):
    cuda = {"device": "cuda"}
    model = EnhanceLatent.from_hparams(source=tiny_model, run_opts=cuda)
    assert model.device == "cpu"
    with pytest.raises(UsageError, match="device 'cuda' cannot be used"):
        EnhanceLatent.from_hparams(source=tiny_model, run_opts=cuda, fallback=False)


def test_silence_stays_silence(model):
    assert not model.enhance_batch(torch.zeros(2, 5000)).any()


@pytest.mark.parametrize("source", [str, lambda path: path])
@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_paths_and_devices_of_either_kind_are_accepted(tiny_model, source, device):
    run_opts = {"device": device}
    model = EnhanceLatent.from_hparams(source=source(tiny_model), run_opts=run_opts)
    assert model.enhance_batch(torch.zeros(1, 480)).shape == (1, 480)


def test_single_signal_needs_no_batch(model, noisy):
    wav = noisy[0][:30000]
    alone = model.enhance_batch(wav)
    assert torch.equal(alone, model.enhance_batch(wav[None])[0])
    assert torch.equal(model.enhance_batch(wav, [1.0]), alone)


def test_waveforms_at_another_rate_are_resampled_item_by_item(model):
    batch = torch.randn(2, 4001, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([1.0, 0.5])
    restored = model.enhance_batch(batch, lengths, sample_rate=16000)
    assert restored.shape == (2, 3 * 4001)
    for item, samples in ((0, 4001), (1, 2000)):
        wav = resample(batch[item, :samples], 16000, 48000)
        wanted = model.enhance_batch(wav)
        torch.testing.assert_close(
            restored[item, : len(wanted)], wanted, atol=1e-5, rtol=0
        )
        assert not restored[item, len(wanted) :].any()


def test_options_of_a_call_are_its_own(model, noisy, tmp_path):
    model = model.with_settings(preset="paper")
    wav = noisy[0][:30000]
    soundfile.write(tmp_path / "in.wav", wav.numpy(), 48000, subtype="FLOAT")
    plain, settings = model.enhance_batch(wav), model.settings
    for options in (
        {"preset": "fast"},
        {"seed": 1},
        {"dry": 0.5},
        {"sampler": "bridge_ode"},
        {"num_steps": 3},
        {"precision": "bf16"},
        {"phase_averages": 4},
        {"window": 0.3},
    ):
        changed = model.enhance_batch(wav, **options)
        assert not torch.equal(changed, plain), options
        assert torch.equal(model.enhance_file(tmp_path / "in.wav", **options), changed)
    assert model.settings is settings
    assert torch.equal(model.enhance_batch(wav), plain)


def test_options_of_loading_are_the_defaults(tiny_model, noisy):
    wav = noisy[0][:30000]
    options = {"sampler": "bridge_sde", "num_steps": 2, "seed": 3, "dry": 0.4}
    options |= {"window": 0.5, "overlap": 0.1}
    given = EnhanceLatent.from_hparams(source=tiny_model, **options)
    plain = EnhanceLatent.from_hparams(source=tiny_model)
    wanted = plain.enhance_batch(wav, **options)
    assert torch.equal(given.enhance_batch(wav), wanted)
    assert not torch.equal(given.enhance_batch(wav, dry=0.0), wanted)


def test_all_dry_is_the_input(model, noisy):
    wav = noisy[0][:30000]
    torch.testing.assert_close(model.enhance_batch(wav, dry=1), wav, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dry": 1.5}, "dry must lie between"),
        ({"num_steps": 0}, "from 1 to 10000, got 0"),
        ({"phase_averages": 5}, "from 1 to 4, got 5"),
        ({"sampler": "magic"}, "'magic' is unknown"),
        ({"precision": "fp8"}, "precision must be one of"),
        ({"window": 0.01}, "window must be some seconds, at least"),
        ({"overlap": 9}, "overlap must be above 0"),
        ({"sample_rate": 0}, "sample_rate is a whole number"),
        ({"sample_rate": 44100.5}, "sample_rate is a whole number"),
        ({"sample_rate": "CD"}, "sample_rate is a whole number"),
    ],
)
def test_options_that_do_not_fit_are_refused(model, options, message):
    with pytest.raises(UsageError, match=message):
        model.enhance_batch(torch.ones(1, 480), **options)


def test_unknown_option_is_refused_with_those_of_the_sampler(model):
    with pytest.raises(UsageError, match="no option speed: it has num_steps"):
        model.enhance_batch(torch.ones(1, 480), speed=2)


def test_progress_is_shown_on_the_error_stream(model, noisy, capsys):
    model.enhance_batch(noisy[0][:48000])
    assert capsys.readouterr() == ("", "")
    model.enhance_batch(noisy[0][:48000], progress=True)
    captured = capsys.readouterr()
    assert captured.out == "" and "1.0/1.0 s" in captured.err


def test_results_that_are_not_finite_are_an_error(tiny_model, tmp_path):
    model = EnhanceLatent.from_hparams(source=tiny_model)
    with torch.no_grad():
        next(model.restorer.representation.parameters()).fill_(float("nan"))
    wav = torch.rand(480)
    soundfile.write(tmp_path / "in.wav", wav.numpy(), 48000)
    with pytest.raises(NotFiniteError, match="not finite: try precision 'fp32'"):
        model.enhance_batch(wav)
    with pytest.raises(NotFiniteError, match="not finite"):
        model.enhance_file(tmp_path / "in.wav", tmp_path / "out.wav")
    assert [p.name for p in tmp_path.iterdir()] == ["in.wav"]


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_loaded_audio_is_what_a_batch_takes(model, tmp_path, monkeypatch, rate):
    """At the model's rate: what SpeechBrain's normaliser gives has a third of it."""
    monkeypatch.chdir(tmp_path)
    wav = 0.1 * np.random.default_rng(0).standard_normal(rate // 4)
    soundfile.write("in.wav", wav, rate, subtype="FLOAT")
    loaded = model.load_audio("in.wav", savedir="unused")
    assert loaded.shape == (12000,)
    restored = model.enhance_batch(loaded[None])[0]
    torch.testing.assert_close(
        restored, model.enhance_file("in.wav"), atol=1e-5, rtol=0
    )
    assert model.audio_normalizer(torch.zeros(rate, 2), rate).shape == (48000,)
    assert [p.name for p in tmp_path.iterdir()] == ["in.wav"]


def test_channels_of_loaded_audio_are_averaged(model, tmp_path):
    soundfile.write(tmp_path / "in.wav", [[0.5, -0.25]] * 480, 48000, subtype="FLOAT")
    loaded = model.load_audio(tmp_path / "in.wav")
    assert torch.equal(loaded, torch.full((480,), 0.125))
    with pytest.raises(FileNotFoundError, match="missing.wav does not exist"):
        model.load_audio("missing.wav")


def test_call_takes_what_a_batch_takes(model, noisy):
    wav = noisy[0][None, :9000]
    given = {"lengths": [0.5], "sample_rate": 24000, "dry": 0.5}
    assert torch.equal(model(wav, **given), model.enhance_batch(wav, **given))


def test_files_of_one_name_are_kept_apart(model, noisy, tmp_path, monkeypatch):
    """SpeechBrain's own loading links a file into the working directory, by name."""
    monkeypatch.chdir(tmp_path)
    for speaker, wav in (("a", noisy[0][:20000]), ("b", noisy[1][:30000])):
        (tmp_path / speaker).mkdir()
        soundfile.write(tmp_path / speaker / "1.wav", wav.numpy(), 48000)
    results = [model.enhance_file(f"{speaker}/1.wav") for speaker in "aba"]
    assert [len(wav) for wav in results] == [20000, 30000, 20000]
    assert torch.equal(results[0], results[2])
    names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert names == ["a", "a/1.wav", "b", "b/1.wav"]


def test_missing_output_folders_are_made_for_sound_inputs_alone(model, tmp_path):
    (tmp_path / "text.wav").write_text("x")
    with pytest.raises(UsageError, match="not audio"):
        model.enhance_file(tmp_path / "text.wav", tmp_path / "new" / "out.wav")
    assert not (tmp_path / "new").exists()
    soundfile.write(tmp_path / "in.wav", np.zeros(480), 48000)
    model.enhance_file(tmp_path / "in.wav", tmp_path / "new" / "er" / "out.wav")
    assert soundfile.info(tmp_path / "new" / "er" / "out.wav").frames == 480


def test_loading_a_model_does_not_import_the_compiler():
    # It takes longer than all the rest of the start.
    code = (
        "import sys; from lafufu_sb import EnhanceLatent, shipped_model; "
        "EnhanceLatent.from_hparams(source=shipped_model('dereverb')); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
