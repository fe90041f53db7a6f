"""One contract for all samplers, exact recovery, and the refusals."""

import math

import pytest
import torch

from lafufu_sb.diffusion.objectives import DataPrediction, ScoreMatching
from lafufu_sb.diffusion.samplers import SAMPLERS, bridge_ode, bridge_sde, get_sampler
from lafufu_sb.diffusion.sde import OUVESDE, SchroedingerBridge

PROCESSES = {name: process() for name, (_, process) in SAMPLERS.items()}

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
    ("bridge_ode", {"num_steps": 6}, 6),
    ("bridge_ode", {"num_steps": 1}, 1),
    ("bridge_sde", {"num_steps": 6}, 6),
    ("bridge_sde", {"num_steps": 1}, 1),
]
WITHOUT_NOISE = [("bridge_ode", 6), ("bridge_ode", 1), ("bridge_sde", 1)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def latents(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed))


class Estimate:
    """A bounded estimate that keeps what it is asked."""

    def __init__(self, function=lambda x, t: torch.tanh(x)):
        self.function = function
        self.states, self.times = [], []

    def __call__(self, x, t):
        self.states.append(x.clone())
        self.times.append(t.clone())
        return self.function(x, t)


@pytest.mark.parametrize(("name", "options", "calls"), CASES)
def test_contract(name, options, calls):
    """Finite, same shape, N steps mean N calls, seeded, pure."""
    sde = PROCESSES[name]
    sampler = get_sampler(name, sde, **options)
    y = latents(2, 3, 4, 5)
    kept, global_state = y.clone(), torch.get_rng_state()

    estimate = Estimate()
    first = sampler(estimate, y, generator=generator(1))
    assert first.shape == y.shape and first.dtype == y.dtype
    assert first.isfinite().all()

    assert len(estimate.times) == calls
    assert all(t.shape == (2,) for t in estimate.times)
    assert all(x.shape == y.shape for x in estimate.states)
    times = torch.stack(estimate.times)
    assert times[0, 0] == sde.t_max and times.min() >= sde.t_eps * 0.999
    assert (times.diff(dim=0) <= 0).all()

    assert torch.equal(sampler(Estimate(), y, generator=generator(1)), first)
    other = sampler(Estimate(), y, generator=generator(2))
    noisy = (name, options.get("num_steps")) not in WITHOUT_NOISE
    assert torch.equal(other, first) is not noisy

    assert torch.equal(y, kept)
    assert torch.equal(torch.get_rng_state(), global_state)


def test_contract_covers_all_samplers():
    assert {name for name, _, _ in CASES} == set(SAMPLERS)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_items_of_a_batch_do_not_mix(name):
    y = latents(3, 2, 4, 4)
    sampler = get_sampler(name, PROCESSES[name], num_steps=4)

    def noise(like):
        # Depends on the place in the item alone, not on the batch.
        return latents(1, *like.shape[1:], seed=5).expand(like.shape)

    together = sampler(Estimate(), y, generator=noise)
    alone = [sampler(Estimate(), item[None], generator=noise) for item in y]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("predictor_corrector", {"corrector": "ald"}),
        ("predictor_corrector", {"corrector": "none"}),
        ("probability_flow", {"method": "euler"}),
        ("probability_flow", {"method": "heun"}),
    ],
)
def test_exact_score_recovers_the_clean_latent(name, options):
    sde = OUVESDE()
    x0, y = latents(2, 2, 8, 8), latents(2, 2, 8, 8, seed=1)

    def network(x_t, y, t):
        """The noise over sigma, as a perfectly trained network gives it."""
        std = sde.std(t).reshape(-1, 1, 1, 1)
        return (x_t - sde.mean(x0, y, t)) / std.square()

    def score(x, t):
        return ScoreMatching.estimate(network, x, y, t)

    sampler = get_sampler(name, sde, num_steps=30, **options)
    restored = sampler(score, y, generator=generator())
    assert float((y - x0).abs().mean()) > 1
    # Noise of 0.026 is left at t_eps; half of it would already be seen here.
    assert float((restored - x0).abs().max()) < 0.02


def test_heun_follows_the_flow_more_closely_than_euler():
    """The exact flow to x_0 keeps its noise: mean(t) + std(t) z with one z."""
    sde = OUVESDE()
    x0, y = latents(1, 2, 8, 8), latents(1, 2, 8, 8, seed=1)

    def score(x, t):
        return -(x - sde.mean(x0, y, t)) / sde.std(t).square().reshape(-1, 1, 1, 1)

    errors = {}
    for method in ("euler", "heun"):
        estimate = Estimate(score)
        sampler = get_sampler("probability_flow", sde, num_steps=30, method=method)
        sampler(estimate, y, generator=generator())
        first, last = (
            (estimate.states[i] - sde.mean(x0, y, estimate.times[i]))
            / sde.std(estimate.times[i])
            for i in (0, -1)
        )
        errors[method] = float((last - first).abs().max())
    assert errors["heun"] < 0.3 * errors["euler"]


@pytest.mark.parametrize("name", ["bridge_ode", "bridge_sde"])
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_exact_data_prediction_recovers_the_clean_latent(name, num_steps):
    x0, y = latents(2, 2, 4, 4), latents(2, 2, 4, 4, seed=1)

    def estimate(x, t):
        return DataPrediction.estimate(lambda x_t, y, t: x0 - y, x, y, t)

    sampler = get_sampler(name, SchroedingerBridge(), num_steps=num_steps)
    restored = sampler(estimate, y, generator=generator())
    torch.testing.assert_close(restored, x0, atol=1e-6, rtol=0)


def test_last_corrected_step_ends_at_its_mean():
    """Whatever is drawn after the last estimate is not in the result."""
    sampler = get_sampler("predictor_corrector", OUVESDE(), num_steps=3)
    y = latents(1, 2, 4, 4)

    def restored(last):
        estimate = Estimate()
        draws = generator()

        def noise(like):
            drawn = torch.randn(like.shape, generator=draws)
            return torch.full_like(drawn, last) if len(estimate.times) == 6 else drawn

        return sampler(estimate, y, generator=noise)

    assert torch.equal(restored(0.0), restored(1e3))


@pytest.mark.parametrize("corrector", ["none", "ald"])
def test_one_step_of_predictor_and_corrector(corrector):
    """By hand, from the formulas: one step, from 1 to 0."""
    sde, y, size = OUVESDE(), torch.full((1, 1, 1, 1), 0.5), 2 * (0.5 * 0.73148) ** 2
    sampler = get_sampler(
        "predictor_corrector", sde, num_steps=1, corrector=corrector, snr=0.5
    )
    z, half = 1.0, 0.5**0.5  # noise of variance 0.5 per channel
    x = 0.5 + 0.73148 * half * z
    if corrector == "ald":
        x = x + size * (-2 * x) + math.sqrt(2 * size) * half * z
    expected = x - (2.0 * (0.5 - x) - 2.14597**2 * (-2 * x)) * 1.0
    actual = sampler(lambda x, t: -2 * x, y, generator=torch.ones_like)
    assert float(actual) == pytest.approx(expected, abs=1e-4)


def published_bridge_ode(estimate, y, times, k=2.6, c=0.4):
    """States of the ODE with the weights as published, from just below one."""

    def grown(t):
        return c * (k ** (2 * t) - 1) / (2 * math.log(k))

    states = [y]
    for p, t in zip(times[:-1], times[1:], strict=True):
        x = states[-1]
        s_p, s_t, total = grown(p), grown(t), grown(1.0)
        left_p, left_t = total - s_p, total - s_t
        w_x = math.sqrt(s_t * left_t / (s_p * left_p))
        w_data = (left_t - math.sqrt(left_p * s_t * left_t / s_p)) / total
        w_y = (s_t - math.sqrt(s_p * s_t * left_t / left_p)) / total
        x0_hat = estimate(x, torch.full((y.shape[0],), p))
        states.append(w_x * x + w_data * x0_hat + w_y * y)
    return states


@pytest.mark.parametrize(
    "function",
    [
        lambda x, t: torch.full_like(x, 0.7),
        lambda x, t: 0.3 * x + 0.2 + 0.1 * t.to(x).reshape(-1, 1, 1, 1),
        lambda x, t: torch.tanh(2 * x),
    ],
)
def test_bridge_ode_has_the_published_weights(function):
    """In all states but the last, which is the last estimate instead."""
    bridge, y = SchroedingerBridge(), latents(2, 2, 4, 4).double()
    times = torch.linspace(1, bridge.t_eps, 9, dtype=torch.float64).tolist()
    times[0] = 1 - 1e-9
    expected = published_bridge_ode(function, y, times)
    estimate = Estimate(function)
    end = bridge_ode(estimate, bridge, y, num_steps=8)
    for actual, state in zip(estimate.states, expected[:-1], strict=True):
        torch.testing.assert_close(actual, state, atol=1e-4, rtol=1e-4)
    assert torch.equal(end, function(estimate.states[-1], estimate.times[-1]))


@pytest.mark.parametrize("num_steps", [1, 4, 50])
def test_published_end_to_end_coefficients(num_steps):
    """0.99997 of a constant estimate and less than 0.0006 of y; here 1 and 0."""
    times = torch.linspace(1, 1e-4, num_steps + 1, dtype=torch.float64).tolist()
    times[0] = 1 - 1e-9
    for of_data, of_y in ((1.0, 0.0), (0.0, 1.0)):
        y = torch.full((1, 1, 1, 1), of_y, dtype=torch.float64)
        estimate = Estimate(lambda x, t, value=of_data: torch.full_like(x, value))
        published = float(published_bridge_ode(estimate, y, times)[-1])
        ours = float(bridge_ode(estimate, SchroedingerBridge(), y, num_steps=num_steps))
        assert ours == of_data
        assert published == pytest.approx(0.99997 * of_data, abs=6e-4)


def test_bridge_ode_stays_on_the_mean_when_the_estimate_is_exact():
    bridge = SchroedingerBridge()
    x0, y = latents(2, 2, 4, 4), latents(2, 2, 4, 4, seed=1)
    estimate = Estimate(lambda x, t: x0)
    bridge_ode(estimate, bridge, y, num_steps=5)
    for x, t in zip(estimate.states, estimate.times, strict=True):
        torch.testing.assert_close(x, bridge.mean(x0, y, t), atol=1e-5, rtol=0)


def test_bridge_sde_has_the_marginals_of_the_bridge():
    bridge = SchroedingerBridge(noise_variance=0.5)
    x0 = torch.full((1, 1, 100, 200), 1.0)
    y = torch.full_like(x0, -1.0)
    estimate = Estimate(lambda x, t: x0)
    bridge_sde(estimate, bridge, y, num_steps=5, generator=generator())
    assert len(estimate.states) == 5
    for x, t in zip(estimate.states[1:], estimate.times[1:], strict=True):
        mean = float(bridge.mean(x0, y, t).mean())
        assert float(x.mean()) == pytest.approx(mean, abs=0.01)
        std = 0.5**0.5 * float(bridge.std(t))
        assert float(x.std()) == pytest.approx(std, rel=0.03)


def test_unknown_sampler_is_refused_with_the_choice():
    with pytest.raises(ValueError, match="'euler' is unknown.*bridge_ode, bridge_sde"):
        get_sampler("euler", SchroedingerBridge())


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_sampler_of_another_process_is_refused(name):
    other = {OUVESDE: SchroedingerBridge, SchroedingerBridge: OUVESDE}
    with pytest.raises(ValueError, match=f"{name}' does not fit this model"):
        get_sampler(name, other[type(PROCESSES[name])]())


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@pytest.mark.parametrize("num_steps", [0, -1, 1.5, True, None, "8"])
def test_number_of_steps_must_be_a_whole_number(name, num_steps):
    with pytest.raises(ValueError, match="num_steps must be a whole number"):
        get_sampler(name, PROCESSES[name], num_steps=num_steps)


@pytest.mark.parametrize("option", ["snr", "generator", "estimate", "N"])
def test_unknown_option_is_refused(option):
    with pytest.raises(ValueError, match=f"has no option {option}: it has num_steps"):
        get_sampler("bridge_ode", SchroedingerBridge(), **{option: 1})


@pytest.mark.parametrize(
    ("name", "option"),
    [("predictor_corrector", "corrector"), ("probability_flow", "method")],
)
def test_unknown_corrector_or_method_is_refused(name, option):
    with pytest.raises(ValueError, match=f"{option} must be"):
        sampler = get_sampler(name, OUVESDE(), **{option: "nonsense"})
        sampler(Estimate(), latents(1, 1, 2, 2))
