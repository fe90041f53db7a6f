"""Inference copies compute what their originals do, and are rebuilt by prepare()."""

import pytest
import torch
from small import (
    Entangled,
    Notes,
    Scaled,
    lively,
    restorer,
    spectrogram_representation,
    speech,
)

from lafufu_sb.errors import UsageError
from lafufu_sb.lobes.ncsnpp import NCSNpp
from lafufu_sb.lobes.representations import Encoded, LatentRepresentation
from lafufu_sb.lobes.score_network import ScoreNetwork
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram
from lafufu_sb.restoration import devices
from lafufu_sb.restoration.inference_copies import InferenceNetworks, inference_copy

# Largest relative error of a whole network; half precision has 8 or 11 bits.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}

dtypes = pytest.mark.parametrize("dtype", TOLERANCE)


@pytest.fixture(autouse=True)
def warnings_of_a_new_process():
    devices._warn_once.cache_clear()


def score_model():
    torch.manual_seed(0)
    settings = {"multipliers": (1, 2, 2), "blocks_per_level": 1, "output_layer": False}
    return lively(NCSNpp(data_channels=4, base_channels=8, **settings))


def representation():
    torch.manual_seed(0)
    return lively(LatentRepresentation(CompressedSpectrogram(62, 16), channels=8))


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def relative_error(actual, expected):
    return float((actual - expected).norm() / expected.norm())


def networks(dtype, encodes=None, net=None):
    return InferenceNetworks(
        encodes or representation(), net or score_model(), None, dtype
    )


@dtypes
@pytest.mark.parametrize("batch", [1, 3])
@torch.no_grad()
def test_score_model_computes_the_same(dtype, batch):
    net = score_model()
    x, condition = draw(2, batch, 4, 16, 8)
    t = torch.tensor(0.3).expand(batch)
    estimate = networks(dtype, net=net).bind(condition, x)(x, t)
    assert estimate.dtype == torch.float32
    assert relative_error(estimate, net(x, condition, t)) < TOLERANCE[dtype]


@dtypes
@pytest.mark.parametrize("batch", [1, 3])
@torch.no_grad()
def test_representation_computes_the_same(dtype, batch):
    original = representation()
    original.latent_scale.fill_(0.07)  # which half precision would round
    features = draw(batch, 2, 32, 16)
    fast = networks(dtype, original)
    actual, expected = fast.encode(features), original.encode(features)
    assert relative_error(actual.latent, expected.latent) < TOLERANCE[dtype]
    assert actual.latent.dtype == torch.float32 and actual.size == expected.size
    decoded = fast.decode(expected.latent, actual.skips, actual.size)
    assert decoded.dtype == torch.float32
    assert relative_error(decoded, original.decode(*expected)) < TOLERANCE[dtype]


@dtypes
@torch.no_grad()
def test_skips_are_a_flat_tuple_of_tensors_as_the_original_returns_them(dtype):
    original, features = representation(), draw(3, 2, 32, 16)
    skips, expected = networks(dtype, original).encode(features).skips, None
    expected = original.encode(features).skips
    assert isinstance(skips, tuple)
    assert [s.shape for s in skips] == [s.shape for s in expected]
    assert all(torch.is_tensor(skip) for skip in skips)


@dtypes
def test_original_stays_as_it_is(dtype):
    net = score_model()
    net(*draw(2, 1, 4, 16, 8), torch.ones(1)).sum().backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    copied = inference_copy(net, dtype)
    assert net.training and not copied.training
    assert all(torch.equal(v, before[n]) for n, v in net.state_dict().items())
    assert all(v.is_contiguous() for v in net.parameters())
    trainable = [p for p in net.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trainable)
    assert not any(p.requires_grad for p in copied.parameters())


def test_time_embedding_keeps_its_precision():
    copied = inference_copy(score_model(), torch.bfloat16)
    kept = {
        name.partition(".")[0]
        for name, parameter in copied.named_parameters()
        if parameter.dtype == torch.float32
    }
    assert kept == {"time_embedding"}


class Contrary(ScoreNetwork):
    """Fails if its input is not of the dtype of its weights, but under autocast."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(4, 4, 1)
        self.seen = Notes()

    def forward(self, x_t, condition, t):
        out = self.conv(x_t + condition)
        self.seen.append((x_t.dtype, self.conv.weight.dtype, out.dtype))
        return out


@dtypes
@torch.no_grad()
def test_network_that_knows_nothing_of_copies_computes_under_autocast(dtype):
    plain = Contrary()
    x, condition = draw(2, 1, 4, 16, 8)
    estimate = networks(dtype, net=plain).bind(condition, x)(x, torch.ones(1))
    assert plain.seen == [(torch.float32, torch.float32, dtype)]
    expected = plain(x, condition, None)
    assert relative_error(estimate.float(), expected) < TOLERANCE[dtype]


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision_is_that_of_the_networks_alone(precision, dtype):
    model = restorer(score_model=Scaled(), precision=precision)
    assert model.restore(speech(1, 100)).dtype == torch.float32
    assert model.score_model.seen == [(dtype, torch.float32, 1)]


class Blurred(type(spectrogram_representation())):
    """A convolution that says nothing of weight dtypes, and a skip."""

    def __init__(self):
        super().__init__(CompressedSpectrogram(62, 16))
        self.conv = torch.nn.Conv2d(2, 2, 3, padding=1)

    def encode_features(self, features):
        return Encoded(self.conv(features), (features,), ())

    def decode_features(self, latent, skips, size):
        return self.conv(latent) + skips[0]


def test_representation_that_knows_nothing_of_copies_works_in_bf16():
    torch.manual_seed(0)
    parts = {"representation": Blurred(), "score_model": Entangled()}
    exact, wavs = restorer(**parts), speech(2, 300)
    half = exact.with_settings(precision="bf16").restore(wavs)
    assert half.dtype == torch.float32
    expected = exact.restore(wavs)
    assert 0 < relative_error(half, expected) < 3e-2


# prepare() -------------------------------------------------------------------


def latent_restorer(**changes):
    options = {
        "representation": representation(),
        "score_model": score_model(),
        "sampler": "bridge_sde",
        "sampler_options": {"num_steps": 3},
        "window_frames": 16,
        "overlap_frames": 4,
        "windows_per_batch": 2,
    }
    return restorer(**options | changes)


def wavs():
    return 0.1 * draw(1, 1000)  # five windows


def change_in_place(model):
    with torch.no_grad():
        for weight in [
            *model.score_model.parameters(),
            model.representation.latent_scale,
        ]:
            weight.mul_(1.5)


def change_by_loading(model):
    state = {n: 1.5 * v for n, v in model.score_model.state_dict().items()}
    model.score_model.load_state_dict(state, assign=True)


@pytest.mark.parametrize("change", [change_in_place, change_by_loading])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_prepared_restorer_computes_with_the_present_weights(change, precision):
    model, fresh = (latent_restorer(precision=precision) for _ in range(2))
    before = model.restore(wavs())
    for changed in (model, fresh):
        change(changed)
    model.prepare()
    restored = model.restore(wavs())
    assert torch.equal(restored, fresh.restore(wavs()))
    assert not torch.allclose(restored, before, atol=1e-3)


def test_copies_do_not_follow_the_weights_until_prepare():
    model = latent_restorer(precision="bf16")
    other = model.with_settings(seed=1)
    before = model.restore(wavs()), other.restore(wavs())
    change_by_loading(model)
    assert torch.equal(model.restore(wavs()), before[0])
    assert torch.equal(other.restore(wavs()), before[1])
    other.prepare()  # of all restorers that share the networks
    assert not torch.allclose(model.restore(wavs()), before[0], atol=1e-3)


def test_copies_are_built_once_for_each_precision():
    model = latent_restorer()
    first = model._networks()
    assert model.with_settings(num_steps=2)._networks() is first
    half = model.with_settings(precision="bf16")
    assert half._networks() is not first
    assert model._networks() is first and half._networks() is half._networks()
    assert model.prepare() is not first


# Compilation -----------------------------------------------------------------


@pytest.fixture
def compiler(monkeypatch):
    """One that does nothing but note the shapes it is called with."""
    calls = []

    def compile(function, **options):
        assert options["dynamic"] is False

        def compiled(*arguments):
            calls.append((function.__name__, arguments[0].shape[0]))
            return function(*arguments)

        return compiled

    monkeypatch.setattr(torch, "compile", compile)
    return calls


def test_compiled_networks_see_batches_of_one_size(compiler):
    plain = latent_restorer().restore(wavs())
    assert compiler == []
    fast = latent_restorer(compile=True)
    torch.testing.assert_close(fast.restore(wavs()), plain, atol=1e-5, rtol=0)
    # On a CPU the representation takes window by window.
    names = {("encode_features", 1), ("step", 2), ("decode_features", 1)}
    assert set(compiler) == names
    steps = [name for name, _ in compiler].count("step")
    assert steps == 1 + 3 * 3  # warm-up, and three steps for each of three batches


def test_warm_up_happens_once_and_is_announced(compiler, caplog):
    fast = latent_restorer(compile=True)
    for _ in range(2):
        fast.restore(wavs())
    fast.with_settings(seed=1).autoencoder_bound(wavs(), wavs())
    begun, done = (record.message for record in caplog.records)
    assert begun == "compiling the networks for 2 windows a batch: takes minutes"
    assert done.startswith("compiled in") and done.endswith(" s")


@pytest.fixture
def no_compiler(monkeypatch):
    def compile(function, **options):
        def compiled(*arguments):
            raise RuntimeError("no working C++ compiler\nat all")

        return compiled

    monkeypatch.setattr(torch, "compile", compile)


def test_failing_compilation_is_replaced_with_one_warning(no_compiler, caplog):
    fast, expected = latent_restorer(compile=True), latent_restorer().restore(wavs())
    for _ in range(2):
        assert torch.equal(fast.restore(wavs()), expected)
    warnings = [r.message for r in caplog.records if "does not work" in r.message]
    assert warnings == [
        "compilation does not work here (no working C++ compiler): computing without"
    ]


def test_failing_compilation_is_an_error_without_fallback(no_compiler):
    fast = latent_restorer(compile=True, fallback=False)
    for _ in range(2):
        with pytest.raises(UsageError, match="no working C.. compiler"):
            fast.restore(wavs())


def test_networks_without_compiled_functions_are_restored_without(caplog):
    model = restorer(score_model=Scaled(), compile=True)
    expected = model.with_settings(compile=False).restore(wavs())
    assert torch.equal(model.restore(wavs()), expected)
    (record,) = caplog.records
    assert "Scaled cannot be compiled: computing without" in record.message


def test_missing_precision_is_an_error_without_fallback(monkeypatch, caplog):
    monkeypatch.setattr(devices, "_has_arithmetic", lambda dtype, device: False)
    with pytest.raises(UsageError, match="no bf16 arithmetic"):
        latent_restorer(precision="bf16", fallback=False).restore(wavs())
    expected = latent_restorer().restore(wavs())
    for _ in range(2):
        restored = latent_restorer(precision="bf16").restore(wavs())
        assert torch.equal(restored, expected)
    assert len(caplog.records) == 1


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_networks_restore_the_same(precision):
    plain = latent_restorer(precision=precision).restore(wavs())
    fast = latent_restorer(precision=precision, compile=True, fallback=False)
    tolerance = {"fp32": 1e-4, "bf16": 1e-1}[precision]
    assert relative_error(fast.restore(wavs()), plain) < tolerance
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    fast.restore(wavs())
    fast.restore(wavs()[:, :100])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
