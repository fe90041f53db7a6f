"""Diffusion processes against published values and a simulation."""

import math

import pytest
import torch

from lafufu_sb.diffusion.noise import draw_noise
from lafufu_sb.diffusion.processes import BBED, OUVESDE, VP, SchroedingerBridge

LINEAR = VP(schedule="linear", t_max=1.0)
ALL = [OUVESDE(), SchroedingerBridge(), BBED(), VP(), LINEAR]
TIMES = torch.tensor([0.03, 0.10, 0.25, 0.50, 0.75, 1.0])
SGMSE_48K = {"theta": 2.0, "sigma_min": 0.1, "sigma_max": 1.0}
SGMSE_16K = {"theta": 1.5, "sigma_min": 0.05, "sigma_max": 0.5}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (SGMSE_48K, [0.03739, 0.06996, 0.12229, 0.22977, 0.41106, 0.73148]),
        (SGMSE_16K, [0.01883, 0.03575, 0.06381, 0.12166, 0.21843, 0.38898]),
    ],
)
def test_ouve_deviation(options, expected):
    actual = OUVESDE(**options).std(TIMES)
    torch.testing.assert_close(actual, torch.tensor(expected), atol=1e-4, rtol=0)


def test_ouve_diffusion():
    actual = OUVESDE(**SGMSE_48K).diffusion(torch.tensor([0.03, 0.5, 1.0]))
    expected = torch.tensor([0.22994, 0.67861, 2.14597])
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def test_ouve_defaults_are_those_of_the_48_khz_model():
    assert torch.equal(OUVESDE().std(TIMES), OUVESDE(**SGMSE_48K).std(TIMES))
    assert (OUVESDE().t_eps, OUVESDE().t_max) == (0.03, 1.0)


def test_bridge_deviation():
    times = torch.tensor([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
    expected = torch.tensor([0.0, 0.2061, 0.3385, 0.4918, 0.5458, 0.4426, 0.0])
    actual = SchroedingerBridge(k=2.6, c=0.4).std(times)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("k", "c"), [(2.6, 0.4), (3.3, 0.9), (10.0, 0.01)])
def test_bridge_has_no_noise_at_its_ends(k, c):
    # In a batch and alone, where the arithmetic of the processor may differ.
    for times in (torch.tensor([0.0, 1.0, 0.5, 1.0]), torch.tensor([1.0])):
        std = SchroedingerBridge(k=k, c=c).std(times)
        assert std[times != 0.5].max() < 1e-4


def test_bridge_variances_are_the_integral_of_the_squared_diffusion():
    bridge = SchroedingerBridge(k=2.6, c=0.4)
    since, left = bridge.variances(torch.tensor([1.0, 0.6]))
    assert float(since[0]) == pytest.approx(1.20564, abs=1e-5)
    s = torch.linspace(0, 0.6, 10001, dtype=torch.float64)
    integral = float(torch.trapezoid(0.4 * 2.6 ** (2 * s), s))
    assert float(since[1]) == pytest.approx(integral, abs=1e-5)
    assert float(since[1] + left[1]) == pytest.approx(float(since[0]), abs=1e-5)


def test_ouve_mean_moves_from_clean_to_distorted():
    process = OUVESDE()
    x0, y = torch.full((3, 1, 1, 1), 2.0), torch.full((3, 1, 1, 1), -1.0)
    mean = process.mean(x0, y, torch.tensor([0.0, 0.5, 1.0])).flatten()
    expected = [-1 + 3 * math.exp(-2 * t) for t in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(mean, torch.tensor(expected))


def test_bridge_mean_meets_both_ends():
    bridge = SchroedingerBridge(k=2.6, c=0.4)
    x0, y = torch.full((3, 1, 1, 1), 2.0), torch.full((3, 1, 1, 1), -1.0)
    mean = bridge.mean(x0, y, torch.tensor([0.0, 0.5, 1.0])).flatten()
    # s(t) / s(1) is (k^2t - 1) / (k^2 - 1)
    share = (2.6 - 1) / (2.6**2 - 1)
    expected = torch.tensor([2.0, 2 - 3 * share, -1.0])
    torch.testing.assert_close(mean, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [SGMSE_48K, SGMSE_16K])
def test_simulated_ouve_has_the_stated_mean_and_deviation(options):
    """Euler-Maruyama over many paths, looked at half-way and at the end."""
    process = OUVESDE(noise_variance=1.0, **options)
    paths, steps = 20000, 400
    x0, y = torch.tensor(1.0), torch.tensor(-1.0)
    x, draws = x0.expand(paths).clone(), generator()
    dt = 1.0 / steps
    for i in range(steps):
        # The drift at the start of the step, the noise at its middle.
        g = process.diffusion(torch.tensor((i + 0.5) * dt))
        z = torch.randn(paths, generator=draws)
        x = x + process.drift(x, y, None) * dt + g * dt**0.5 * z
        if i + 1 in (steps // 2, steps):
            t = torch.tensor([(i + 1) * dt])
            std = float(process.std(t))
            mean = float(process.mean(x0[None], y[None], t))
            assert float(x.mean()) == pytest.approx(mean, abs=0.01)
            assert float(x.std()) == pytest.approx(std, rel=0.02)


@pytest.mark.parametrize("kind", [OUVESDE, SchroedingerBridge])
@pytest.mark.parametrize("variance", [None, 0.5, 1.0])
def test_noise_variance_is_per_channel(kind, variance):
    """Half per channel by default: complex noise of total variance one."""
    process = kind() if variance is None else kind(noise_variance=variance)
    z = process.noise(torch.zeros(1, 4, 64, 64), generator())
    channels = z.square().mean(dim=(0, 2, 3))
    expected = torch.full((4,), variance or 0.5)
    torch.testing.assert_close(channels, expected, atol=0, rtol=0.1)


@pytest.mark.parametrize("process", ALL)
def test_perturbation_is_mean_plus_scaled_noise(process):
    x0, y, z = torch.randn(3, 2, 2, 3, 3, generator=generator())
    t = torch.tensor([0.2, 0.7])
    for i in range(2):
        expected = process.mean(x0[i : i + 1], y[i : i + 1], t[i : i + 1])
        expected = expected + float(process.std(t)[i]) * z[i]
        torch.testing.assert_close(process.perturb(x0, y, t, z)[i], expected[0])


def test_ouve_starts_around_the_distorted_signal():
    process, y = OUVESDE(), torch.full((2, 4, 64, 64), 3.0)
    start = process.prior(y, generator())
    assert float(start.mean()) == pytest.approx(3, abs=0.02)
    assert float(start.std()) == pytest.approx(0.73148 * 0.5**0.5, rel=0.02)


def test_bridge_starts_at_the_distorted_signal():
    y = torch.randn(2, 4, 8, 8, generator=generator())
    assert torch.equal(SchroedingerBridge().prior(y, generator()), y)


def test_noise_comes_from_the_generator_or_the_caller():
    like = torch.zeros(2, 3, dtype=torch.float64)
    assert torch.equal(draw_noise(like, generator(1)), draw_noise(like, generator(1)))
    assert not torch.equal(
        draw_noise(like, generator(1)), draw_noise(like, generator(2))
    )
    assert draw_noise(like, generator(1)).dtype == torch.float64
    assert torch.equal(draw_noise(like, lambda x: x + 7), like + 7)


@pytest.mark.parametrize("process", ALL)
def test_noise_level_rises_and_the_log_snr_falls_with_time(process):
    t = torch.linspace(process.t_eps, process.t_max, 50)
    assert (process.noise_level(t).diff() > 0).all()
    assert (process.half_log_snr(t).diff() < 0).all()


@pytest.mark.parametrize("process", ALL)
def test_log_snr_is_that_of_the_perturbed_data(process):
    t = torch.tensor([0.1, 0.5, 0.9])
    data, zero = torch.ones(3, 1, 1, 1), torch.zeros(3, 1, 1, 1)
    ratio = process.mean(data, zero, t).flatten() / process.std(t)
    torch.testing.assert_close(process.half_log_snr(t), ratio.log())


def test_bridge_begins_without_any_trace_of_the_data():
    assert SchroedingerBridge().half_log_snr(torch.tensor(1.0)) == -math.inf


@pytest.mark.parametrize(("t_start", "std"), [(None, 0.73148), (0.5, 0.22977)])
def test_ouve_starts_around_the_distorted_latent(t_start, std):
    y = torch.full((1, 1, 100, 100), 3.0)
    x = OUVESDE().prior(y, generator(), t_start)
    assert float(x.mean()) == pytest.approx(3, abs=0.02)
    assert float(x.std()) == pytest.approx(0.5**0.5 * std, rel=0.03)


@pytest.mark.parametrize("process", [OUVESDE(), BBED()])
def test_start_has_the_whole_of_the_distorted_latent(process):
    """The weights of both ends add up to one without any rounding."""
    y = torch.randn(1, 1, 4, 4, generator=generator())
    for t_start in torch.linspace(process.t_eps, process.t_max, 40).tolist():
        assert torch.equal(process.prior(y, torch.zeros_like, t_start), y)


@pytest.mark.parametrize("process", [OUVESDE(), BBED(), VP(), LINEAR])
def test_score_and_data_mean_each_other(process):
    x, y, data = torch.randn(3, 2, 1, 4, 4, generator=generator())
    t = torch.tensor([process.t_eps, 0.7])
    score = process.to_score(data, x, y, t)
    std = process.std(t).reshape(-1, 1, 1, 1)
    noise = (x - process.mean(data, y, t)) / std
    torch.testing.assert_close(score, -noise / std)
    back = process.to_data(score, x, y, t)
    torch.testing.assert_close(back, data, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("process", [BBED(), VP(), LINEAR])
def test_simulated_paths_have_the_stated_mean_and_deviation(process):
    """Euler-Maruyama from a clean value, looked at half-way and near the end."""
    paths, steps, end = 20000, 900, 0.9
    x0, y = torch.tensor([1.0]), torch.tensor([-1.0])
    x, draws, dt = x0.expand(paths).clone(), generator(), end / steps
    for i in range(steps):
        now, middle = torch.tensor([i * dt]), torch.tensor([(i + 0.5) * dt])
        z = torch.randn(paths, generator=draws)
        x = x + process.drift(x, y, now) * dt + process.diffusion(middle) * dt**0.5 * z
        if i + 1 in (steps // 2, steps):
            t = torch.tensor([(i + 1) * dt])
            assert float(x.mean()) == pytest.approx(
                float(process.mean(x0, y, t)), abs=0.02
            )
            assert float(x.std()) == pytest.approx(float(process.std(t)), rel=0.02)
