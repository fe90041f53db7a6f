"""A small model for the tests of loading and using one."""

import pytest
from golden.cases import tiny_folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Model folder of a bridge with random weights. Not to be changed."""
    return tiny_folder("bridge", tmp_path_factory.mktemp("model"))
