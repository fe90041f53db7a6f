"""What the networks are trained on."""

import pytest
import torch
from torch import nn

from lafufu_sb.diffusion.objectives import (
    DataPrediction,
    FewStepCorrection,
    MeanPrediction,
    PreconditionedPrediction,
    ScoreMatching,
)
from lafufu_sb.diffusion.processes import BBED, OUVESDE, VP, Direct, SchroedingerBridge
from lafufu_sb.diffusion.samplers import get_sampler
from lafufu_sb.errors import UsageError

PAIRS = [
    (ScoreMatching(), OUVESDE()),
    (DataPrediction(), SchroedingerBridge()),
    (MeanPrediction(), BBED()),
    (ScoreMatching("sigma"), VP()),
    (PreconditionedPrediction(0.9, 0.6), OUVESDE()),
    (PreconditionedPrediction(0.9, 0.6, "one"), SchroedingerBridge()),
]
# objective, process, sampler, its options, calls of the network
FEW_STEPS = [
    (*PAIRS[0], "predictor_corrector", {"num_steps": 1, "corrector": "none"}, 1),
    (*PAIRS[0], "predictor_corrector", {"num_steps": 5, "corrector": "none"}, 5),
    (*PAIRS[0], "predictor_corrector", {"num_steps": 3}, 6),
    (*PAIRS[0], "probability_flow", {"num_steps": 3, "method": "heun"}, 5),
    (*PAIRS[1], "bridge_ode", {"num_steps": 1}, 1),
    (*PAIRS[1], "bridge_ode", {"num_steps": 4}, 4),
    (*PAIRS[1], "bridge_sde", {"num_steps": 3}, 3),
    (*PAIRS[2], "predictor_corrector", {"num_steps": 1, "t_start": 0.5}, 2),
    (*PAIRS[3], "ancestral", {"num_steps": 3}, 3),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def latents(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed))


def silent(x_t, t):
    return torch.zeros_like(x_t)


@pytest.mark.parametrize("process", [OUVESDE(), SchroedingerBridge()])
def test_score_of_zero_costs_half_the_number_of_complex_bins(process):
    """The energy of complex noise of variance one is the number of its bins."""
    x0, y = latents(64, 2, 16, 16), latents(64, 2, 16, 16, seed=1)
    loss = ScoreMatching()(silent, process, x0, y, generator())
    assert loss.per_item.shape == (64,)
    # Eight is the deviation of one item, so one that of the mean of 64.
    assert float(loss.per_item.mean()) == pytest.approx(0.5 * 16 * 16, abs=4)


def test_loss_is_a_sum_over_the_elements():
    x0, y = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    loss = DataPrediction()(lambda x, t: y + 3, SchroedingerBridge(), x0, y)
    assert float(loss.per_item) == 0.5 * 32 * 9


@pytest.mark.parametrize("process", [OUVESDE(), SchroedingerBridge()])
def test_perfect_score_costs_nothing(process):
    x0, y = latents(4, 2, 4, 4), latents(4, 2, 4, 4, seed=1)

    def network(x_t, t):
        variance = process.std(t).square().reshape(-1, 1, 1, 1)
        return (x_t - process.mean(x0, y, t)) / variance

    loss = ScoreMatching()(network, process, x0, y, generator())
    assert float(loss.per_item.max()) < 1e-6
    wrong = ScoreMatching()(lambda *a: -network(*a), process, x0, y, generator())
    assert float(wrong.per_item.min()) > 10


@pytest.mark.parametrize("process", [OUVESDE(), SchroedingerBridge()])
def test_perfect_data_prediction_costs_nothing(process):
    x0, y = latents(4, 2, 4, 4), latents(4, 2, 4, 4, seed=1)
    loss = DataPrediction()(lambda x_t, t: x0 - y, process, x0, y, generator())
    assert float(loss.per_item.max()) < 1e-10
    untrained = DataPrediction()(silent, process, x0, y, generator())
    expected = 0.5 * (y - x0).square().flatten(1).sum(dim=1)
    torch.testing.assert_close(untrained.per_item, expected)


def test_signs_of_the_estimates():
    x, y, t = latents(1, 2, 3, 3), latents(1, 2, 3, 3, seed=1), torch.tensor([0.5])

    def network(x_t, t):
        return 2 * x_t

    ouve, bridge = OUVESDE(), SchroedingerBridge()
    assert torch.equal(ScoreMatching().estimate(network, ouve, x, y, t), -2 * x)
    assert torch.equal(DataPrediction().estimate(network, bridge, x, y, t), y + 2 * x)


@pytest.mark.parametrize("process", [OUVESDE(), BBED(), VP()])
def test_scaling_divides_the_output_of_the_network(process):
    x, y, t = latents(2, 2, 3, 3), latents(2, 2, 3, 3, seed=1), torch.tensor([0.2, 0.9])
    factors = {"none": torch.ones(2), "time": t, "sigma": process.std(t)}
    for scaling, factor in factors.items():
        objective = ScoreMatching(scaling)
        score = objective.estimate(lambda x_t, t: 2 * x_t, process, x, y, t)
        torch.testing.assert_close(score, -2 * x / factor.reshape(-1, 1, 1, 1))
    with pytest.raises(UsageError, match="scaling must be 'none', 'time' or 'sigma'"):
        ScoreMatching("edm")


def test_score_scaled_by_sigma_is_a_prediction_of_the_noise():
    """The loss of DDPM: half the squared distance of the output to the noise."""
    process, x0, y = VP(), latents(4, 2, 4, 4), latents(4, 2, 4, 4, seed=1)
    seen = {}

    def network(x_t, t):
        seen.update(x_t=x_t, t=t)
        return torch.tanh(x_t)

    loss = ScoreMatching("sigma")(network, process, x0, y, generator())
    std = process.std(seen["t"]).reshape(-1, 1, 1, 1)
    noise = (seen["x_t"] - process.mean(x0, y, seen["t"])) / std
    expected = 0.5 * (noise - torch.tanh(seen["x_t"])).square().flatten(1).sum(dim=1)
    torch.testing.assert_close(loss.per_item, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("process", [OUVESDE(), BBED(), SchroedingerBridge()])
def test_mean_prediction_is_the_denoiser_loss_of_the_process_mean(process):
    x0, y = latents(8, 2, 4, 4), latents(8, 2, 4, 4, seed=1)
    loss = MeanPrediction()(lambda x_t, t: 0.3 * x_t, process, x0, y, generator())
    denoised = process.mean(loss.estimate, y, loss.t)
    error = 0.5 * (denoised - process.mean(x0, y, loss.t)).square().flatten(1).sum(1)
    torch.testing.assert_close(loss.per_item, error, rtol=1e-4, atol=1e-6)
    plain = DataPrediction()(lambda x_t, t: 0.3 * x_t, process, x0, y, generator())
    assert torch.equal(plain.estimate, loss.estimate)
    weight = process.data_weight(loss.t).square()
    torch.testing.assert_close(loss.per_item, weight * plain.per_item)


def test_regression_sees_the_distorted_latent_at_one_time():
    x0, y, seen = latents(3, 2, 4, 4), latents(3, 2, 4, 4, seed=1), {}

    def network(x_t, t):
        seen.update(x_t=x_t, t=t)
        return 0.5 * x_t

    loss = DataPrediction()(network, Direct(), x0, y, generator())
    assert torch.equal(seen["x_t"], y) and torch.equal(seen["t"], torch.ones(3))
    expected = 0.5 * (1.5 * y - x0).square().flatten(1).sum(dim=1)
    torch.testing.assert_close(loss.per_item, expected)


@pytest.mark.parametrize(("objective", "process"), PAIRS)
def test_network_sees_the_perturbed_latent_at_its_time(objective, process):
    x0, y = latents(256, 1, 4, 4), latents(256, 1, 4, 4, seed=1)
    seen = {}

    def network(x_t, t):
        seen.update(x_t=x_t, t=t)
        return torch.zeros_like(x_t)

    loss = objective(network, process, x0, y, generator())
    assert torch.equal(seen["t"], loss.t)
    assert loss.t.shape == (256,)
    assert float(loss.t.min()) >= process.t_eps and float(loss.t.max()) <= process.t_max
    middle = (process.t_eps + process.t_max) / 2
    assert float(loss.t.mean()) == pytest.approx(middle, abs=0.06)
    x_t = seen["x_t"]
    if isinstance(objective, PreconditionedPrediction):
        x_t = x_t / objective.factors(process, loss.t)[2].reshape(-1, 1, 1, 1)
    std = process.std(loss.t).reshape(-1, 1, 1, 1)
    z = (x_t - process.mean(x0, y, loss.t)) / std
    assert float(z.square().mean()) == pytest.approx(process.noise_variance, rel=0.1)


@pytest.mark.parametrize(("objective", "process"), PAIRS)
def test_generator_decides_times_and_noise(objective, process):
    x0, y = latents(4, 2, 4, 4), latents(4, 2, 4, 4, seed=1)

    def network(x_t, t):
        return torch.tanh(x_t)

    state = torch.get_rng_state()
    first = objective(network, process, x0, y, generator(3))
    again = objective(network, process, x0, y, generator(3))
    other = objective(network, process, x0, y, generator(4))
    assert torch.equal(first.per_item, again.per_item)
    assert torch.equal(first.t, again.t)
    assert not torch.equal(first.t, other.t)
    assert not torch.equal(first.per_item, other.per_item)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("objective", "process"), PAIRS)
def test_loss_is_float32_for_a_half_precision_network(objective, process):
    x0, y = latents(2, 2, 4, 4), latents(2, 2, 4, 4, seed=1)

    def network(x_t, t):
        return x_t.bfloat16()

    loss = objective(network, process, x0, y, generator())
    assert loss.per_item.dtype == torch.float32


class WeightPerCall(nn.Module):
    """A network whose n-th call has a weight of its own."""

    def __init__(self, calls):
        super().__init__()
        self.weights = nn.Parameter(torch.full((calls,), 0.5))
        self.made = 0

    def forward(self, x_t, t):
        self.made += 1
        return self.weights[self.made - 1] * torch.tanh(x_t + 0.1)


@pytest.mark.parametrize(("base", "process", "name", "options", "calls"), FEW_STEPS)
def test_few_step_gradient_goes_through_the_last_call_only(
    base, process, name, options, calls
):
    sampler = get_sampler(name, process, estimates=base.estimates, **options)
    objective = FewStepCorrection(base, sampler)
    network = WeightPerCall(calls)
    x0, y = latents(2, 2, 4, 4), latents(2, 2, 4, 4, seed=1)
    objective(network, process, x0, y, generator()).per_item.mean().backward()
    assert network.made == objective.calls == calls
    assert float(network.weights.grad[-1]) != 0
    assert torch.equal(network.weights.grad[:-1], torch.zeros(calls - 1))


@pytest.mark.parametrize(("base", "process", "name", "options", "calls"), FEW_STEPS)
def test_few_step_result_is_that_of_the_sampler(base, process, name, options, calls):
    """Training cannot drift from inference: the same calls, the same noise."""
    sampler = get_sampler(name, process, estimates=base.estimates, **options)
    x0, y = latents(2, 2, 4, 4), latents(2, 2, 4, 4, seed=1)

    def network(x_t, t):
        return torch.tanh(x_t) + t.reshape(-1, 1, 1, 1) * y

    loss = FewStepCorrection(base, sampler)(network, process, x0, y, generator(3))
    restored = sampler(
        lambda x, t: base.estimate(network, process, x, y, t), y, generator=generator(3)
    )
    assert torch.equal(loss.estimate, restored)
    expected = 0.5 * (restored - x0).square().flatten(1).sum(dim=1)
    torch.testing.assert_close(loss.per_item, expected)
    assert loss.t is None


def test_one_step_of_a_bridge_is_its_data_prediction():
    process, base = SchroedingerBridge(), DataPrediction()
    x0, y = latents(2, 2, 4, 4), latents(2, 2, 4, 4, seed=1)
    network = nn.Conv2d(2, 2, 3, padding=1)

    def run(x_t, t):
        return network(x_t) * t.reshape(-1, 1, 1, 1)

    objective = FewStepCorrection(base, get_sampler("bridge_ode", process, num_steps=1))
    loss = objective(run, process, x0, y)
    direct = base.estimate(run, process, y, y, torch.ones(2))
    assert torch.equal(loss.estimate, direct)
    gradient = torch.autograd.grad(loss.per_item.sum(), network.weight)[0]
    error = 0.5 * (direct - x0).square().sum()
    expected = torch.autograd.grad(error, network.weight)[0]
    torch.testing.assert_close(gradient, expected)


def test_few_step_correction_estimates_what_its_base_does_and_compares_data():
    sampler = get_sampler("predictor_corrector", OUVESDE(), num_steps=1)
    objective = FewStepCorrection(ScoreMatching(), sampler)
    assert (objective.estimates, objective.compares) == ("score", "data")
    x, y, t = latents(1, 2, 3, 3), latents(1, 2, 3, 3, seed=1), torch.tensor([0.5])
    assert torch.equal(objective.estimate(lambda *a: 2 * x, OUVESDE(), x, y, t), -2 * x)


def test_few_step_correction_mends_what_the_exact_score_cannot():
    """Two steps are too few for the exact score; its own training would not move it."""
    process = OUVESDE()
    y = latents(64, 1, 4, 4, seed=1)
    x0 = 0.5 * y
    gains = nn.Parameter(torch.tensor([1.0, 0.0, 0.0]))

    def network(x_t, t):
        variance = process.std(t).square().reshape(-1, 1, 1, 1)
        exact = (x_t - process.mean(x0, y, t)) / variance
        return gains[0] * exact + gains[1] * (x_t - y) + gains[2] * y

    sampler = get_sampler("predictor_corrector", process, num_steps=2, corrector="none")
    objective = FewStepCorrection(ScoreMatching(), sampler)

    def loss(seed):
        return objective(network, process, x0, y, generator(seed)).per_item.mean()

    trained = ScoreMatching()(network, process, x0, y, generator()).per_item.mean()
    assert float(torch.autograd.grad(trained, gains)[0].abs().max()) < 1e-3
    before = float(loss(1000).detach())
    optimizer = torch.optim.Adam([gains], lr=0.03)
    for step in range(200):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    assert float(loss(1000).detach()) < 0.1 * before


def test_few_step_gradient_survives_half_precision():
    """The weights that the earlier calls cast have no history."""
    process = OUVESDE()
    sampler = get_sampler("predictor_corrector", process, num_steps=3, corrector="none")
    objective = FewStepCorrection(ScoreMatching(), sampler)
    network = nn.Conv2d(2, 2, 3, padding=1)
    x0, y = latents(2, 2, 4, 4), latents(2, 2, 4, 4, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(lambda x, t: network(x), process, x0, y, generator())
    loss.per_item.mean().backward()
    assert loss.per_item.dtype == torch.float32
    assert float(network.weight.grad.abs().max()) > 0


def test_few_step_correction_has_no_gradient_in_validation():
    process = OUVESDE()
    sampler = get_sampler("predictor_corrector", process, num_steps=2)
    network = WeightPerCall(4)
    x0, y = latents(1, 2, 4, 4), latents(1, 2, 4, 4, seed=1)
    with torch.no_grad():
        loss = FewStepCorrection(ScoreMatching(), sampler)(network, process, x0, y)
    assert not loss.per_item.requires_grad


def test_few_step_correction_leaves_the_global_generator_alone():
    process = OUVESDE()
    state = torch.get_rng_state()
    sampler = get_sampler("predictor_corrector", process, num_steps=2)
    objective = FewStepCorrection(ScoreMatching(), sampler)
    x0, y = latents(1, 2, 4, 4), latents(1, 2, 4, 4, seed=1)
    objective(silent, process, x0, y, generator())
    assert torch.equal(torch.get_rng_state(), state)


def test_sampler_with_a_varying_number_of_calls_is_refused():
    def adaptive(estimate, y, generator=None):
        x = y + estimate(y, torch.ones(len(y)))
        return x if float(x.abs().max()) < 1 else estimate(x, torch.ones(len(y)))

    adaptive.calls = 1
    objective = FewStepCorrection(DataPrediction(), adaptive)
    x0 = y = torch.ones(1, 2, 4, 4)
    with pytest.raises(RuntimeError, match="made 2 calls instead of 1"):
        objective(silent, SchroedingerBridge(), x0, y)
