"""The Brownian bridge with exponential diffusion against its published formulas."""

import math

import pytest
import torch
from estimates import (
    Estimate,
    assert_exact_for_a_point_mass,
    generator,
    latents,
    point_mass,
)
from scipy.special import expi

from lafufu_sb.diffusion.processes import BBED
from lafufu_sb.diffusion.samplers import get_sampler
from lafufu_sb.diffusion.samplers.steps import SPACINGS, time_grid
from lafufu_sb.errors import UsageError

TIMES = torch.tensor([0.01, 0.03, 0.1, 0.25, 0.5, 0.7, 0.75, 0.9, 0.99, 0.999])
DEVIATIONS = {
    0.52: [0.07209, 0.12481, 0.22747, 0.35756, 0.49169]
    + [0.5395, 0.53759, 0.45193, 0.17941, 0.05891],
    0.51: [0.0714, 0.12361, 0.22527, 0.35411, 0.48693]
    + [0.53428, 0.5324, 0.44757, 0.17768, 0.05834],
}


@pytest.mark.parametrize("c", DEVIATIONS)
def test_deviation_has_the_tabulated_values(c):
    expected = torch.tensor(DEVIATIONS[c])
    torch.testing.assert_close(BBED(c=c).std(TIMES), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("k", [1.5, 2.6, 10.0])
def test_deviation_is_the_published_closed_form(k):
    t = torch.cat([torch.tensor([1e-4, 0.001]), TIMES]).double()
    log_k, c = math.log(k), 0.52
    integrals = torch.from_numpy(expi((2 * (t - 1) * log_k).numpy()))
    integrals = integrals - expi(-2 * log_k)
    growth = k ** (2 * t) - 1 + t + 2 * k**2 * log_k * (1 - t) * integrals
    expected = ((1 - t) * c * growth).sqrt()
    torch.testing.assert_close(BBED(k=k, c=c).std(t), expected, rtol=1e-6, atol=0)
    single = BBED(k=k, c=c).std(t.float())
    torch.testing.assert_close(single, expected.float(), rtol=2e-5, atol=0)


def test_diffusion_levels_and_ratios_have_the_tabulated_values():
    process, t = BBED(c=0.52), torch.tensor([0.03, 0.5, 0.9, 0.999])
    tables = {
        process.diffusion: [0.74208, 1.16276, 1.70403, 1.8731],
        process.noise_level: [0.1287, 0.9834, 4.5193, 58.908],
        process.half_log_snr: [2.05047, 0.01677, -1.50836, -4.07598],
    }
    for function, expected in tables.items():
        expected = torch.tensor(expected)
        torch.testing.assert_close(function(t), expected, atol=6e-5, rtol=1e-5)


def test_deviation_has_a_gradient_and_keeps_shape_and_dtype():
    t = torch.tensor([0.3, 0.7134, 0.95], dtype=torch.float64, requires_grad=True)
    std = BBED().std(t)
    assert std.dtype == torch.float64
    (slope,) = torch.autograd.grad(std.sum(), t)
    assert slope[0] > 0 > slope[2] and abs(float(slope[1])) < 1e-3  # the largest
    assert BBED().std(torch.tensor(0.5)).shape == ()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(BBED().std(TIMES), BBED().std(TIMES.clone()))
        assert BBED().std(TIMES).dtype == torch.float32


def walk(num_steps, t_start=None, name="predictor_corrector", **options):
    """End of a sampler with the exact score of the point 0, from 1, without noise."""
    process, y = BBED(c=0.52, noise_variance=0.0), torch.ones(1, 1, 1, 1)
    if name == "predictor_corrector":
        options["corrector"] = "none"
    options |= {"num_steps": num_steps, "t_start": t_start, "estimates": "score"}
    sampler = get_sampler(name, process, **options)
    return float(sampler(point_mass(process, 0 * y, y), y))


@pytest.mark.parametrize(
    ("num_steps", "t_start", "end"),
    [
        (1, None, -0.01004),
        (2, None, 0.00029),
        (5, None, 0.0),
        (30, None, 0.0),
        (1, 0.5, -0.39811),
        (2, 0.5, 0.01016),
        (15, 0.5, -0.00042),
    ],
)
def test_predictor_ends_where_it_should_for_a_point_mass(num_steps, t_start, end):
    assert walk(num_steps, t_start) == pytest.approx(end, abs=1e-5)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("t_start", [None, 0.9, 0.5])
@pytest.mark.parametrize("num_steps", [1, 2, 5])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("probability_flow", {"method": "exponential"}),
        ("probability_flow", {"method": "multistep"}),
        ("ancestral", {}),
    ],
)
def test_exponential_steps_are_exact_for_a_point_mass(
    name, options, num_steps, t_start, spacing
):
    options = {"num_steps": num_steps, "t_start": t_start, "spacing": spacing} | options
    assert_exact_for_a_point_mass(BBED(), name, **options)


@pytest.mark.parametrize("method", ["euler", "heun"])
@pytest.mark.parametrize("num_steps", [3, 10, 30, 100])
def test_step_that_multiplies_the_noise_is_refused_with_what_helps(method, num_steps):
    """The first of 30 uniform steps leaves a deviation of 1.032 instead of 0.309."""
    message = "would leave .* times the noise of the BBED after its step from t = 0.999"
    with pytest.raises(UsageError, match=f"{message}.*exponential.*t_start of 0.9"):
        get_sampler("probability_flow", BBED(), method=method, num_steps=num_steps)


def test_refusal_says_by_how_much_the_noise_grows():
    with pytest.raises(UsageError, match="leave 3.3 times the noise"):
        get_sampler("probability_flow", BBED(), method="euler", num_steps=30)


@pytest.mark.parametrize("method", ["euler", "heun"])
@pytest.mark.parametrize(
    "options", [{"t_start": 0.9}, {"t_start": 0.5}, {"spacing": "log_sigma"}]
)
def test_steps_of_the_ode_that_are_offered_instead_are_stable(method, options):
    """Relative to that of the process, the noise never doubles on the way."""
    process, num_steps = BBED(), 30
    x0, y = latents(1, 2, 16, 16), latents(1, 2, 16, 16, seed=1)
    estimate = Estimate(point_mass(process, x0, y))
    sampler = get_sampler(
        "probability_flow", process, method=method, num_steps=num_steps, **options
    )
    restored = sampler(estimate, y, generator=generator())
    assert float((restored - x0).abs().max()) < 0.05
    noise = [
        float(((x - process.mean(x0, y, t)) / process.std(t)).std())
        for x, t in zip(estimate.states, estimate.times, strict=True)
    ]
    assert max(noise) < 2 * noise[0]


def gaussian_flow(num_steps, **options):
    """Error of the last state but one on the flow of normally distributed data."""
    process, spread = BBED(), 0.3
    y = latents(1, 2, 8, 8, seed=1).double()
    centre = 0.4 * y

    def std2(t):
        a, std = process.data_weight(t), process.std(t)
        return (a * spread).square() + 0.5 * std.square()

    def score(x, t):
        t = t.double()
        return -0.5 * (x - process.mean(centre, y, t)) / std2(t)

    estimate = Estimate(score)
    sampler = get_sampler("probability_flow", process, num_steps=num_steps, **options)
    sampler(estimate, y, generator=generator())
    times = [estimate.times[i].double() for i in (0, -1)]
    first, last = (
        (estimate.states[i] - process.mean(centre, y, t)) / std2(t).sqrt()
        for i, t in zip((0, -1), times, strict=True)
    )
    return float((last - first).abs().max())


@pytest.mark.parametrize(
    ("method", "order", "t_start"),
    [
        *[(m, n, 0.9) for m, n in [("euler", 1), ("exponential", 1)]],
        *[(m, 2, 0.9) for m in ("heun", "multistep")],
        ("exponential", 1, None),
        ("multistep", 2, None),
    ],
)
def test_error_falls_with_the_order_of_the_method(method, order, t_start):
    options = {"method": method, "t_start": t_start, "spacing": "log_sigma"}
    coarse, fine = (gaussian_flow(n, **options) for n in (61, 241))
    found = math.log(coarse / fine, 4)
    assert found > order - 0.3
    assert order == 2 or found < 1.3


def test_log_sigma_spacing_divides_the_rising_level():
    process = BBED()
    times = time_grid(process, 9, spacing="log_sigma").double()
    steps = (process.std(times) / (1 - times)).log().diff()
    torch.testing.assert_close(steps, steps.mean().expand(8), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "options", [{"t_max": 1.0}, {"k": -1.0}, {"c": 0.0}, {"t_eps": 0.6}]
)
def test_values_out_of_range_are_refused(options):
    with pytest.raises(UsageError, match=f"{next(iter(options))} must be a number"):
        BBED(**options)
