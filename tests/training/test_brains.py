"""Steps of the training stages."""

from types import SimpleNamespace

import torch
from small import spectrogram_representation

from lafufu_sb.training.brains import ScoreBrain


def test_bins_above_the_bandwidth_of_an_item_are_unknown():
    brain = SimpleNamespace(restorer=SimpleNamespace(sample_rate=48000))
    batch = SimpleNamespace(bandwidth=torch.tensor([24000.0, 12000.0]))
    features = spectrogram_representation().features(torch.zeros(2, 112))
    known = ScoreBrain._known(brain, batch, features)
    assert known.shape == (2, 1, 32, 1)
    assert known[0].all()
    assert known[1].flatten().tolist() == 16 * [True] + 16 * [False]
