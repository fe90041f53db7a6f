"""Recorded results of a small model of each kind and of the shipped models."""

import json

import numpy as np
import pytest
from golden.cases import HERE, STEP, TINY, case_names, compute, inputs, tiny_folder

# Of the larger of one and the peak; ``sgmse`` has peaks of 55, where rounding differs
# by 7e-7 of the peak between one and two threads. Recurrent layers (``gains``) give
# results that differ by 8e-6 between processors.
TOLERANCE = {name: 1e-6 for name in TINY} | {"sgmse": 1e-5, "gains": 3e-5}
SHIPPED_TOLERANCE = {"bf16": 2e-2, "fp32": 1e-4}  # of the peak


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("golden")
    return {name: tiny_folder(name, parent) for name in TINY}


@pytest.fixture(scope="module")
def wavs():
    return inputs()


@pytest.fixture(scope="module")
def recorded():
    with np.load(HERE / "outputs.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("case", case_names())
def test_result_is_the_recorded_one(case, folders, wavs, recorded):
    name, precision, _ = case.split("/")
    expected = recorded[case]
    peak = float(np.abs(expected).max())
    assert peak > 0
    if name in TINY:
        tolerance = TOLERANCE[name] * max(1.0, peak)
    else:
        tolerance = SHIPPED_TOLERANCE[precision] * peak
    view = compute(case, folders, wavs)[:, ::STEP]
    assert view.shape == expected.shape
    assert float(np.abs(view - expected).max()) <= tolerance


def test_records_are_complete(recorded):
    marks = json.loads((HERE / "bits.json").read_text())
    assert set(recorded) == set(marks) == set(case_names())
