"""Time goes to the part that took it; work is counted as published."""

import pytest
import torch

import timing
from systems import find_system
from timing import count_cost, measure_memory, seconds_of, time_parts, time_whole


class Clock:
    """Time that passes only where a test lets it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def spend(self, seconds, function):
        """Have a function take so long."""

        def slow(*args, **kwargs):
            self.now += seconds
            return function(*args, **kwargs)

        return slow


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", clock)
    return clock


def slowed(restorer, clock):
    """Encoder 2 s, call 5 s, noise 1 s, decoder 3 s, inverse 10 s."""
    networks = restorer.inference_networks()
    autoencoder, score_model = networks.autoencoder, networks.score_model
    autoencoder.encode = clock.spend(2, autoencoder.encode)
    autoencoder.decode = clock.spend(3, autoencoder.decode)
    score_model.step = clock.spend(5, score_model.step)
    restorer.sde.noise = clock.spend(1, restorer.sde.noise)
    restorer.spectrogram.inverse = clock.spend(10, restorer.spectrogram.inverse)
    return restorer


def test_time_goes_to_the_part_that_took_it(clock, tiny_sgmse):
    restorer = slowed(tiny_sgmse.build("fp32", 64), clock)
    assert time_parts(restorer) == {
        "encoder": 2,
        "call": 5,
        "sampler": 1,
        "decoder": 3,
        "rest": 11,  # with the noise of the prior
    }


@pytest.mark.parametrize("calls", [1, 4, 6])
def test_computed_time_is_that_of_the_whole(calls, clock, tiny_sgmse):
    restorer = slowed(tiny_sgmse.build("fp32", 64), clock)
    parts = time_parts(restorer)
    assert time_whole(restorer, calls) == seconds_of(parts, calls)


def test_a_batch_is_restored_at_once(clock, mini):
    restorer = slowed(mini.build("fp32", 32), clock)
    assert time_parts(restorer, batch=3) == time_parts(restorer, batch=1)


def test_stand_ins_are_gone_after_a_failure(mini, monkeypatch):
    restorer = mini.build("fp32", 32)
    own = restorer.autoencoder, restorer.objective
    monkeypatch.setattr(restorer, "restore", lambda wavs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        time_parts(restorer)
    assert (restorer.autoencoder, restorer.objective) == own


def test_restorer_that_goes_past_the_stand_ins_is_noticed(mini, monkeypatch):
    restorer = mini.build("fp32", 32)
    monkeypatch.setattr(restorer, "restore", lambda wavs: wavs)
    with pytest.raises(ValueError, match=r"went through \[\]"):
        time_parts(restorer)


def test_sampler_with_other_calls_than_asked_is_refused(tiny_sgmse, monkeypatch):
    restorer = tiny_sgmse.build("fp32", 64)
    monkeypatch.setattr(
        timing,
        "set_calls",
        lambda r, calls: r.set_sampler("probability_flow", num_steps=calls),
    )
    with pytest.raises(ValueError, match="made 5 calls, not 3"):
        time_whole(restorer, 3)


@pytest.mark.parametrize(
    "name, call_macs, parameters",
    [
        ("sgmse128", 796.9e9, 64_739_854),
        ("lafufu128", 49.9e9, 64_744_452),
    ],
)
def test_cost_is_that_of_the_published_sizes(name, call_macs, parameters):
    cost = count_cost(find_system(name).build("bf16", 256))
    # The count by hand leaves out the filters around each change of resolution.
    assert cost["call_macs"] == pytest.approx(call_macs, rel=0.003)
    assert cost["score_parameters"] == parameters


def test_cost_grows_with_the_window(mini):
    short, long = (count_cost(mini.build("fp32", n)) for n in (32, 64))
    for part in ("encoder_macs", "decoder_macs"):
        assert long[part] == 2 * short[part]
    # The embedding of the time does not grow.
    assert long["call_macs"] == pytest.approx(2 * short["call_macs"], rel=0.001)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("product, convolution", [(1, 4), (4, 1)])
def test_peak_is_that_of_the_faster_work(
    precision, product, convolution, clock, monkeypatch
):
    monkeypatch.setattr(timing.torch, "matmul", clock.spend(product, torch.matmul))
    monkeypatch.setattr(timing.F, "conv2d", clock.spend(convolution, torch.conv2d))
    rates = 2 * 2048**3 / product, 2 * 9 * (256 * 64) ** 2 / convolution
    assert timing.measure_peak(torch.device("cpu"), precision) == max(rates)


def test_peak_memory_counts_the_network(tiny_sgmse):
    small = measure_memory(tiny_sgmse.build("fp32", 64))
    assert small > 100e6  # at least the interpreter with torch


@pytest.mark.accelerator
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_peak_memory_of_cuda_leaves_other_models_out(mini):
    device = torch.device("cuda")
    alone = measure_memory(mini.build("fp32", 32, device))
    other = torch.empty(100_000_000, device=device)
    beside = measure_memory(mini.build("fp32", 32, device))
    assert other.numel() and beside == pytest.approx(alone, rel=0.2)
