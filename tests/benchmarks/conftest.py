"""The benchmarks are scripts that import each other by name."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))


@pytest.fixture
def tiny_sgmse():
    """SGMSE+ of width 8, in 64-frame windows fast enough for a test."""
    from systems import sgmse

    return sgmse(8)


@pytest.fixture
def mini():
    """A shipped model, whose grid takes windows of 32 frames."""
    from systems import shipped

    return shipped("lafufu_mini_wham")
