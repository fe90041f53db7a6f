"""Preconditioned networks have inputs and targets of unit variance."""

import pytest
import torch
from estimates import generator

from lafufu_sb.diffusion.objectives import PreconditionedPrediction
from lafufu_sb.diffusion.processes import (
    BBED,
    OUVESDE,
    SDE,
    VP,
    SchroedingerBridge,
)
from lafufu_sb.errors import UsageError


class Exploding(SDE):
    """The process of EDM: noise of deviation ``t`` on the data."""

    noise_variance = 1.0

    def data_weight(self, t):
        return torch.ones_like(t)

    def std(self, t):
        return t

    def drift(self, x, y, t):
        return torch.zeros_like(x)

    def diffusion(self, t):
        return (2 * t).sqrt()


def test_factors_of_edm():
    objective = PreconditionedPrediction(0.5, 0.1)
    factors = objective.factors(Exploding(), torch.tensor([0.1, 0.5, 80.0]))
    expected = [
        [0.961538, 0.5, 3.9e-5],
        [0.098058, 0.353553, 0.49999],
        [1.961161, 1.414214, 0.0125],
    ]
    torch.testing.assert_close(
        torch.stack(factors), torch.tensor(expected), atol=1e-5, rtol=1e-4
    )


def test_factors_of_the_bridge():
    """EDM2SE: noise of variance one; its c_in has no root, the root is meant."""
    objective = PreconditionedPrediction(0.402, 0.342, skip="one")
    bridge = SchroedingerBridge(k=2.6, c=0.4, noise_variance=1.0)
    t = torch.tensor([0.25, 0.5, 0.75, 1.0])
    c_skip, c_out, c_in = objective.factors(bridge, t)
    assert torch.equal(c_skip, torch.ones(4))
    expected = torch.tensor([0.34042, 0.5009, 0.57775, 0.342])
    torch.testing.assert_close(c_out, expected, atol=1e-5, rtol=0)
    weights = torch.tensor([2.9376, 1.9964, 1.7309, 2.924])
    torch.testing.assert_close(1 / c_out, weights, atol=1e-4, rtol=0)
    assert float(c_in[0]) == pytest.approx(1.89835, abs=1e-4)


@pytest.mark.parametrize("skip", ["optimal", "one"])
@pytest.mark.parametrize(
    "process", [OUVESDE(), BBED(), VP(), SchroedingerBridge(c=10.0)]
)
def test_input_and_target_of_the_network_have_unit_variance(process, skip):
    """Data and noise of the stated deviations, at four times of the process."""
    objective = PreconditionedPrediction(0.9, 0.6, skip)
    draws = generator()
    x0, n = torch.randn(2, 4, 1, 100, 100, generator=draws)
    x0, y = 0.9 * x0, 0.9 * x0 + 0.6 * n
    t = torch.linspace(process.t_eps, process.t_max, 4)
    x_t = process.perturb(x0, y, t, process.noise(x0, draws))
    seen = {}

    def network(x, t):
        seen.update(x=x, t=t)
        return torch.zeros_like(x)

    estimate = objective.estimate(network, process, x_t, y, t)
    target = objective.error(x0, process, estimate, t, None)  # of a silent network
    for tensor in (seen["x"], target):
        deviations = tensor.flatten(1).std(dim=1)
        torch.testing.assert_close(deviations, torch.ones(4), atol=0.04, rtol=0)
    assert torch.equal(seen["t"], t)


@pytest.mark.parametrize("process", [OUVESDE(), BBED(), VP(), SchroedingerBridge()])
def test_optimal_skip_leaves_the_smallest_target(process):
    t = torch.linspace(process.t_eps, process.t_max, 20)
    best, plain = (
        PreconditionedPrediction(0.9, 0.6, skip).factors(process, t)[1]
        for skip in ("optimal", "one")
    )
    assert (best <= plain + 1e-6).all() and (best < 0.99 * plain).any()


def test_error_is_that_of_the_networks_output():
    process, objective = OUVESDE(), PreconditionedPrediction(0.9, 0.6)
    x0, y = torch.randn(2, 4, 2, 4, 4, generator=generator())
    wrong = objective(lambda x, t: 0 * x, process, x0, y, generator())
    moved = objective(lambda x, t: 0 * x + 1, process, x0, y, generator())
    c_out = objective.factors(process, wrong.t)[1].reshape(-1, 1, 1, 1)
    torch.testing.assert_close(moved.estimate - wrong.estimate, c_out.expand(x0.shape))
    error = (wrong.estimate - x0) / c_out
    expected = 0.5 * error.square().flatten(1).sum(dim=1)
    torch.testing.assert_close(wrong.per_item, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.6), "sigma_clean must be a number"),
        ((0.9, -1), "sigma_noise must be a number"),
        ((0.9, 0.6, "none"), "skip must be 'optimal' or 'one'"),
        ((0.9, 0.6, "one", 1.0), "prior_share lies in"),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        PreconditionedPrediction(*arguments)
