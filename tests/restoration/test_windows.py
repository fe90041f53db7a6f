"""Fixed windows, their cross-fade, and noise anchored to the position."""

import pytest
import torch

from lafufu_sb.errors import UsageError
from lafufu_sb.restoration.windows import (
    AnchoredNoise,
    WindowPlan,
    fit_overlap,
    fit_window,
)

PLANS = [(10, 8), (10, 5), (10, 9), (10, 10), (11, 6), (112, 96), (97920, 86016)]


@pytest.mark.parametrize(("window", "stride"), PLANS)
@pytest.mark.parametrize("windows", [0.01, 0.5, 1, 1.01, 1.5, 2, 3.3, 7])
def test_weights_sum_to_one_over_any_length(window, stride, windows):
    length = max(1, int(windows * window))
    plan = WindowPlan(window, stride)
    starts = plan.starts(length)
    total = torch.zeros(starts[-1] + window)
    for start in starts:
        weights = plan.weights(start == 0, start == starts[-1])
        assert weights.min() >= 0 and weights.max() <= 1
        total[start : start + window] += weights
    assert len(total) >= length
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("length", "starts"),
    [(1, 1), (9, 1), (10, 1), (11, 2), (18, 2), (19, 3), (26, 3), (27, 4)],
)
def test_no_window_more_than_needed(length, starts):
    assert WindowPlan(10, 8).starts(length) == [8 * i for i in range(starts)]


def test_only_inner_edges_are_faded():
    plan = WindowPlan(10, 8)
    alone = plan.weights(first=True, last=True)
    middle = plan.weights(first=False, last=False)
    assert torch.equal(alone, torch.ones(10))
    assert torch.equal(middle[2:8], torch.ones(6))
    assert (middle[:2] < 1).all() and (middle[8:] < 1).all()
    assert torch.equal(plan.weights(True, False)[:8], torch.ones(8))
    assert torch.equal(plan.weights(False, True)[2:], torch.ones(8))


@pytest.mark.parametrize(
    ("window", "stride"), [(10, 4), (10, 11), (10, 0), (10, -8), (11, 5)]
)
def test_strides_that_leave_gaps_or_overlap_three_windows_are_refused(window, stride):
    with pytest.raises(UsageError, match=f"got {stride}"):
        WindowPlan(window, stride)


def draw(seed, first_columns, columns=8, chunk=2, times=1):
    noise = AnchoredNoise(seed, first_columns, chunk)
    like = torch.zeros(len(first_columns), 3, 4, columns)
    return torch.stack([noise(like) for _ in range(times)])


def test_noise_is_the_same_where_windows_overlap():
    """In every draw of a sampler, not only the first."""
    drawn = draw(0, [0, 6, 12], times=3)
    for left, right in ((0, 1), (1, 2)):
        assert torch.equal(drawn[:, left, ..., 6:], drawn[:, right, ..., :2])
    assert not torch.equal(drawn[:, 0, ..., :2], drawn[:, 1, ..., :2])


def test_noise_of_a_window_does_not_depend_on_the_batch():
    together = draw(0, [12, 0, 6], times=2)
    for i, column in enumerate([12, 0, 6]):
        assert torch.equal(together[:, i], draw(0, [column], times=2)[:, 0])


def test_noise_depends_on_seed_and_draw():
    first, second = draw(0, [0], times=2)
    assert not torch.equal(first, second)
    assert torch.equal(draw(0, [0])[0], first)
    for seed in (1, -1, 10**6):
        assert not torch.equal(draw(seed, [0])[0], first)


def test_noise_does_not_repeat_along_the_signal():
    chunks = draw(0, [0], columns=64)[0, 0].unfold(-1, 2, 2).flatten(0, 1)
    chunks = chunks.transpose(0, 1).flatten(1)
    assert len(torch.unique(chunks, dim=0)) == 32


def test_noise_is_standard_normal():
    noise = AnchoredNoise(0, [0, 256], 8)(torch.zeros(2, 4, 32, 256))
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)


def test_columns_need_not_fill_the_last_chunk():
    assert torch.equal(draw(0, [4], columns=5)[0], draw(0, [4], columns=8)[0, ..., :5])


def test_noise_takes_the_type_of_what_it_is_for():
    like = torch.zeros(1, 1, 2, 4, dtype=torch.float64)
    assert AnchoredNoise(0, [0], 2)(like).dtype == torch.float64


def test_noise_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    draw(0, [0, 2])
    assert torch.equal(torch.get_rng_state(), state)


def test_each_window_may_have_its_own_seed():
    drawn = AnchoredNoise([3, 4], [6, 6], 2)(torch.zeros(2, 3, 4, 8))
    assert torch.equal(drawn[0], draw(3, [6])[0, 0])
    assert torch.equal(drawn[1], draw(4, [6])[0, 0])


@pytest.mark.parametrize(
    ("seconds", "frames"), [(0.26, 64), (0.7, 64), (0.8, 128), (2, 256), (2.048, 256)]
)
def test_window_is_the_nearest_on_the_grid(seconds, frames):
    assert fit_window(seconds, 125, 64) == frames


@pytest.mark.parametrize("seconds", [0, -1, 0.2, float("nan"), float("inf")])
def test_window_far_from_every_choice_is_refused(seconds):
    with pytest.raises(UsageError, match="at least 0.512 and in steps of as many, got"):
        fit_window(seconds, 125, 64)


@pytest.mark.parametrize(
    ("seconds", "frames"), [(0.001, 4), (0.25, 32), (0.3, 32), (0.5, 64), (1.024, 128)]
)
def test_overlap_is_the_nearest_that_divides_the_window(seconds, frames):
    assert fit_overlap(seconds, 125, 256, 4) == frames


@pytest.mark.parametrize("seconds", [0, -1, 1.03, float("nan"), float("inf")])
def test_impossible_overlap_is_refused_with_the_choices(seconds):
    choices = "0.032, 0.064, 0.128, 0.256, 0.512, 1.02, got"
    with pytest.raises(UsageError, match=f"2.05 seconds the choices are {choices}"):
        fit_overlap(seconds, 125, 256, 4)
