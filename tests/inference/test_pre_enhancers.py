"""Other pre-enhancers than a model's own."""

import pytest
import torch
from small import QuieterSignal, restorer, speech

from lafufu_sb import shipped_model
from lafufu_sb.errors import UsageError
from lafufu_sb.inference.interface import EnhanceLatent
from lafufu_sb.inference.pre_enhancers import ModelPreEnhancer, behind
from lafufu_sb.lobes.pre_enhancer import SignalPreEnhancer

ENHANCED = {"condition": ["enhanced"], "mean": "enhanced", "skips": "enhanced"}


class Negative(SignalPreEnhancer):
    def enhance(self, signal, sample_rate):
        return -signal


def test_the_networks_stay_and_the_first_model_is_unchanged():
    model, wavs = restorer(pre_enhancer=QuieterSignal(), **ENHANCED), speech(1, 500)
    before = model.restore(wavs)
    other = model.with_pre_enhancer(Negative())
    torch.testing.assert_close(other.restore(wavs), -wavs, atol=1e-5, rtol=0)
    assert other.score_model is model.score_model
    assert torch.equal(model.restore(wavs), before)


def test_a_model_stands_before_another():
    first = restorer(pre_enhancer=Negative(), **ENHANCED)
    model = restorer(pre_enhancer=QuieterSignal(), **ENHANCED)
    wavs = speech(2, 500)
    restored = model.with_pre_enhancer(ModelPreEnhancer(first)).restore(wavs)
    torch.testing.assert_close(restored, -wavs, atol=1e-5, rtol=0)
    slower = restorer(sample_rate=16000)
    with pytest.raises(UsageError, match="works at 16000 Hz, the model at 48000"):
        model.with_pre_enhancer(ModelPreEnhancer(slower)).restore(wavs)


def test_a_model_without_one_takes_none():
    with pytest.raises(UsageError, match="not trained behind a pre-enhancer"):
        behind(restorer(), "rnnoise_or_any", lambda folder, trust: Loaded())


class Loaded:
    restorer = restorer()


def test_a_name_is_a_pre_enhancer_or_a_model():
    model = restorer(pre_enhancer=QuieterSignal(), **ENHANCED)
    asked = []

    def load(source, trust):
        asked.append((source, trust))
        return Loaded()

    assert behind(model, None, load) is model
    chosen = behind(model, "my/model", load, trust=True)
    assert isinstance(chosen.pre_enhancer, ModelPreEnhancer)
    behind(model, "dereverb", load)
    assert asked == [("my/model", True), (shipped_model("dereverb"), False)]
    with pytest.raises(
        FileNotFoundError, match="deepfilternet3, nsnet2, rnnoise, wpe or"
    ):
        behind(model, "./missing", EnhanceLatent.from_hparams)
