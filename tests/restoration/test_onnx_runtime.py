"""ONNX graphs restore like PyTorch, and are refused where they do not belong."""

import importlib.util
import json
import math
import shutil

import onnxruntime
import pytest
import soundfile
import torch
from ruamel.yaml import YAML
from runs import write_tiny_recipe

from lafufu_sb import EnhanceLatent, shipped_model
from lafufu_sb.cli.main import main
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.corpora.pairs import read_wav
from lafufu_sb.inference.folder import LOADABLES, inference_recipe
from lafufu_sb.inference.weights import fingerprint, save_weights
from lafufu_sb.restoration import onnx_runtime as onnx_backend
from lafufu_sb.training import onnx_export
from lafufu_sb.training.export import export_onnx
from lafufu_sb.training.recipe import load_recipe

CPU = {"device": "cpu"}
FULL_BAND = {  # SGMSE+; two halvings, so that the attention stays small
    "autoencoder: {channels: 4}": "latent_channels: 2\nautoencoder: "
    "!new:lafufu_sb.lobes.autoencoder.IdentityAutoencoder",
    "multipliers: [1, 1]": "multipliers: [1, 1, 1], blocks_per_level: 1",
}
WITHOUT_HIDDENS = {
    "channels: 4": "channels: 4, multipliers: [1, 2], skip_connections: False, "
    "filter_taps: 0",
    "multipliers: [1, 1]": "multipliers: [1, 1], blocks_per_level: 1",
}


def random_model(folder, base="lafufu_mini_wham", changes=None):
    """Model folder of a tiny model with random weights, none of them near zero."""
    recipe = write_tiny_recipe(folder / "tiny.yaml", folder / "run", base=base)
    text = recipe.read_text()
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text)
    hparams, text = load_recipe(recipe)
    (folder / "model").mkdir()
    generator = torch.Generator().manual_seed(0)
    for name in LOADABLES:
        for weight in hparams[name].parameters():
            if weight.dim() > 1:
                scale = 1 / math.sqrt(weight[0].numel())
                weight.data = scale * torch.randn(weight.shape, generator=generator)
        save_weights(hparams[name], folder / "model" / f"{name}.ckpt")
    mark = fingerprint(hparams["autoencoder"])
    yaml = inference_recipe(YAML().load(text), mark)
    (folder / "model" / "hyperparams.yaml").write_text(yaml)
    return folder / "model"


def load(folder, backend="onnx", **options):
    return EnhanceLatent.from_hparams(
        source=folder, run_opts=CPU, backend=backend, **options
    )


def noisy(samples):
    folder = mini_corpus_folder("EARS-WHAM") / "test" / "noisy"
    wavs = [read_wav(path, 48000) for path in sorted(folder.rglob("*.wav"))]
    return torch.stack([wav[:samples] for wav in wavs[:2]])


def export(folder, **changes):
    """Folder of a random model with graphs."""
    source = random_model(folder, **changes)
    (source / "README.md").write_text("card")
    export_onnx(source, folder / "onnx")
    return folder / "onnx"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Bridge, autoencoder with patches and skips. Not to be changed."""
    return export(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def full_band(tmp_path_factory):
    """OUVE without autoencoder. Not to be changed."""
    folder = tmp_path_factory.mktemp("full_band")
    return export(folder, base="lafufu_reverb", changes=FULL_BAND)


@pytest.fixture
def changed(tiny, tmp_path):
    """A copy of the tiny folder to spoil."""
    return shutil.copytree(tiny, tmp_path / "changed")


# Parity ----------------------------------------------------------------------


def both(folder, **options):
    """Restorers of PyTorch and of ONNX Runtime."""
    restorers = load(folder, "torch").restorer, load(folder, **options).restorer
    for restorer in restorers:
        restorer.set_precision("fp32")
        if restorer.sampler_name == "predictor_corrector":  # 60 calls by default
            restorer.set_sampler("predictor_corrector", num_steps=2)
    return restorers


def assert_equal_restorations(restorers, wavs):
    """Equal to 1e-3 of full scale, and no copies of the input."""
    expected, restored = (restorer.restore(wavs, seed=3) for restorer in restorers)
    assert (expected - wavs).abs().max() > 0.1
    assert (restored - expected).abs().max() < 1e-3


def test_shipped_model_restores_real_audio_like_pytorch(tmp_path):
    assert main(["export", "wham", "-o", str(tmp_path / "m"), "--format", "onnx"]) == 0
    assert_equal_restorations(both(tmp_path / "m"), noisy(110000)[:1])  # two windows


def test_patches_and_batches_of_any_size_restore_like_pytorch(tiny):
    restorers = both(tiny)
    for restorer in restorers:
        restorer.windows_per_batch = 4
    assert_equal_restorations(restorers, noisy(60000))  # six windows: 4 and 2


def test_full_band_model_has_the_score_graph_alone(full_band):
    assert [path.stem for path in full_band.glob("*.onnx")] == ["score_model"]
    assert_equal_restorations(both(full_band), noisy(30000))


def test_predictor_is_a_graph_of_its_own(tmp_path):
    folder = export(tmp_path, base="lafufu_mini_pre_enhancer_wham")
    assert (folder / "predictor.onnx").is_file()
    restorers, wavs = both(folder), noisy(30000)
    assert_equal_restorations(restorers, wavs)
    expected, predicted = (restorer.predict(wavs) for restorer in restorers)
    assert (predicted - expected).abs().max() < 1e-3
    assert (predicted - wavs).abs().max() > 0.1


def test_ouve_model_without_skips_samples_like_pytorch(tmp_path):
    folder = export(tmp_path, base="lafufu_reverb", changes=WITHOUT_HIDDENS)
    restorers, wavs = both(folder), noisy(30000)
    for restorer in restorers:
        restorer.set_sampler("predictor_corrector", num_steps=4)
    assert_equal_restorations(restorers, wavs)
    one, other = (restorers[1].restore(wavs, seed=seed) for seed in (0, 1))
    assert (one - other).abs().max() > 0.01


def test_run_folder_becomes_a_folder_for_both_backends(tiny_run, tmp_path):
    export_onnx(tiny_run, tmp_path / "model", half=True)
    one, other = both(tmp_path / "model")
    wavs = noisy(30000)
    assert (one.restore(wavs) - other.restore(wavs)).abs().max() < 1e-3
    with pytest.raises(ValueError, match="half is for the export of a training"):
        export_onnx(tmp_path / "model", tmp_path / "again", half=True)


def test_eight_bits_make_small_graphs_that_are_near(tiny, tmp_path):
    assert export_onnx(tiny, tmp_path / "int8", quantize="int8") is None
    for name in ("encoder", "score_model", "decoder"):
        graph = onnxruntime.InferenceSession(tmp_path / "int8" / f"{name}.onnx")
        assert graph.get_outputs()[0].type == "tensor(float)"
    # The score model is tiny here, and still most of it is weights.
    sizes = [(f / "score_model.onnx").stat().st_size for f in (tiny, tmp_path / "int8")]
    assert sizes[1] < sizes[0]
    wavs = noisy(30000)
    expected, restored = load(tiny)(wavs), load(tmp_path / "int8")(wavs)
    assert 0 < (restored - expected).norm() < 0.2 * expected.norm()


def test_graph_that_is_not_the_network_is_never_handed_out(
    full_band, tmp_path, monkeypatch
):
    right = onnx_export._export

    def wrong(network, *arguments):
        double = onnx_export._Call(network, lambda *inputs: 2 * network(*inputs))
        right(double, *arguments)

    monkeypatch.setattr(onnx_export, "_export", wrong)
    with pytest.raises(RuntimeError, match="score_model is off by 1.0e"):
        export_onnx(full_band, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_graphs_have_stable_names_and_any_batch(tiny):
    def ends(name):
        session = onnxruntime.InferenceSession(tiny / f"{name}.onnx")
        nodes = session.get_inputs(), session.get_outputs()
        return [{node.name: node.shape for node in side} for side in nodes]

    spectrogram, latent = ["batch", 2, 768, 64], ["batch", 8, 192, 16]
    encoder, decoder = ends("encoder"), ends("decoder")
    assert encoder[0] == {"spectrogram": spectrogram}
    assert encoder[1]["latent"] == latent
    assert list(encoder[1])[1:3] == ["skip_0", "skip_1"]
    assert decoder == [encoder[1], {"restored": spectrogram}]
    assert ends("score_model") == [
        {"x": latent, "y": latent, "t": ["batch"]},
        {"estimate": latent},
    ]


# Use -------------------------------------------------------------------------


def test_command_line_restores_with_graphs(tiny, tmp_path, capsys):
    soundfile.write(tmp_path / "in.wav", noisy(20000)[0].numpy(), 48000)
    arguments = ["enhance", str(tmp_path / "in.wav"), "-o", str(tmp_path / "out.wav")]
    arguments += ["-m", str(tiny), "--backend", "onnx"]
    threads = torch.get_num_threads()
    try:
        assert main([*arguments, "--threads", "1"]) == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    restored = read_wav(tmp_path / "out.wav", 48000)
    expected = load(tiny).enhance_file(tmp_path / "in.wav")
    assert (restored - expected).abs().max() < 2e-7 + 2**-23
    assert main([*arguments, "--precision", "bf16"]) == 2
    assert "does not go with ONNX graphs" in capsys.readouterr().err
    assert main([*arguments, "--threads", "0"]) == 2
    assert main([*arguments, "--sampler", "predictor_corrector"]) == 2
    assert "does not fit this model" in capsys.readouterr().err


def test_session_options_change_nothing_that_is_heard(tiny):
    options = {"threads": 2, "optimization": "none"}
    assert_equal_restorations(both(tiny, backend_options=options), noisy(20000))


def test_oracle_runs_on_graphs_too(tiny):
    wavs = noisy(20000)
    expected, autoencoder_bound = (
        r.autoencoder_bound(wavs, 0.5 * wavs) for r in both(tiny)
    )
    assert (autoencoder_bound - expected).abs().max() < 1e-3


def test_weights_of_pytorch_are_let_go(tiny):
    model = load(tiny)
    assert not list(model.mods.parameters())
    for name in LOADABLES:
        network = getattr(model.hparams, name)
        assert all(weight.is_meta for weight in network.parameters())


def test_export_into_the_folder_itself_keeps_what_else_is_there(full_band, tmp_path):
    folder = shutil.copytree(full_band, tmp_path / "model")
    (folder / "notes.txt").write_text("mine")
    (folder / "score_model.onnx").unlink()
    export_onnx(folder, folder)
    assert (folder / "README.md").read_text() == "card"
    assert (folder / "notes.txt").read_text() == "mine"
    assert load(folder)(torch.zeros(2, 2000)).shape == (2, 2000)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_model_card_goes_with_the_weights(tiny):
    assert (tiny / "README.md").read_text() == "card"


# Refusals --------------------------------------------------------------------


def rewrite_note(folder, **changes):
    note = json.loads((folder / "onnx.json").read_text())
    (folder / "onnx.json").write_text(json.dumps(note | changes))


def change_weights(folder):
    state = torch.load(folder / "score_model.ckpt", weights_only=True)
    state["stem.weight"] += 0.1
    torch.save(state, folder / "score_model.ckpt")


def change_window(folder):
    yaml = folder / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace("window_frames: 64", "window_frames: 128"))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda f: (f / "onnx.json").unlink(), "no ONNX graphs.*--format onnx"),
        (lambda f: (f / "decoder.onnx").unlink(), "decoder.onnx is missing"),
        (lambda f: (f / "onnx.json").write_text("{"), "onnx.json is damaged"),
        (lambda f: rewrite_note(f, sha256=None), "onnx.json is damaged"),
        (lambda f: shutil.copy(f / "encoder.onnx", f / "decoder.onnx"), "of another"),
        (lambda f: (f / "encoder.onnx").write_bytes(b""), "encoder.onnx is damaged"),
        (change_weights, "stale: the weights of score_model have changed"),
        (change_window, "of windows of 64 frames, window_frames is 128"),
    ],
)
def test_folders_that_do_not_fit_are_refused(changed, spoil, message):
    spoil(changed)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        load(changed)
    load(changed, backend="torch")  # which needs no graphs


def test_overlap_is_free_and_the_window_is_not(tiny):
    overrides = {"restorer": {"overlap_frames": 32}}
    models = [load(tiny, name, overrides=overrides) for name in ("torch", "onnx")]
    models[0].restorer.set_precision("fp32")
    assert_equal_restorations([model.restorer for model in models], noisy(50000))
    with pytest.raises(ValueError, match="the window is fixed at export"):
        load(tiny, overrides={"restorer": {"window_frames": 128}})
    with pytest.raises(ValueError, match="encoder takes spectrogram"):
        models[1].restorer.autoencoder.encode(torch.zeros(1, 2, 768, 128))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"backend": "tensorrt"}, "backend must be 'torch' or 'onnx'"),
        ({"backend": "torch", "backend_options": {"threads": 1}}, "are for backend"),
        ({"backend_options": {"threads": 0}}, "threads must be .* got 0"),
        ({"backend_options": {"optimization": "most"}}, "optimization must be one of"),
    ],
)
def test_options_that_do_not_exist_are_refused(tiny, options, message):
    with pytest.raises(ValueError, match=message):
        load(tiny, **options)


def test_devices_other_than_the_cpu_are_refused(tiny):
    with pytest.raises(ValueError, match="computes on the CPU, not on cuda"):
        EnhanceLatent.from_hparams(
            source=tiny, run_opts={"device": "cuda"}, backend="onnx"
        )


def test_missing_package_names_the_extra_and_leaves_nothing(
    tiny, tmp_path, monkeypatch
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        onnx_backend.importlib.util,
        "find_spec",
        lambda name: None if name in ("onnxscript", "onnxruntime") else find(name),
    )
    with pytest.raises(
        ImportError, match=r'onnxscript, onnxruntime: pip.*"lafufu_sb\[onnx\]"'
    ):
        export_onnx(tiny, tmp_path / "model")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ImportError, match=r'onnxruntime: pip.*"lafufu_sb\[onnx\]"'):
        load(tiny)


def test_foreign_sources_and_outputs_are_refused(tiny, tmp_path):
    (tmp_path / "thesis").mkdir()
    with pytest.raises(FileExistsError, match="not a model folder"):
        export_onnx(tiny, tmp_path / "thesis")
    with pytest.raises(FileNotFoundError, match="neither a model folder nor a run"):
        export_onnx(tmp_path / "thesis", tmp_path / "model")
    with pytest.raises(ValueError, match="quantize must be 'int8' or None, got 'fp4'"):
        export_onnx(tiny, tmp_path / "model", quantize="fp4")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_quantising_without_graphs_is_refused(tiny, tmp_path, capsys):
    out = tmp_path / "model"
    assert main(["export", str(tiny), "-o", str(out), "--quantize", "int8"]) == 2
    assert "--quantize is for --format onnx" in capsys.readouterr().err


def test_shipped_models_say_how_to_get_graphs():
    with pytest.raises(FileNotFoundError, match="lafufu export"):
        load(shipped_model("wham"))


def test_overlap_can_be_chosen_and_the_window_cannot(tiny):
    options = {"source": tiny, "backend": "onnx", "run_opts": CPU}
    model = EnhanceLatent.from_hparams(**options, overlap=0.1)
    assert model.enhance_batch(torch.rand(1, 60000)).shape == (1, 60000)
    with pytest.raises(ValueError, match="window of ONNX graphs is fixed"):
        EnhanceLatent.from_hparams(**options, window=1.0)
