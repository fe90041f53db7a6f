"""Which processes, objectives and samplers go together, and what is refused."""

import pytest
import torch
from estimates import generator, latents

from lafufu_sb.diffusion.objectives import (
    DataPrediction,
    MeanPrediction,
    Objective,
    ScoreMatching,
)
from lafufu_sb.diffusion.processes import (
    BBED,
    OUVESDE,
    VP,
    Direct,
    Process,
    SchroedingerBridge,
)
from lafufu_sb.diffusion.registry import (
    OBJECTIVES,
    PROCESSES,
    SAMPLERS,
    check_objective,
    fitting_samplers,
    get_sampler,
    register_objective,
    register_process,
    register_sampler,
)
from lafufu_sb.errors import UsageError


@pytest.fixture(autouse=True)
def restored_registries():
    """Removes what a test registered."""
    kept = [
        (registry, dict(registry)) for registry in (PROCESSES, OBJECTIVES, SAMPLERS)
    ]
    yield
    for registry, entries in kept:
        registry.clear()
        registry.update(entries)


OF_SDES = ["ancestral", "predictor_corrector", "probability_flow"]


class Straight(Process):
    """Noiseless line from one end to the other."""

    def data_weight(self, t):
        return 1 - t

    def std(self, t):
        return torch.zeros_like(t)


@pytest.mark.parametrize(
    ("process", "estimates", "names"),
    [
        (OUVESDE(), "score", OF_SDES),
        (OUVESDE(), "data", OF_SDES),
        (BBED(), "score", OF_SDES),
        (VP(), "data", OF_SDES),
        (Direct(), "data", ["direct"]),
        (SchroedingerBridge(), "data", ["bridge_ode", "bridge_sde"]),
        (SchroedingerBridge(), None, ["bridge_ode", "bridge_sde"]),
        (SchroedingerBridge(), "score", []),
        (Straight(), None, []),
    ],
)
def test_samplers_that_fit(process, estimates, names):
    assert fitting_samplers(process, estimates) == names


def test_objective_that_does_not_fit_the_process_is_refused_with_those_that_do():
    message = "ScoreMatching does not fit .* SchroedingerBridge: use one of DataPred"
    with pytest.raises(UsageError, match=message):
        check_objective(SchroedingerBridge(), ScoreMatching())


def test_objective_without_a_sampler_is_refused_with_the_samplers_of_the_process():
    class BridgeScore(ScoreMatching):
        processes = (SchroedingerBridge,)

    message = (
        "no sampler walks SchroedingerBridge back with an estimate of the score, which "
        "BridgeScore trains. .*: bridge_ode, bridge_sde"
    )
    with pytest.raises(UsageError, match=message):
        check_objective(SchroedingerBridge(), BridgeScore())
    with pytest.raises(UsageError, match="Samplers of this process: none"):
        check_objective(Straight(), DataPrediction())


@pytest.mark.parametrize(
    ("process", "objective"),
    [
        (OUVESDE(), ScoreMatching()),
        (OUVESDE(), DataPrediction()),
        (BBED(), MeanPrediction()),
        (VP(), ScoreMatching()),
        (Direct(), DataPrediction()),
        (SchroedingerBridge(), DataPrediction()),
    ],
)
def test_combinations_that_fit_pass(process, objective):
    check_objective(process, objective)


def test_sampler_that_asks_for_another_estimate_is_refused_where_none_can_be_made():
    message = "A SchroedingerBridge and a network that estimates the score can use no"
    with pytest.raises(UsageError, match=message):
        get_sampler("bridge_ode", SchroedingerBridge(), estimates="score")


@pytest.mark.parametrize("name", OF_SDES)
@pytest.mark.parametrize("process", [OUVESDE(), BBED(), VP()])
def test_estimates_of_score_and_data_give_the_same_result(name, process):
    """One network of the data, once as it is and once as the score that it means."""
    y = latents(2, 2, 4, 4)

    def data(x, t):
        return torch.tanh(x)

    def score(x, t):
        return process.to_score(data(x, t), x, y, t)

    results = [
        get_sampler(name, process, estimates=kind, num_steps=12, spacing="log_sigma")(
            estimate, y, generator=generator()
        )
        for kind, estimate in (("data", data), ("score", score))
    ]
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)


def test_registered_process_sampler_and_objective_are_found_and_work():
    register_process(Straight)

    @register_sampler(Straight, estimates="data")
    def halves(estimate, process, mean, *, num_steps=2, generator=None):
        x = process.prior(mean, generator)
        for i in range(num_steps):
            t = x.new_full(x.shape[:1], 1 - i / num_steps)
            x = (x + estimate(x, t)) / 2
        return x

    @register_objective
    class Ratio(Objective):
        processes = (Straight,)

        def estimate(self, network, process, x_t, mean, t):
            return mean * network(x_t, t)

        def error(self, estimate, process, x0, t, z):
            return estimate - x0

    process, objective = Straight(), Ratio()
    assert PROCESSES["Straight"] is Straight and OBJECTIVES["Ratio"] is Ratio
    check_objective(process, objective)
    with pytest.raises(
        UsageError, match="does not fit .* use one of DataPrediction, M"
    ):
        check_objective(SchroedingerBridge(), objective)
    sampler = get_sampler("halves", process, estimates=objective.estimates, num_steps=3)
    assert sampler.calls == 3
    mean = torch.full((2, 1, 2, 2), 8.0)
    assert torch.equal(sampler(lambda x, t: 0 * x, mean), mean / 8)

    class Child(Straight):
        pass

    assert fitting_samplers(Child()) == ["halves"]
    loss = objective(lambda x_t, t: 0.5, process, 0.5 * mean, mean)
    assert torch.equal(loss.per_item, torch.zeros(2))


def test_processes_are_compared_by_their_public_numbers():
    assert repr(OUVESDE(theta=1.5)) == (
        "OUVESDE(theta=1.5, sigma_min=0.1, sigma_max=1.0, t_eps=0.03, "
        "noise_variance=0.5)"
    )
    assert repr(SchroedingerBridge()) != repr(SchroedingerBridge(c=10.0))


def test_bridge_has_no_prior_at_another_time():
    mean = torch.ones(1, 2, 2, 2)
    assert SchroedingerBridge().prior(mean, t_start=1.0) is mean
    with pytest.raises(UsageError, match="a bridge starts at 1.0, t_start is 0.5"):
        SchroedingerBridge().prior(mean, t_start=0.5)
