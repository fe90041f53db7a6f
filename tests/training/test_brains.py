"""Steps of the training stages."""

from types import SimpleNamespace

import pytest
import torch
from small import spectrogram_representation

from lafufu_sb.diffusion.objectives import DataPrediction
from lafufu_sb.diffusion.processes import VP, Direct
from lafufu_sb.training.brains import ScoreBrain
from lafufu_sb.training.means import RunningMeans


def test_bins_above_the_bandwidth_of_an_item_are_unknown():
    brain = SimpleNamespace(restorer=SimpleNamespace(sample_rate=48000))
    batch = SimpleNamespace(bandwidth=torch.tensor([24000.0, 12000.0]))
    features = spectrogram_representation().features(torch.zeros(2, 112))
    known = ScoreBrain._known(brain, batch, features)
    assert known.shape == (2, 1, 32, 1)
    assert known[0].all()
    assert known[1].flatten().tolist() == 16 * [True] + 16 * [False]


@pytest.mark.parametrize(("process", "quarters"), [(VP(), 4), (Direct(), 0)])
def test_losses_are_logged_by_quarters_of_the_time_if_it_changes(process, quarters):
    brain = SimpleNamespace(process=process, means=RunningMeans())
    x0 = y = torch.ones(200, 1, 2, 2)
    loss = DataPrediction()(lambda x_t, t: 0 * x_t + 1, process, x0, y)
    ScoreBrain._sort_by_time(brain, loss)
    expected = {f"loss_t{number}": 2.0 for number in range(1, quarters + 1)}
    assert brain.means.take() == pytest.approx(expected)
