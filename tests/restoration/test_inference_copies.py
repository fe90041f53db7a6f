"""Twins compute what their originals compute, and keep up with them."""

import copy

import pytest
import torch

from lafufu_sb.diffusion.objectives import DataPrediction
from lafufu_sb.diffusion.sde import SchroedingerBridge
from lafufu_sb.errors import UsageError
from lafufu_sb.lobes.autoencoder import LatentAutoencoder
from lafufu_sb.lobes.ncsnpp import NCSNpp
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram
from lafufu_sb.restoration import devices
from lafufu_sb.restoration.inference_copies import Twin, Twins
from lafufu_sb.restoration.restorer import Restorer
from lafufu_sb.training.ema import ExponentialMovingAverage

# Largest relative error of a whole network; half precision has 8 or 11 bits.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}

dtypes = pytest.mark.parametrize("dtype", TOLERANCE)


@pytest.fixture(autouse=True)
def nothing_was_said():
    devices._warn_once.cache_clear()


def lively(network):
    """All weights at a scale that shows, near-zero ones too."""
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.ndim > 1 and not name.endswith("gain"):
                value.normal_(0, value[0].numel() ** -0.5)
            elif not name.endswith("frequencies"):
                value.add_(torch.randn_like(value), alpha=0.1)
    return network


def score_model():
    torch.manual_seed(0)
    settings = {"multipliers": (1, 2, 2), "blocks_per_level": 1, "output_layer": False}
    return lively(NCSNpp(data_channels=4, base_channels=8, **settings))


def autoencoder():
    torch.manual_seed(0)
    return lively(LatentAutoencoder(channels=8, latent_channels=4))


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def relative_error(actual, expected):
    return float((actual - expected).norm() / expected.norm())


def networks(dtype, ae=None, net=None):
    return Twins().networks(ae or autoencoder(), net or score_model(), dtype)


@dtypes
@pytest.mark.parametrize("batch", [1, 3])
@torch.no_grad()
def test_score_model_computes_the_same(dtype, batch):
    net = score_model()
    x, y = draw(2, batch, 4, 16, 8)
    t = torch.tensor(0.3).expand(batch)
    estimate = networks(dtype, net=net).bind(y)(x, y, t)
    assert estimate.dtype == torch.float32
    assert relative_error(estimate, net(x, y, t)) < TOLERANCE[dtype]


@dtypes
@pytest.mark.parametrize("batch", [1, 3])
@torch.no_grad()
def test_autoencoder_computes_the_same(dtype, batch):
    ae = autoencoder()
    ae.latent_scale.fill_(0.07)  # which half precision would round
    spectrograms = draw(batch, 2, 26, 22)
    fast = networks(dtype, ae=ae)
    actual, expected = fast.encode(spectrograms), ae.encode(spectrograms)
    assert relative_error(actual.latent, expected.latent) < TOLERANCE[dtype]
    assert actual.latent.dtype == torch.float32 and actual.size == expected.size
    decoded = fast.decode(expected.latent, actual.skips, actual.size)
    assert decoded.dtype == torch.float32
    assert relative_error(decoded, ae.decode(*expected)) < TOLERANCE[dtype]


@dtypes
def test_original_stays_as_it_is(dtype):
    net = score_model()
    net(*draw(2, 1, 4, 16, 8), torch.ones(1)).sum().backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    twin = Twin(net, dtype)
    assert net.training and not twin.module.training
    assert all(torch.equal(v, before[n]) for n, v in net.state_dict().items())
    assert all(v.is_contiguous() for v in net.parameters())
    trainable = [p for p in net.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trainable)
    assert not any(p.requires_grad for p in twin.module.parameters())


def test_time_embedding_keeps_its_precision():
    twin = Twin(score_model(), torch.bfloat16)
    kept = {
        name.partition(".")[0]
        for name, parameter in twin.module.named_parameters()
        if parameter.dtype == torch.float32
    }
    assert kept == {"time_embedding"}


def change_by_optimiser(net):
    net(*draw(2, 1, 4, 16, 8), torch.ones(1)).sum().backward()
    torch.optim.Adam(net.parameters(), lr=0.1).step()


def change_by_average(net):
    ema = ExponentialMovingAverage(net)
    change_by_optimiser(net)
    ema.copy_to_module()


def change_by_loading(net):
    net.load_state_dict({n: 2 * v for n, v in net.state_dict().items()})


def change_by_assigning(net):
    state = {n: 2 * v for n, v in net.state_dict().items()}
    net.load_state_dict(state, assign=True)


def change_a_parameter(net):
    net.stem.weight = torch.nn.Parameter(2 * net.stem.weight.detach())


@dtypes
@pytest.mark.parametrize(
    "change",
    [
        change_by_optimiser,
        change_by_average,
        change_by_loading,
        change_by_assigning,
        change_a_parameter,
    ],
)
def test_changes_of_the_original_arrive(change, dtype):
    net, ae, twins = score_model(), autoencoder(), Twins()
    x, y = draw(2, 1, 4, 16, 8)
    t = torch.full((1,), 0.5)
    twins.networks(ae, net, dtype)
    change(net)
    with torch.no_grad():
        estimate = twins.networks(ae, net, dtype).bind(y)(x, y, t)
        assert relative_error(estimate, net(x, y, t)) < TOLERANCE[dtype]


@dtypes
def test_twin_remains_the_same_while_weights_change_in_place(dtype):
    net, ae, twins = score_model(), autoencoder(), Twins()
    first = twins.networks(ae, net, dtype)
    change_by_optimiser(net)
    again = twins.networks(ae, net, dtype)
    assert again.score_model is first.score_model
    assert again.autoencoder is first.autoencoder
    assert twins.networks(ae, score_model(), dtype).score_model is not first.score_model


def test_copies_have_twins_of_their_own():
    twins, net, ae = Twins(), score_model(), autoencoder()
    first = twins.networks(ae, net, torch.float32)
    other = copy.deepcopy(twins).networks(ae, net, torch.float32)
    assert other.score_model is not first.score_model


class Plain(torch.nn.Module):
    """A network that knows nothing of twins."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(4, 4, 1)
        self.seen = []

    def forward(self, x, y, t):
        out = self.conv(x + y)
        self.seen.append((x.dtype, out.dtype))
        return out


@dtypes
@torch.no_grad()
def test_other_networks_compute_under_autocast(dtype):
    plain = Plain()
    fast = networks(dtype, net=plain)
    assert fast.score_model is plain
    x, y = draw(2, 1, 4, 16, 8)
    fast.bind(y)(x, y, torch.ones(1))
    assert plain.seen == [(torch.float32, dtype)]


# Compilation -----------------------------------------------------------------


def restorer(**changes):
    options = {
        "spectrogram": CompressedSpectrogram(n_fft=62, hop_length=16),
        "autoencoder": autoencoder(),
        "score_model": score_model(),
        "sde": SchroedingerBridge(),
        "objective": DataPrediction(),
        "sampler": "bridge_sde",
        "sampler_options": {"num_steps": 3},
        "window_frames": 16,
        "overlap_frames": 4,
        "windows_per_batch": 2,
    }
    return Restorer(**options | changes)


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


def wavs():
    return 0.1 * draw(1, 1000)  # five windows


def test_compiled_networks_see_batches_of_one_size(compiler):
    plain = restorer().restore(wavs())
    assert compiler == []
    fast = restorer(compile=True)
    torch.testing.assert_close(fast.restore(wavs()), plain, atol=1e-5, rtol=0)
    # On a CPU the autoencoder takes window by window.
    assert set(compiler) == {("encode", 1), ("step", 2), ("decode", 1)}
    steps = [name for name, _ in compiler].count("step")
    assert steps == 1 + 3 * 3  # warm-up, and three steps for each of three batches


def test_warm_up_happens_once_and_is_announced(compiler, caplog):
    fast = restorer(compile=True)
    for _ in range(2):
        fast.restore(wavs())
    fast.autoencoder_bound(wavs(), wavs())
    begun, done = (record.message for record in caplog.records)
    assert begun == "compiling the networks, 2 windows a batch: takes minutes"
    assert done.startswith("compiled in") and done.endswith(" s")


@pytest.fixture
def no_compiler(monkeypatch):
    def compile(function, **options):
        def compiled(*arguments):
            raise RuntimeError("no working C++ compiler\nat all")

        return compiled

    monkeypatch.setattr(torch, "compile", compile)


def test_failing_compilation_gives_way_with_one_warning(no_compiler, caplog):
    fast = restorer(compile=True)
    for _ in range(2):
        assert torch.equal(fast.restore(wavs()), restorer().restore(wavs()))
    warnings = [r.message for r in caplog.records if "does not work" in r.message]
    assert warnings == [
        "compilation does not work here (no working C++ compiler): computing without"
    ]


def test_failing_compilation_is_an_error_on_demand(no_compiler):
    fast = restorer(compile=True, fallback=False)
    for _ in range(2):
        with pytest.raises(UsageError, match="no working C.. compiler"):
            fast.restore(wavs())


def test_missing_precision_is_an_error_on_demand(monkeypatch, caplog):
    monkeypatch.setattr(devices, "_has_arithmetic", lambda dtype, device: False)
    with pytest.raises(UsageError, match="no bf16 arithmetic"):
        restorer(precision="bf16", fallback=False).restore(wavs())
    for _ in range(2):
        restored = restorer(precision="bf16").restore(wavs())
        assert torch.equal(restored, restorer().restore(wavs()))
    assert len(caplog.records) == 1


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_networks_restore_the_same(precision, caplog):
    plain = restorer(precision=precision).restore(wavs())
    fast = restorer(precision=precision, compile=True, fallback=False)
    tolerance = {"fp32": 1e-4, "bf16": 1e-1}[precision]
    assert relative_error(fast.restore(wavs()), plain) < tolerance
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    fast.restore(wavs())
    fast.restore(wavs()[:, :100])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
