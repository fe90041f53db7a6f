"""Learning rates over the course of a training."""

import pytest
import torch

from lafufu_sb.training.schedules import WarmupCosine


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0.0, 0.0), (0.05, 1.0), (0.1, 2.0), (0.55, 1.0), (0.325, 1.7071), (1.0, 0.0)],
)
def test_values(progress, expected):
    schedule = WarmupCosine(lr=2.0, warmup=0.1)
    assert schedule.value(progress) == pytest.approx(expected, abs=1e-4)


def test_rises_to_the_end_of_the_warm_up_and_falls_after_it():
    schedule = WarmupCosine(lr=1e-3, warmup=0.25)
    values = [schedule.value(i / 200) for i in range(201)]
    steps = [b - a for a, b in zip(values[:-1], values[1:], strict=True)]
    assert all(s > 0 for s in steps[:50]) and all(s < 0 for s in steps[50:])
    assert max(values) == pytest.approx(1e-3)
    assert max(map(abs, steps)) < 2.1e-5  # no jump


def test_without_warm_up_it_begins_at_the_highest():
    assert WarmupCosine(lr=1.0, warmup=0.0).value(0.0) == 1.0


def test_stays_at_zero_after_the_end():
    assert WarmupCosine(lr=1.0).value(1.5) == pytest.approx(0, abs=1e-12)


def test_sets_all_groups_of_an_optimiser_and_keeps_no_state():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.Adam([{"params": [w], "lr": 9.0} for w in weights])
    schedule = WarmupCosine(lr=1.0, warmup=0.1)
    for progress in (0.55, 1.0, 0.05):  # in any order, as after a resumption
        schedule(optimizer, progress)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == [schedule.value(progress)] * 2
