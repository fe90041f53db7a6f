"""Time goes to the part that took it; work is counted as published."""

import pytest
import torch
from small import restorer

import timing
from lafufu_sb.errors import UsageError
from systems import PUBLISHED, find_system, known_systems
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


@pytest.fixture
def slow(clock, monkeypatch):
    """A restorer with a call of 5 s and an inverse spectrogram of 10 s."""
    made = restorer()
    step = clock.spend(5, made.objective.estimate)
    monkeypatch.setattr(made.objective, "estimate", step)
    spectrogram = made.representation.spectrogram
    inverse = clock.spend(10, spectrogram.inverse)
    monkeypatch.setattr(spectrogram, "inverse", inverse)
    return made


@pytest.mark.parametrize("batch", [1, 3])
def test_time_goes_to_the_part_that_took_it(slow, batch):
    parts = time_parts(slow, batch)
    assert parts == {"encoder": 0, "call": 5, "decoder": 0, "rest": 10}


@pytest.mark.parametrize("calls", [1, 4])
def test_computed_time_is_that_of_the_whole(slow, calls):
    assert time_whole(slow, calls) == seconds_of(time_parts(slow), calls)


def test_earlier_measurements_with_the_sampler_apart_still_count():
    parts = {"encoder": 1, "call": 5, "sampler": 1, "decoder": 2, "rest": 3}
    assert seconds_of(parts, 4) == 30


def test_sampler_with_other_calls_than_asked_is_refused(monkeypatch):
    monkeypatch.setattr(timing, "with_calls", lambda restorer, calls: restorer)
    with pytest.raises(ValueError, match="makes 1 calls, not 3"):
        time_whole(restorer(sampler_options={"num_steps": 1}), 3)


@pytest.mark.parametrize(
    "name, call_macs, parameters",
    [("sgmse128", 796.9e9, 64_739_854), ("lafufu128", 49.9e9, 64_744_452)],
)
def test_cost_is_that_of_the_published_sizes(name, call_macs, parameters):
    cost = count_cost(find_system(name).build("bf16", 256))
    # The count by hand leaves out the filters around each change of resolution.
    assert cost["call_macs"] == pytest.approx(call_macs, rel=0.003)
    assert cost["score_parameters"] == parameters


@pytest.mark.parametrize("product, convolution", [(1, 4), (4, 1)])
def test_peak_is_that_of_the_faster_work(product, convolution, clock, monkeypatch):
    def work(seconds):
        return clock.spend(seconds, lambda *args, **kwargs: None)

    monkeypatch.setattr(timing.torch, "matmul", work(product))
    monkeypatch.setattr(timing.F, "conv2d", work(convolution))
    rates = 2 * 2048**3 / product, 2 * 9 * (256 * 64) ** 2 / convolution
    assert timing.measure_peak(torch.device("cpu"), "fp32") == max(rates)


def test_peak_memory_counts_the_process():
    assert measure_memory(restorer()) > 100e6  # at least the interpreter with torch


@pytest.mark.accelerator
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_peak_memory_of_cuda_leaves_other_models_out(mini):
    device = torch.device("cuda")
    alone = measure_memory(mini.build("fp32", 32, device))
    other = torch.empty(100_000_000, device=device)
    beside = measure_memory(mini.build("fp32", 32, device))
    assert other.numel() and beside == pytest.approx(alone, rel=0.2)


def test_systems_are_those_of_the_recipes_and_shipped_folders(mini):
    names = list(known_systems())
    assert names[:6] == [f"sgmse{n}" for n in (128, 96, 64)] + [
        f"lafufu{n}" for n in (128, 192, 256)
    ]
    assert {"denoise", "denoise_small", "dereverb"} <= set(names[6:])
    assert find_system("lafufu192").name == "LAFUFU 192"
    assert find_system("sgmse96").full_band and not mini.full_band
    assert find_system(mini.key).text == mini.text
    with pytest.raises(UsageError, match="sgmse128.*denoise_small"):
        find_system("sgmse1024")


@pytest.mark.parametrize("calls", [1, 2, 5, 8])
def test_both_kinds_of_sampler_make_the_requested_calls(calls, tiny_sgmse, mini):
    for system, frames in ((tiny_sgmse, 64), (mini, 32)):
        changed = timing.with_calls(system.build("fp32", frames), calls)
        assert changed.sampler.calls == calls


def estimate_and_look(network):
    """The estimate, and whether each 3x3 convolution saw the default memory format."""
    seen = []
    for module in network.modules():
        if getattr(module, "kernel_size", None) == (3, 3):
            module.register_forward_pre_hook(
                lambda conv, args: seen.append(
                    args[0].is_contiguous() and conv.weight.is_contiguous()
                )
            )
    x, y = torch.randn(2, 1, 2, 768, 64, generator=torch.manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        return network(x, y, torch.tensor([0.5])), seen


def test_published_way_is_the_same_network_in_the_default_memory_format(
    tiny_sgmse, mini
):
    plain = tiny_sgmse.build("fp32", 64).score_model
    plain.to(memory_format=torch.channels_last)
    published = tiny_sgmse.build(PUBLISHED, 64).score_model
    with torch.no_grad():
        for weight in plain.parameters():  # no layer starts near zero: all count
            weight.add_(0.01 * torch.randn_like(weight))
    published.network.load_state_dict(plain.state_dict())
    expected, formats = estimate_and_look(plain)
    estimate, published_formats = estimate_and_look(published)
    assert all(published_formats) and not all(formats)
    torch.testing.assert_close(estimate, expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(UsageError, match="only SGMSE"):
        mini.build(PUBLISHED, 32)
