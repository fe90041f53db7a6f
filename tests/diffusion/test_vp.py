"""The variance-preserving process against the published schedules of DDPM."""

import pytest
import torch
from estimates import assert_exact_for_a_point_mass, generator, latents, point_mass

from lafufu_sb.diffusion.processes import VP
from lafufu_sb.diffusion.samplers import get_sampler
from lafufu_sb.diffusion.samplers.steps import SPACINGS
from lafufu_sb.errors import UsageError

# 200 steps whose beta rises from 1e-4 to 2e-2, in units of time
SHORT = {"schedule": "linear", "beta_min": 0.02, "beta_max": 4.0, "t_max": 1.0}


def test_cosine_schedule_has_the_tabulated_values():
    """Step i of a thousand is the time (i + 1) / 1000."""
    indices = torch.tensor([0, 99, 249, 499, 749, 899])
    expected = torch.tensor([1.0, 0.9721, 0.8470, 0.4938, 0.1443, 0.02409])
    actual = VP().data_weight((indices + 1) / 1000).square()
    torch.testing.assert_close(actual, expected, atol=6e-5, rtol=0)


def test_linear_schedule_is_close_to_its_steps():
    """The product of 1 - beta of a step against the integral of the rate."""
    expected = torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 200), dim=0)
    for index, table in ((49, 0.8801), (99, 0.60248), (149, 0.32039), (199, 0.13218)):
        assert float(expected[index]) == pytest.approx(table, abs=1e-4)
    t = torch.arange(1, 201) / 200
    actual = VP(**SHORT).data_weight(t).square()
    torch.testing.assert_close(actual, expected, rtol=0.02, atol=0)


@pytest.mark.parametrize("process", [VP(), VP(**SHORT), VP(schedule="linear")])
def test_variance_is_preserved(process):
    t = torch.linspace(process.t_eps, process.t_max, 100).double()
    total = process.data_weight(t).square() + process.std(t).square()
    torch.testing.assert_close(total, torch.ones(100).double())


@pytest.mark.parametrize("process", [VP(), VP(**SHORT), VP(schedule="linear")])
def test_rate_is_the_slope_of_the_data_weight(process):
    t = torch.linspace(0.05, 0.9, 9).double().requires_grad_()
    log_power = 2 * process.data_weight(t).log()
    (slope,) = torch.autograd.grad(log_power.sum(), t)
    torch.testing.assert_close(process.beta(t), -slope)
    x, y = latents(9, 1, 2, 2), latents(9, 1, 2, 2, seed=1)
    drift = process.drift(x, y, t.float())
    torch.testing.assert_close(drift, 0.5 * slope.float().reshape(-1, 1, 1, 1) * x)
    torch.testing.assert_close(process.diffusion(t).square(), -slope)


def test_small_times_keep_their_digits():
    t = torch.tensor([1e-5, 1e-4, 1e-3])
    for process in (VP(), VP(schedule="linear")):
        torch.testing.assert_close(
            process.std(t), process.std(t.double()).float(), rtol=1e-4, atol=0
        )


def test_start_is_noise_at_the_end_and_around_the_input_before():
    y = torch.full((1, 1, 100, 100), 3.0)
    late, early = (VP().prior(y, generator(), t_start) for t_start in (None, 0.5))
    assert float(late.mean()) == pytest.approx(0, abs=0.03)
    assert float(late.std()) == pytest.approx(1, rel=0.03)
    assert float(early.mean()) == pytest.approx(3 * 0.4938**0.5, abs=0.03)
    assert float(early.std()) == pytest.approx((1 - 0.4938) ** 0.5, rel=0.03)


SAMPLERS = [
    ("ancestral", {}),
    ("ancestral", {"eta": 0.5}),
    *[("probability_flow", {"method": m}) for m in ("exponential", "multistep")],
]


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("t_start", [None, 0.5])
@pytest.mark.parametrize("num_steps", [1, 2, 5])
@pytest.mark.parametrize(("name", "options"), SAMPLERS)
def test_few_steps_are_exact_for_a_point_mass(
    name, options, num_steps, t_start, spacing, schedule
):
    options = {"num_steps": num_steps, "t_start": t_start, "spacing": spacing} | options
    assert_exact_for_a_point_mass(VP(schedule=schedule), name, **options)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("predictor_corrector", {}),
        ("probability_flow", {"method": "euler"}),
        ("probability_flow", {"method": "heun"}),
    ],
)
def test_small_steps_of_the_other_samplers_end_at_a_point_mass(name, options, schedule):
    process = VP(schedule=schedule)
    x0, y = latents(2, 2, 4, 4), latents(2, 2, 4, 4, seed=1)
    options = {"num_steps": 150, "spacing": "log_sigma"} | options
    sampler = get_sampler(name, process, **options)
    restored = sampler(point_mass(process, x0, y), y, generator=generator())
    assert float((restored - x0).abs().max()) < 0.1


@pytest.mark.parametrize(("name", "variance"), [("ancestral", 0.2429), ("ddim", 0.274)])
def test_published_sampling_of_a_gaussian_ends_with_its_known_variance(name, variance):
    """200 steps from noise of deviation one, data N(0, 0.25) whose score is known.

    The numbers are of the discrete process, which differs by a hundredth.
    """
    process, spread2, y = VP(**SHORT, t_eps=0.005), 0.25, torch.zeros(1, 1, 200, 200)

    def data(x, t):
        a, std = process.data_weight(t), process.std(t)
        return a * spread2 / ((a * a) * spread2 + std * std) * x

    start, draws = 1 / float(process.std(torch.tensor(1.0))), generator()

    def noise(like):
        """The first draw is that of the prior."""
        nonlocal start
        scale, start = start, 1.0
        return scale * torch.randn(like.shape, generator=draws)

    eta = 1.0 if name == "ancestral" else 0.0
    sampler = get_sampler("ancestral", process, num_steps=200, eta=eta)
    restored = sampler(data, y, generator=noise)
    assert float(restored.var()) == pytest.approx(variance, rel=0.03)


def test_no_fresh_noise_is_ddim():
    """The exponential step of the flow, for a network that is not exact."""
    y = latents(1, 2, 4, 4)
    for process in (VP(), VP(schedule="linear")):
        for options in ({"num_steps": 4}, {"num_steps": 6, "spacing": "log_sigma"}):
            arguments = {"estimates": "data"} | options
            results = [
                get_sampler(name, process, **arguments, **own)(
                    lambda x, t: torch.tanh(x), y, generator=generator()
                )
                for name, own in (
                    ("ancestral", {"eta": 0.0}),
                    ("probability_flow", {"method": "exponential"}),
                )
            ]
            torch.testing.assert_close(*results, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "sigmoid"}, "schedule must be 'cosine' or 'linear'"),
        ({"t_max": 1.0}, "set t_max to 0.999, got 1.0"),
        ({"beta_min": 0.0}, "beta_min must be a number"),
        ({"beta_max": 0.05}, "beta_max must be a number from 0.1"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        VP(**options)
