"""Learning rates over the course of a training."""

import pytest

from lafufu_sb.training.schedules import WarmupCosine


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0.0, 0.0), (0.05, 1.0), (0.1, 2.0), (0.55, 1.0), (0.325, 1.7071), (1.0, 0.0)],
)
def test_values(progress, expected):
    schedule = WarmupCosine(warmup=0.1)
    assert 2 * schedule(progress) == pytest.approx(expected, abs=1e-4)


def test_rises_to_the_end_of_the_warm_up_and_falls_after_it():
    schedule = WarmupCosine(warmup=0.25)
    values = [schedule(i / 200) for i in range(201)]
    steps = [b - a for a, b in zip(values[:-1], values[1:], strict=True)]
    assert all(s > 0 for s in steps[:50]) and all(s < 0 for s in steps[50:])
    assert max(values) == pytest.approx(1.0)
    assert max(map(abs, steps)) < 2.1e-2  # no jump


def test_without_warm_up_it_begins_at_the_highest():
    assert WarmupCosine(warmup=0.0)(0.0) == 1.0


def test_stays_at_zero_after_the_end():
    assert WarmupCosine()(1.5) == pytest.approx(0, abs=1e-12)
