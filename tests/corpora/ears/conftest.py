"""Mock sources of the benchmark, and the corpora generated from them, once."""

import functools

import mock_sources
import pytest
from mock_sources import ask

from lafufu_sb.corpora.ears import generate


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    pytest.importorskip("h5py")
    pytest.importorskip("soxr")
    folder = tmp_path_factory.mktemp("sources")
    mock_sources.write_speech(folder)
    mock_sources.write_noises(folder)
    mock_sources.write_rooms(folder)
    return folder


@pytest.fixture(scope="session")
def corpus(sources, tmp_path_factory):
    """Generated corpora, each made once."""

    @functools.cache
    def generated(task, version):
        request = ask(sources, tmp_path_factory.mktemp("out"), task, version)
        count = generate.generate_corpus(request)
        assert list(count) == ["train", "valid", "test"]
        return request.folder

    return generated
