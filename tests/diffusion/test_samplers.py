"""One contract for all samplers, and the refusals."""

import itertools

import pytest
import torch
from estimates import Estimate, generator, latents

from lafufu_sb.diffusion.processes import OUVESDE, VP, Direct, SchroedingerBridge
from lafufu_sb.diffusion.registry import SAMPLERS, get_sampler
from lafufu_sb.diffusion.samplers.steps import SPACINGS
from lafufu_sb.errors import UsageError

PROCESSES = {
    "ancestral": VP(),
    "direct": Direct(),
    "predictor_corrector": OUVESDE(),
    "probability_flow": OUVESDE(),
    "bridge_ode": SchroedingerBridge(),
    "bridge_sde": SchroedingerBridge(),
}

# name, options, calls of the network (a corrector doubles them, Heun all but one)
CASES = [
    ("predictor_corrector", {}, 60),
    ("predictor_corrector", {"num_steps": 30, "corrector": "none"}, 30),
    ("predictor_corrector", {"num_steps": 1}, 2),
    ("predictor_corrector", {"num_steps": 1, "corrector": "none"}, 1),
    ("probability_flow", {"num_steps": 7, "method": "euler"}, 7),
    ("probability_flow", {"num_steps": 1, "method": "euler"}, 1),
    ("probability_flow", {"num_steps": 7, "method": "heun"}, 13),
    ("probability_flow", {"num_steps": 1, "method": "heun"}, 1),
    ("ancestral", {}, 30),
    ("ancestral", {"num_steps": 1}, 1),
    ("direct", {}, 1),
    ("bridge_ode", {"num_steps": 6}, 6),
    ("bridge_ode", {"num_steps": 1}, 1),
    ("bridge_sde", {"num_steps": 6}, 6),
    ("bridge_sde", {"num_steps": 1}, 1),
]
# What every sampler can be told without a change of its calls.
VARIATIONS = {
    "ancestral": {"t_start": [0.5], "eta": [0.0, 1.0]},
    "predictor_corrector": {"t_start": [0.5], "snr": [0.3]},
    "probability_flow": {"t_start": [0.5]},
    "bridge_ode": {
        "method": ["exponential", "multistep"],
        "network_time": ["previous", "new"],
    },
    "bridge_sde": {"network_time": ["previous", "new"]},
}
CASES += [
    ("probability_flow", {"num_steps": n, "method": method}, n)
    for n in (1, 2, 7)
    for method in ("exponential", "multistep")
]
CASES += [
    (name, {"num_steps": 6} | dict(zip(options, values, strict=True)), calls)
    for name, calls in zip(VARIATIONS, (6, 12, 11, 6, 6), strict=True)
    for options in [{"spacing": SPACINGS} | VARIATIONS[name]]
    for values in itertools.product(*options.values())
]
WITHOUT_NOISE = [("bridge_ode", 6), ("bridge_ode", 1), ("bridge_sde", 1)]
WITHOUT_NOISE += [("direct", None)]


@pytest.mark.parametrize(("name", "options", "calls"), CASES)
def test_contract(name, options, calls):
    """Finite, same shape, N steps mean N calls, seeded, pure."""
    process = PROCESSES[name]
    sampler = get_sampler(name, process, **options)
    y = latents(2, 3, 4, 5)
    kept, global_state = y.clone(), torch.get_rng_state()

    estimate = Estimate()
    first = sampler(estimate, y, generator=generator(1))
    assert first.shape == y.shape and first.dtype == y.dtype
    assert first.isfinite().all()

    assert len(estimate.times) == sampler.calls == calls
    assert all(t.shape == (2,) for t in estimate.times)
    assert all(x.shape == y.shape for x in estimate.states)
    times = torch.stack(estimate.times)
    if options.get("network_time") != "new":
        assert times[0, 0] == options.get("t_start", process.t_max)
    assert times.min() >= process.t_eps * 0.999
    assert (times.diff(dim=0) <= 0).all()

    assert torch.equal(sampler(Estimate(), y, generator=generator(1)), first)
    other = sampler(Estimate(), y, generator=generator(2))
    noisy = (name, options.get("num_steps")) not in WITHOUT_NOISE
    assert torch.equal(other, first) is not noisy

    assert torch.equal(y, kept)
    assert torch.equal(torch.get_rng_state(), global_state)


def test_contract_covers_all_samplers():
    assert {name for name, _, _ in CASES} == set(SAMPLERS) == set(PROCESSES)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_items_of_a_batch_do_not_mix(name):
    y = latents(3, 2, 4, 4)
    steps = {} if name == "direct" else {"num_steps": 4}
    sampler = get_sampler(name, PROCESSES[name], **steps)

    def noise(like):
        # Depends on the place in the item alone, not on the batch.
        return latents(1, *like.shape[1:], seed=5).expand(like.shape)

    together = sampler(Estimate(), y, generator=noise)
    alone = [sampler(Estimate(), item[None], generator=noise) for item in y]
    torch.testing.assert_close(together, torch.cat(alone))


def test_unknown_sampler_is_refused_with_those_that_fit():
    with pytest.raises(UsageError, match="'euler' is unknown.*bridge_ode, bridge_sde"):
        get_sampler("euler", SchroedingerBridge())


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_sampler_of_another_process_is_refused(name):
    other = OUVESDE() if "bridge" in name or name == "direct" else SchroedingerBridge()
    with pytest.raises(UsageError, match=f"{name}' does not fit this model"):
        get_sampler(name, other)


@pytest.mark.parametrize("num_steps", [0, -1, 1.5, True, None, "8"])
def test_number_of_steps_must_be_a_whole_number(num_steps):
    with pytest.raises(UsageError, match="num_steps must be a whole number"):
        get_sampler("bridge_ode", SchroedingerBridge(), num_steps=num_steps)


@pytest.mark.parametrize("option", ["snr", "generator", "estimate", "N"])
def test_unknown_option_is_refused(option):
    with pytest.raises(UsageError, match=f"has no option {option}: it has num_steps"):
        get_sampler("bridge_ode", SchroedingerBridge(), **{option: 1})


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("predictor_corrector", "corrector"),
        ("probability_flow", "method"),
        ("bridge_ode", "method"),
        ("bridge_ode", "network_time"),
        ("bridge_sde", "network_time"),
        *[(name, "spacing") for name in SAMPLERS if name != "direct"],
    ],
)
def test_unknown_choice_is_refused_before_sampling(name, option):
    with pytest.raises(UsageError, match=f"{option} must be '.*' or '.*', got 'other'"):
        get_sampler(name, PROCESSES[name], **{option: "other"})


def test_more_than_one_call_without_diffusion_is_refused():
    with pytest.raises(UsageError, match="makes one call: set num_steps to 1, got 8"):
        get_sampler("direct", Direct(), num_steps=8)


def test_counting_the_calls_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    assert get_sampler("predictor_corrector", OUVESDE()).calls == 60
    assert torch.equal(torch.get_rng_state(), state)
