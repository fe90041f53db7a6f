"""ONNX graphs restore like PyTorch, and are refused where they do not belong."""

import importlib.util
import json
import shutil

import onnxruntime
import pytest
import torch
from golden.cases import inputs, tiny_folder
from safetensors.torch import load_file, save_file
from small import lively, restorer, speech

from lafufu_sb import EnhanceLatent, shipped_model
from lafufu_sb.diffusion.objectives import ScoreMatching
from lafufu_sb.diffusion.processes import OUVESDE
from lafufu_sb.errors import MissingPackageError, UsageError
from lafufu_sb.lobes.gains import GainPreEnhancer
from lafufu_sb.lobes.ncsnpp import NCSNpp
from lafufu_sb.restoration import onnx_runtime
from lafufu_sb.restoration.onnx_runtime import use_graphs
from lafufu_sb.training import onnx_export
from lafufu_sb.training.export import export_onnx
from lafufu_sb.training.onnx_export import write_graphs

CPU = {"device": "cpu"}


def load(folder, backend="onnx", **options):
    return EnhanceLatent.from_hparams(
        source=folder, run_opts=CPU, backend=backend, **options
    )


def noisy(samples):
    """Two pieces of a recording."""
    wav = inputs()["noisy"][0]
    return torch.stack([wav[:samples], wav[-samples:]])


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    """Recorded model with graphs, exported into its own folder. Not to be changed."""
    folder = tiny_folder("bridge", tmp_path_factory.mktemp("bridge"))
    for name in ("README.md", "notes.txt", "decoder.onnx"):
        (folder / name).write_text("mine")
    export_onnx(folder, folder)
    return folder


def small(**changes):
    """Restorer of a network with few layers, on spectrograms of 32 bins."""
    torch.manual_seed(0)
    network = {"data_channels": 2, "base_channels": 8, "multipliers": (1,)}
    condition = 2 * len(changes.get("condition", ["distorted"]))
    network |= {"condition_channels": condition, "blocks_per_level": 1}
    return restorer(score_model=lively(NCSNpp(**network)), **changes)


def with_graphs(folder, quantize=None, **changes):
    """``small`` with PyTorch, and with the graphs that are written for it."""
    plain, graphs = small(**changes), small(**changes)
    write_graphs(plain, folder, quantize)
    use_graphs(graphs, lambda name: folder / name)
    return plain, graphs


@pytest.fixture
def changed(bridge, tmp_path):
    """A copy of the bridge's folder to damage."""
    return shutil.copytree(bridge, tmp_path / "changed")


# Parity ----------------------------------------------------------------------


def both(folder, wavs, **options):
    """Results of PyTorch and of ONNX Runtime; neither is the input."""
    results = [
        load(folder, backend, precision="fp32", seed=3, **options).restorer.restore(
            wavs
        )
        for backend in ("torch", "onnx")
    ]
    assert (results[0] - wavs).abs().max() > 0.01
    return results


def assert_equal(results):
    torch.testing.assert_close(*results, atol=1e-3, rtol=0)


@pytest.mark.parametrize("preset", ["fast", "four", "narrow"])
def test_bridge_restores_like_pytorch_in_batches_of_any_size(bridge, preset):
    options = {"preset": preset, "windows_per_batch": 4}
    assert_equal(both(bridge, noisy(60000), **options))  # the last batch is smaller


def test_the_graphs_of_a_model_in_half_precision_compute_in_fp32(changed):
    path = changed / "hyperparams.yaml"
    path.write_text(path.read_text().replace("precision: fp32", "precision: bf16"))
    assert load(changed, "torch").settings.precision == "bf16"
    model = load(changed)
    assert model.settings.precision == "fp32"
    assert model.with_settings(seed=1).settings.precision == "fp32"


def test_spectrogram_has_the_score_graph_alone_whatever_the_process(tmp_path):
    parts = {"process": OUVESDE(), "objective": ScoreMatching()}
    sampler = {"sampler": "predictor_corrector", "sampler_options": {"num_steps": 2}}
    models, wavs = with_graphs(tmp_path, **parts, **sampler), speech(2, 300)
    assert [path.stem for path in tmp_path.glob("*.onnx")] == ["score_model"]
    expected, restored = (model.restore(wavs) for model in models)
    torch.testing.assert_close(restored, expected, atol=1e-3, rtol=1e-3)
    assert (expected - wavs).abs().max() > 0.1


@pytest.mark.parametrize("condition", [["distorted", "enhanced"], []])
def test_pre_enhancer_is_a_graph_and_conditions_are_those_of_the_yaml(
    tmp_path, condition
):
    roles = {"condition": condition, "mean": "enhanced", "skips": "distorted"}
    torch.manual_seed(0)
    enhancer = GainPreEnhancer(bins=32, width=8, units=4)
    models = with_graphs(tmp_path, pre_enhancer=enhancer, **roles)
    assert {p.stem for p in tmp_path.glob("*.onnx")} == {"pre_enhancer", "score_model"}
    wavs = speech(2, 300)
    for function in ("restore", "pre_enhance"):
        expected, result = (getattr(model, function)(wavs) for model in models)
        torch.testing.assert_close(result, expected, atol=1e-3, rtol=1e-3)
        assert (expected - wavs).abs().max() > 0.01


def test_bound_runs_on_graphs_too(bridge):
    wavs = noisy(20000)
    bounds = [
        load(bridge, backend).restorer.autoencoder_bound(wavs, 0.5 * wavs)
        for backend in ("torch", "onnx")
    ]
    assert_equal(bounds)


def test_session_options_change_no_result(bridge):
    wavs = noisy(20000)
    expected = load(bridge).enhance_batch(wavs)
    options = {"threads": 2, "optimization": "none"}
    assert_equal((load(bridge, backend_options=options).enhance_batch(wavs), expected))


def test_eight_bits_make_graphs_that_are_near(tmp_path):
    plain, graphs = with_graphs(tmp_path, quantize="int8")
    session = graphs.score_model.graph.session
    assert session.get_outputs()[0].type == "tensor(float)"
    note = json.loads((tmp_path / "onnx.json").read_text())
    assert note["quantize"] == "int8"
    wavs = speech(2, 300)
    expected, restored = plain.restore(wavs), graphs.restore(wavs)
    assert 0 < (restored - expected).norm() < 0.2 * expected.norm()


def test_graph_that_is_not_the_network_is_never_written(tmp_path, monkeypatch):
    right = onnx_export._export

    def wrong(network, *arguments):
        double = onnx_export._Call(network, lambda *inputs: 2 * network(*inputs))
        right(double, *arguments)

    monkeypatch.setattr(onnx_export, "_export", wrong)
    with pytest.raises(RuntimeError, match="score_model is off by 1.0e"):
        write_graphs(small(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_graphs_have_stable_names_and_any_batch(bridge):
    def ends(name):
        session = onnxruntime.InferenceSession(bridge / f"{name}.onnx")
        nodes = session.get_inputs(), session.get_outputs()
        return [{node.name: node.shape for node in side} for side in nodes]

    features, latent = ["batch", 2, 768, 64], ["batch", 4, 192, 16]
    encoder, decoder = ends("encoder"), ends("decoder")
    assert encoder[0] == {"features": features}
    assert encoder[1]["latent"] == latent
    assert list(encoder[1])[1:3] == ["skip_0", "skip_1"]
    assert decoder == [encoder[1], {"restored": features}]
    assert ends("score_model") == [
        {"x_t": latent, "condition": latent, "t": ["batch"]},
        {"estimate": latent},
    ]


# Use -------------------------------------------------------------------------


def test_weights_of_pytorch_are_freed(bridge):
    model = load(bridge)
    assert not list(model.restorer.score_model.parameters())
    assert all(weight.is_meta for weight in model.hparams.score_model.parameters())


def test_export_into_the_folder_itself_keeps_other_files(bridge):
    assert (bridge / "README.md").read_text() == "mine"
    assert (bridge / "notes.txt").read_text() == "mine"
    assert not list(bridge.parent.glob("*.part"))


def test_export_into_another_folder_takes_the_model_card(bridge, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "write_graphs", lambda *arguments: None)
    export_onnx(bridge, tmp_path / "other")
    names = {"README.md", "hyperparams.yaml"}
    names |= {"representation.safetensors", "score_model.safetensors"}
    assert {path.name for path in (tmp_path / "other").iterdir()} == names


def test_overlap_is_free_and_window_precision_and_compilation_are_not(bridge):
    assert_equal(both(bridge, noisy(50000), overlap=0.128))
    model = load(bridge)
    for change in ({"window": 1.0}, {"compile": True}, {"precision": "bf16"}):
        (name,) = change
        with pytest.raises(UsageError, match=f"{name}.* does not go with ONNX graphs"):
            model.restorer.with_settings(**change)
    with pytest.raises(UsageError, match="window does not go with ONNX graphs"):
        load(bridge, window=1.0)
    with pytest.raises(UsageError, match="encoder takes features"):
        model.restorer.representation.encode(torch.zeros(1, 2, 768, 128))


# Refusals --------------------------------------------------------------------


def rewrite_note(folder, **changes):
    note = json.loads((folder / "onnx.json").read_text())
    (folder / "onnx.json").write_text(json.dumps(note | changes))


def change_weights(folder):
    state = load_file(folder / "score_model.safetensors")
    state["stem.weight"] += 0.1
    save_file(state, folder / "score_model.safetensors")


def change_window(folder):
    yaml = folder / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace("window_frames: 64", "window_frames: 128"))


@pytest.mark.parametrize(
    "damage, message",
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
def test_folders_that_do_not_fit_are_refused(changed, damage, message):
    damage(changed)
    with pytest.raises((FileNotFoundError, UsageError), match=message):
        load(changed)
    load(changed, backend="torch")  # which needs no graphs


@pytest.mark.parametrize(
    "options, message",
    [
        ({"backend": "tensorrt"}, "backend must be 'torch' or 'onnx'"),
        ({"backend": "torch", "backend_options": {"threads": 1}}, "are for backend"),
        ({"backend_options": {"threads": 0}}, "threads must be .* got 0"),
        ({"backend_options": {"optimization": "most"}}, "optimization must be one of"),
    ],
)
def test_options_that_do_not_exist_are_refused(bridge, options, message):
    with pytest.raises(UsageError, match=message):
        load(bridge, **options)


def test_devices_other_than_the_cpu_are_refused(bridge):
    options = {"source": bridge, "backend": "onnx", "run_opts": {"device": "cuda"}}
    with pytest.raises(UsageError, match="computes on the CPU, not on cuda"):
        EnhanceLatent.from_hparams(**options)


def test_missing_package_names_the_extra_and_leaves_nothing(
    bridge, tmp_path, monkeypatch
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        onnx_runtime.importlib.util,
        "find_spec",
        lambda name: None if name in ("onnxscript", "onnxruntime") else find(name),
    )
    extra = r'pip install "lafufu_sb\[onnx\]"'
    with pytest.raises(MissingPackageError, match=f"onnxscript, onnxruntime: {extra}"):
        export_onnx(bridge, tmp_path / "model")
    assert not list(tmp_path.iterdir())
    with pytest.raises(MissingPackageError, match=f"needs onnxruntime: {extra}"):
        load(bridge)


def test_foreign_sources_and_outputs_are_refused(bridge, tmp_path):
    (tmp_path / "thesis").mkdir()
    with pytest.raises(FileExistsError, match="not a model folder"):
        export_onnx(bridge, tmp_path / "thesis")
    with pytest.raises(FileNotFoundError, match="neither a model folder nor a run"):
        export_onnx(tmp_path / "thesis", tmp_path / "model")
    with pytest.raises(UsageError, match="quantize must be 'int8' or None, got 'fp4'"):
        export_onnx(bridge, tmp_path / "model", quantize="fp4")
    with pytest.raises(UsageError, match="is for the export of a training"):
        export_onnx(bridge, tmp_path / "model", half=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_shipped_models_say_how_to_get_graphs():
    with pytest.raises(FileNotFoundError, match="lafufu export"):
        load(shipped_model("denoise"))
