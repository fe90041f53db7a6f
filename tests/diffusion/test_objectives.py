"""What the networks are trained on."""

import pytest
import torch

from lafufu_sb.diffusion.objectives import DataPrediction, ScoreMatching
from lafufu_sb.diffusion.sde import OUVESDE, SchroedingerBridge

PAIRS = [(ScoreMatching(), OUVESDE()), (DataPrediction(), SchroedingerBridge())]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def latents(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed))


def silent(x_t, y, t):
    return torch.zeros_like(x_t)


@pytest.mark.parametrize("sde", [OUVESDE(), SchroedingerBridge()])
def test_score_of_zero_costs_half_the_number_of_complex_bins(sde):
    """The energy of complex noise of variance one is the number of its bins."""
    x0, y = latents(64, 2, 16, 16), latents(64, 2, 16, 16, seed=1)
    loss = ScoreMatching()(silent, sde, x0, y, generator())
    assert loss.per_item.shape == (64,)
    # Eight is the deviation of one item, so one that of the mean of 64.
    assert float(loss.per_item.mean()) == pytest.approx(0.5 * 16 * 16, abs=4)


def test_loss_is_a_sum_over_the_elements():
    x0, y = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    loss = DataPrediction()(lambda x, y, t: y + 3, SchroedingerBridge(), x0, y)
    assert float(loss.per_item) == 0.5 * 32 * 9


@pytest.mark.parametrize("sde", [OUVESDE(), SchroedingerBridge()])
def test_perfect_score_costs_nothing(sde):
    x0, y = latents(4, 2, 4, 4), latents(4, 2, 4, 4, seed=1)

    def network(x_t, y, t):
        variance = sde.std(t).square().reshape(-1, 1, 1, 1)
        return (x_t - sde.mean(x0, y, t)) / variance

    loss = ScoreMatching()(network, sde, x0, y, generator())
    assert float(loss.per_item.max()) < 1e-6
    wrong = ScoreMatching()(lambda *a: -network(*a), sde, x0, y, generator())
    assert float(wrong.per_item.min()) > 10


@pytest.mark.parametrize("sde", [OUVESDE(), SchroedingerBridge()])
def test_perfect_data_prediction_costs_nothing(sde):
    x0, y = latents(4, 2, 4, 4), latents(4, 2, 4, 4, seed=1)
    loss = DataPrediction()(lambda x_t, y, t: x0 - y, sde, x0, y, generator())
    assert float(loss.per_item.max()) < 1e-10
    untrained = DataPrediction()(silent, sde, x0, y, generator())
    expected = 0.5 * (y - x0).square().flatten(1).sum(dim=1)
    torch.testing.assert_close(untrained.per_item, expected)


def test_signs_of_the_estimates():
    x, y, t = latents(1, 2, 3, 3), latents(1, 2, 3, 3, seed=1), torch.tensor([0.5])

    def network(x_t, y, t):
        return 2 * x_t

    assert torch.equal(ScoreMatching.estimate(network, x, y, t), -2 * x)
    assert torch.equal(DataPrediction.estimate(network, x, y, t), y + 2 * x)


@pytest.mark.parametrize(("objective", "sde"), PAIRS)
def test_network_sees_the_perturbed_latent_at_its_time(objective, sde):
    x0, y = latents(256, 1, 4, 4), latents(256, 1, 4, 4, seed=1)
    seen = {}

    def network(x_t, y, t):
        seen.update(x_t=x_t, y=y, t=t)
        return torch.zeros_like(x_t)

    loss = objective(network, sde, x0, y, generator())
    assert torch.equal(seen["t"], loss.t) and torch.equal(seen["y"], y)
    assert loss.t.shape == (256,)
    assert float(loss.t.min()) >= sde.t_eps and float(loss.t.max()) <= sde.t_max
    assert float(loss.t.mean()) == pytest.approx((sde.t_eps + 1) / 2, abs=0.06)
    std = sde.std(loss.t).reshape(-1, 1, 1, 1)
    z = (seen["x_t"] - sde.mean(x0, y, loss.t)) / std
    assert float(z.square().mean()) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(("objective", "sde"), PAIRS)
def test_generator_decides_times_and_noise(objective, sde):
    x0, y = latents(4, 2, 4, 4), latents(4, 2, 4, 4, seed=1)

    def network(x_t, y, t):
        return torch.tanh(x_t)

    state = torch.get_rng_state()
    first = objective(network, sde, x0, y, generator(3))
    again = objective(network, sde, x0, y, generator(3))
    other = objective(network, sde, x0, y, generator(4))
    assert torch.equal(first.per_item, again.per_item)
    assert torch.equal(first.t, again.t)
    assert not torch.equal(first.t, other.t)
    assert not torch.equal(first.per_item, other.per_item)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("objective", "sde"), PAIRS)
def test_loss_is_float32_for_a_half_precision_network(objective, sde):
    x0, y = latents(2, 2, 4, 4), latents(2, 2, 4, 4, seed=1)

    def network(x_t, y, t):
        return x_t.bfloat16()

    assert objective(network, sde, x0, y, generator()).per_item.dtype == torch.float32
