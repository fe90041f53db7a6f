"""Ancestral sampling draws from the process, however long its steps."""

import pytest
import torch
from estimates import Estimate, generator, latents

from lafufu_sb.diffusion.processes import BBED, OUVESDE, VP
from lafufu_sb.diffusion.samplers import get_sampler
from lafufu_sb.errors import UsageError

PROCESSES = [OUVESDE(), BBED(), VP(), VP(schedule="linear", t_max=1.0)]


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("process", PROCESSES)
def test_states_have_the_marginals_of_the_process(process, eta):
    """With the exact estimate and the exact start, for five long steps."""
    x0 = torch.full((1, 1, 100, 200), 1.0)
    y = torch.full_like(x0, -1.0)
    estimate = Estimate(lambda x, t: x0)
    sampler = get_sampler("ancestral", process, num_steps=5, eta=eta)
    first = torch.tensor([process.t_max])
    missing = process.mean(x0, y, first) - process.mean(y, y, first)
    share = missing / (process.std(first) * process.noise_variance**0.5)
    draws = generator()

    def noise(like):
        """Noise that also holds what the prior ignores, in the first draw."""
        drawn = torch.randn(like.shape, generator=draws)
        return drawn if estimate.states else drawn + share

    assert torch.equal(sampler(estimate, y, generator=noise), x0)
    assert len(estimate.states) == 5
    for x, t in zip(estimate.states, estimate.times, strict=True):
        std = float(process.std(t)) * process.noise_variance**0.5
        mean = float(process.mean(x0, y, t).mean())
        assert float(x.mean()) == pytest.approx(mean, abs=0.015)
        assert float(x.std()) == pytest.approx(std, rel=0.03)


@pytest.mark.parametrize("process", PROCESSES)
def test_states_of_one_path_are_correlated_as_in_the_process(process):
    """Cov(x_s, x_t) is a_t / a_s std_s^2: a path of the process, not draws anew."""
    x0 = y = torch.zeros(1, 1, 200, 200)
    estimate = Estimate(lambda x, t: x0)
    sampler = get_sampler("ancestral", process, num_steps=4)
    sampler(estimate, y, generator=generator())
    (late, early), (t, s) = (getattr(estimate, n)[1:3] for n in ("states", "times"))
    ratio = process.data_weight(t) / process.data_weight(s)
    expected = ratio * process.std(s).square() * process.noise_variance
    found = (late * early).mean()
    scale = process.std(t) * process.std(s) * process.noise_variance
    assert float(found) == pytest.approx(float(expected), abs=0.03 * float(scale))


def test_share_of_fresh_noise_is_checked():
    with pytest.raises(UsageError, match="eta must be a number from 0 to 1, got 2"):
        get_sampler("ancestral", VP(), eta=2)


def test_nothing_is_drawn_after_the_prior_without_fresh_noise():
    drawn = []

    def noise(like):
        drawn.append(like.shape)
        return torch.ones_like(like)

    y = latents(1, 2, 4, 4)
    sampler = get_sampler("ancestral", BBED(), num_steps=4, eta=0.0)
    sampler(Estimate(), y, generator=noise)
    assert len(drawn) == 1
