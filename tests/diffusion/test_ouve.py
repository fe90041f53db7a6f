"""Samplers of the OUVE process against data whose score is known."""

import math

import pytest
import torch
from estimates import Estimate, generator, latents, point_mass

from lafufu_sb.diffusion.objectives import ScoreMatching
from lafufu_sb.diffusion.processes import OUVESDE
from lafufu_sb.diffusion.samplers import get_sampler
from lafufu_sb.diffusion.samplers.steps import SPACINGS


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
    process = OUVESDE()
    x0, y = latents(2, 2, 8, 8), latents(2, 2, 8, 8, seed=1)

    def network(x_t, t):
        """The noise over sigma, as a perfectly trained network gives it."""
        std = process.std(t).reshape(-1, 1, 1, 1)
        return (x_t - process.mean(x0, y, t)) / std.square()

    def score(x, t):
        return ScoreMatching().estimate(network, process, x, y, t)

    sampler = get_sampler(name, process, num_steps=30, **options)
    restored = sampler(score, y, generator=generator())
    assert float((y - x0).abs().mean()) > 1
    # Noise of 0.026 is left at t_eps; half of it would already be seen here.
    assert float((restored - x0).abs().max()) < 0.02


OUVE_SAMPLERS = [
    ("predictor_corrector", {"corrector": "ald"}),
    ("predictor_corrector", {"corrector": "none"}),
    *[("probability_flow", {"method": m}) for m in ("euler", "heun")],
]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("t_start", [1.0, 0.5])
@pytest.mark.parametrize(("name", "options"), OUVE_SAMPLERS)
def test_every_spacing_and_start_ends_at_the_clean_latent(
    name, options, spacing, t_start
):
    process = OUVESDE()
    x0, y = latents(2, 2, 8, 8), latents(2, 2, 8, 8, seed=1)
    score = point_mass(process, x0, y)
    sampler = get_sampler(
        name, process, num_steps=30, spacing=spacing, t_start=t_start, **options
    )
    restored = sampler(score, y, generator=generator())
    assert float((restored - x0).abs().max()) < 0.05


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("t_start", [1.0, 0.5])
@pytest.mark.parametrize("method", ["exponential", "multistep"])
@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_exponential_steps_need_no_small_steps_for_a_point_mass(
    spacing, t_start, method, num_steps
):
    process = OUVESDE()
    x0, y = latents(2, 2, 8, 8), latents(2, 2, 8, 8, seed=1)
    sampler = get_sampler(
        "probability_flow",
        process,
        num_steps=num_steps,
        method=method,
        spacing=spacing,
        t_start=t_start,
    )
    restored = sampler(point_mass(process, x0, y), y, generator=generator())
    torch.testing.assert_close(restored, x0, atol=2e-5, rtol=0)


def gaussian_flow(num_steps, **options):
    """Error of the last state but one on the flow of normally distributed data.

    The flow keeps (x - mean) / std of the marginal, which is known in closed form.
    """
    process, spread = OUVESDE(), 0.3
    y = latents(1, 2, 8, 8, seed=1).double()
    centre = 0.4 * y

    def std2(t):
        decay = torch.exp(-process.theta * t.double())
        return (decay * spread).square() + 0.5 * process.std(t.double()).square()

    def score(x, t):
        x = x - process.mean(centre, y, t.double())
        return -0.5 * x / std2(t)  # estimates are in units of the noise's variance

    estimate = Estimate(score)
    sampler = get_sampler("probability_flow", process, num_steps=num_steps, **options)
    sampler(estimate, y, generator=generator())
    first, last = (
        (estimate.states[i] - process.mean(centre, y, estimate.times[i].double()))
        / std2(estimate.times[i]).sqrt()
        for i in (0, -1)
    )
    assert torch.allclose(estimate.times[-1], torch.tensor(process.t_eps))
    return float((last - first).abs().max())


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("t_start", [1.0, 0.5])
@pytest.mark.parametrize(
    ("method", "order"),
    [("euler", 1), ("exponential", 1), ("heun", 2), ("multistep", 2)],
)
def test_error_falls_with_the_order_of_the_method(method, order, spacing, t_start):
    options = {"method": method, "spacing": spacing, "t_start": t_start}
    coarse, fine = (gaussian_flow(n, **options) for n in (16, 61))  # steps: 15, 60
    found = math.log(coarse / fine, 4)
    assert found > order - 0.3
    assert order == 2 or found < 1.3


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("t_start", [1.0, 0.5])
@pytest.mark.parametrize("calls", [5, 9, 15])
def test_multistep_has_the_smallest_error_for_few_calls(spacing, t_start, calls):
    errors = {
        method: gaussian_flow(calls, method=method, spacing=spacing, t_start=t_start)
        for method in ("euler", "exponential", "multistep")
    }
    assert errors["multistep"] < 0.4 * errors["exponential"] < 0.4 * errors["euler"]


def test_start_is_the_prior_at_that_time():
    process, y = OUVESDE(), latents(1, 2, 4, 4)
    for name in ("predictor_corrector", "probability_flow"):
        estimate = Estimate()
        sampler = get_sampler(name, process, num_steps=3, t_start=0.5)
        sampler(estimate, y, generator=torch.ones_like)
        expected = y + 0.22977 * 0.5**0.5
        torch.testing.assert_close(estimate.states[0], expected, atol=1e-5, rtol=0)


def test_half_the_steps_from_half_the_time_have_the_same_length():
    estimates = {}
    for steps, t_start in ((31, 1.0), (16, 0.515)):
        estimates[steps] = Estimate()
        sampler = get_sampler(
            "probability_flow",
            OUVESDE(),
            num_steps=steps,
            method="euler",
            t_start=t_start,
        )
        sampler(estimates[steps], latents(1, 2, 4, 4), generator=generator())
    whole, half = (torch.stack(estimates[n].times) for n in (31, 16))
    torch.testing.assert_close(whole[15:], half)


@pytest.mark.parametrize("name", ["predictor_corrector", "probability_flow"])
def test_defaults_are_the_published_schedule(name):
    y, asked = latents(1, 2, 4, 4), Estimate()
    plain = get_sampler(name, OUVESDE())(asked, y, generator=generator())
    spelt = get_sampler(name, OUVESDE(), spacing="uniform", t_start=1.0)
    assert torch.equal(spelt(Estimate(), y, generator=generator()), plain)
    times = torch.stack(asked.times)[:, 0].unique().flip(0)
    assert torch.equal(times, torch.linspace(1, 0.03, 30))


def test_heun_follows_the_flow_more_closely_than_euler():
    """The exact flow to x_0 keeps its noise: mean(t) + std(t) z with one z."""
    process = OUVESDE()
    x0, y = latents(1, 2, 8, 8), latents(1, 2, 8, 8, seed=1)
    errors = {}
    for method in ("euler", "heun"):
        estimate = Estimate(point_mass(process, x0, y))
        sampler = get_sampler("probability_flow", process, num_steps=30, method=method)
        sampler(estimate, y, generator=generator())
        first, last = (
            (estimate.states[i] - process.mean(x0, y, estimate.times[i]))
            / process.std(estimate.times[i])
            for i in (0, -1)
        )
        errors[method] = float((last - first).abs().max())
    assert errors["heun"] < 0.3 * errors["euler"]


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
    y, size = torch.full((1, 1, 1, 1), 0.5), 2 * (0.5 * 0.73148) ** 2
    sampler = get_sampler(
        "predictor_corrector", OUVESDE(), num_steps=1, corrector=corrector, snr=0.5
    )
    z, half = 1.0, 0.5**0.5  # noise of variance 0.5 per channel
    x = 0.5 + 0.73148 * half * z
    if corrector == "ald":
        x = x + size * (-2 * x) + math.sqrt(2 * size) * half * z
    expected = x - (2.0 * (0.5 - x) - 2.14597**2 * (-2 * x)) * 1.0
    actual = sampler(lambda x, t: -2 * x, y, generator=torch.ones_like)
    assert float(actual) == pytest.approx(expected, abs=1e-4)
