"""Samplers of the bridge against the published weights and known flows."""

import math

import pytest
import torch
from estimates import Estimate, generator, latents

from lafufu_sb.diffusion.objectives import DataPrediction
from lafufu_sb.diffusion.processes import SchroedingerBridge
from lafufu_sb.diffusion.samplers import bridge_ode, bridge_sde, get_sampler
from lafufu_sb.diffusion.samplers.steps import SPACINGS, time_grid
from lafufu_sb.errors import UsageError


@pytest.mark.parametrize("name", ["bridge_ode", "bridge_sde"])
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_exact_data_prediction_recovers_the_clean_latent(name, num_steps):
    x0, y = latents(2, 2, 4, 4), latents(2, 2, 4, 4, seed=1)

    def estimate(x, t):
        return DataPrediction().estimate(lambda *_: x0 - y, None, x, y, t)

    sampler = get_sampler(name, SchroedingerBridge(), num_steps=num_steps)
    restored = sampler(estimate, y, generator=generator())
    torch.testing.assert_close(restored, x0, atol=1e-6, rtol=0)


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


def bridge_flow(num_steps, method):
    """Largest error of the states for an estimate that is the weight of the data.

    With a = sin^2(phi) the flow's integral of a d(a / std) is tan(phi) - phi.
    """
    bridge, y = SchroedingerBridge(), latents(1, 2, 4, 4).double()

    def weight(t):
        return bridge.data_weight(t.double()).reshape(-1, 1, 1, 1)

    estimate = Estimate(lambda x, t: weight(t).expand(x.shape))
    bridge_ode(estimate, bridge, y, num_steps=num_steps, method=method)
    errors = []
    for x, t in zip(estimate.states[1:], estimate.times[1:], strict=True):
        a, phi = weight(t), weight(t).sqrt().asin()
        # std / (a / tan(phi)) is the root of what the noise grows to in all
        to_data = a * (1 - phi / phi.tan())
        errors.append(float((x - (1 - a) * y - to_data).abs().max()))
    return max(errors)


def test_multistep_follows_the_flow_of_the_bridge_more_closely():
    """Order 1 against 1.5: the noiseless start costs the two-point rule a half."""
    methods = ("exponential", "multistep")
    errors = {m: [bridge_flow(n, m) for n in (25, 100)] for m in methods}
    orders = {m: math.log(coarse / fine, 4) for m, (coarse, fine) in errors.items()}
    assert orders["exponential"] == pytest.approx(1, abs=0.1)
    assert orders["multistep"] > 1.3
    assert errors["multistep"][0] < 0.5 * errors["exponential"][0]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("network_time", ["previous", "new"])
@pytest.mark.parametrize("name", ["bridge_ode", "bridge_sde"])
def test_bridge_asks_at_the_time_of_its_convention(name, network_time, spacing):
    bridge, estimate = SchroedingerBridge(), Estimate()
    options = {"num_steps": 5, "spacing": spacing, "network_time": network_time}
    sampler = get_sampler(name, bridge, **options)
    sampler(estimate, latents(2, 2, 4, 4), generator=generator())
    grid = time_grid(bridge, 6, spacing=spacing)
    expected = grid[:-1] if network_time == "previous" else grid[1:]
    assert torch.equal(torch.stack(estimate.times)[:, 0], expected)


@pytest.mark.parametrize("name", ["bridge_ode", "bridge_sde"])
def test_convention_of_the_time_moves_no_state(name):
    """Only what the network is told: a network that does not care gives the same."""
    y, results = latents(1, 2, 4, 4), []
    for network_time in ("previous", "new"):
        options = {"num_steps": 4, "network_time": network_time}
        sampler = get_sampler(name, SchroedingerBridge(), **options)
        results.append(sampler(Estimate(), y, generator=generator()))
    assert torch.equal(*results)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", ["bridge_ode", "bridge_sde"])
def test_every_spacing_of_the_bridge_ends_at_the_last_estimate(name, spacing):
    estimate = Estimate()
    sampler = get_sampler(name, SchroedingerBridge(), num_steps=5, spacing=spacing)
    restored = sampler(estimate, latents(1, 2, 4, 4), generator=generator())
    assert torch.equal(restored, torch.tanh(estimate.states[-1]))


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


def test_bridge_samplers_have_no_t_start():
    with pytest.raises(UsageError, match="has no option t_start"):
        get_sampler("bridge_ode", SchroedingerBridge(), t_start=0.5)
