"""Grids of times end where they should and are equal in what they promise."""

import pytest
import torch

from lafufu_sb.diffusion.processes import BBED, OUVESDE, VP, SchroedingerBridge
from lafufu_sb.diffusion.samplers.steps import SPACINGS, extrapolate, time_grid
from lafufu_sb.errors import UsageError

PROCESSES = [OUVESDE(), SchroedingerBridge(), SchroedingerBridge(c=10.0)]
PROCESSES += [BBED(), VP(), VP(schedule="linear", t_max=1.0)]


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("t_start", [None, 0.5])
@pytest.mark.parametrize("count", [1, 2, 3, 31])
def test_grid_falls_from_its_start_to_t_eps(process, spacing, t_start, count):
    times = time_grid(process, count, spacing=spacing, t_start=t_start)
    assert times.shape == (count,) and times.dtype == torch.float32
    assert times[0] == torch.tensor(t_start or process.t_max)
    assert (times.diff() < 0).all()
    if count > 1:
        assert times[-1] == torch.tensor(process.t_eps)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize(
    ("spacing", "scale"),
    [
        ("uniform", lambda process, t: t),
        ("quadratic", lambda process, t: t.sqrt()),
        ("log_sigma", lambda process, t: process.noise_level(t).log()),
    ],
)
def test_grid_is_equally_spaced_on_its_scale(process, spacing, scale):
    times = time_grid(process, 12, spacing=spacing, t_start=0.9).double()
    steps = scale(process, times).diff()
    torch.testing.assert_close(steps, steps.mean().expand(11), rtol=1e-3, atol=0)


@pytest.mark.parametrize("process", PROCESSES)
def test_steps_near_the_clean_end_are_smaller_unless_uniform(process):
    if isinstance(process, BBED):
        pytest.skip("its level rises fastest near the other end")
    last = {s: -float(time_grid(process, 10, spacing=s).diff()[-1]) for s in SPACINGS}
    assert last["quadratic"] < 0.5 * last["uniform"]
    assert last["log_sigma"] < 0.5 * last["uniform"]


def test_uniform_grid_is_the_published_one_bit_for_bit():
    expected = torch.linspace(1, 0.03, 30)
    assert torch.equal(time_grid(OUVESDE(), 30), expected)
    assert torch.equal(time_grid(OUVESDE(), 30, t_start=1), expected)


def test_unknown_spacing_is_refused_with_the_choice():
    message = "'uniform', 'quadratic' or 'log_sigma', got 'cosine'"
    with pytest.raises(UsageError, match=f"spacing must be {message}"):
        time_grid(OUVESDE(), 3, spacing="cosine")


@pytest.mark.parametrize("t_start", [0, 0.03, 1.01, True, "0.5", float("nan")])
def test_start_outside_the_process_is_refused(t_start):
    with pytest.raises(UsageError, match="t_start lies above 0.03 and up to 1.0, got"):
        time_grid(OUVESDE(), 3, t_start=t_start)


def test_extrapolation_is_exact_where_the_estimate_is_linear_in_the_log_snr():
    process, times = OUVESDE(), torch.tensor([0.8, 0.5, 0.3])
    log_snr = process.half_log_snr(times)
    slope, offset = torch.randn(2, 1, 3, 4, 4)
    before, now = (offset + slope * log_snr[i] for i in (0, 1))
    ahead = extrapolate(process, now, times[1], times[2], (times[0], before))
    middle = (log_snr[1] + log_snr[2]) / 2
    torch.testing.assert_close(ahead, offset + slope * middle)


def test_nothing_is_extrapolated_without_or_from_the_noiseless_start():
    process, times = SchroedingerBridge(), torch.tensor([1.0, 0.7, 0.4])
    before, now = torch.randn(2, 1, 3, 4, 4)
    assert extrapolate(process, now, times[0], times[1], None) is now
    ahead = extrapolate(process, now, times[1], times[2], (times[0], before))
    assert torch.equal(ahead, now)
