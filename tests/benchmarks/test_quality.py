"""The comparison with other enhancers keeps its results."""

import numpy as np
import pytest
import soundfile
import torch

import quality
from lafufu_sb.cli.evaluate import find_pairs
from lafufu_sb.evaluation.clips import read_signal
from lafufu_sb.evaluation.results import read_results


class Halving:
    facts = {"device": "a CPU"}

    def __call__(self, distorted, clean_path):
        return distorted / 2, {"rtf": 0.1}


@pytest.fixture
def pairs(tmp_path):
    for side in ("noisy", "clean"):
        (tmp_path / "corpus" / side).mkdir(parents=True)
        noise = np.random.default_rng(0).standard_normal(9600)
        soundfile.write(tmp_path / "corpus" / side / "00000.wav", 0.1 * noise, 48000)
    return find_pairs(tmp_path / "corpus")


def listen(folder):
    assert (folder / "00000.wav").is_file()
    return {"errors": 1, "words": 8, "texts": {}}


def test_a_system_is_measured_once(pairs, tmp_path):
    folder = tmp_path / "out" / "halving"
    metrics = ["si_sdr", "lsd"]
    quality.evaluate_system("halving", Halving, pairs, folder, listen, metrics)
    quality.evaluate_system("halving", None, pairs, folder)  # not built again
    (result,) = read_results([folder])
    assert result.system == "halving" and result.facts["device"] == "a CPU"
    assert result.numbers["rtf"].mean == 0.1
    lines = list(quality.error_lines([folder]))
    assert lines == ["- halving: WER 12.5 % of 8 words"]


def test_a_model_may_carry_settings():
    system = quality.ModelByText("denoise_small?num_steps=2&sampler=bridge_sde")
    assert system.facts["sampling"] == "bridge_sde, 2 calls, 2 phase averages"
    wav = torch.randn(9000, generator=torch.Generator().manual_seed(0))
    restored, times = system(wav, None)
    assert restored.shape == wav.shape and times["rtf"] > 0


def test_the_autoencoder_bound_sees_the_clean_recording(pairs):
    system = quality.ModelByText("denoise_small?autoencoder_bound")
    (_, _, clean_path) = pairs[0]
    wav = torch.randn(9600, generator=torch.Generator().manual_seed(0))
    restored, times = system(wav, clean_path)
    clean = read_signal(clean_path, quality.RATE)
    expected = system.model.restorer.autoencoder_bound(wav[None], clean[None])[0]
    assert torch.equal(restored, expected) and times == {}


def test_word_errors_are_edits_of_the_reference():
    assert quality.count_errors("a b c d", "a x c") == (2, 4)
