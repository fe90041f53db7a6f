"""The length of a training, and means that outlive a checkpoint."""

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from lafufu_sb.errors import UsageError
from lafufu_sb.training.checkpoints import AtomicCheckpointer
from lafufu_sb.training.means import RunningMeans
from lafufu_sb.training.restoration_brain import steps_per_epoch


@pytest.mark.parametrize("items", [5, 16, 17])
@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_schedules_count_the_steps_that_each_process_makes(
    items, processes, accumulation
):
    data = list(range(items))
    sampler = DistributedSampler(data, num_replicas=processes, rank=processes - 1)
    made = len(DataLoader(data, batch_size=1, sampler=sampler)) // accumulation
    assert steps_per_epoch(items, 1, processes, accumulation) == made
    if items > 5:
        made = len(DataLoader(data, batch_size=2, sampler=sampler)) // accumulation
        assert steps_per_epoch(items, 2, processes, accumulation) == made


def test_an_epoch_without_a_step_is_refused():
    with pytest.raises(UsageError, match="2 batches in each of 2 processes, too few"):
        steps_per_epoch(7, 2, processes=2, accumulation=3)


def test_means_go_on_where_a_checkpoint_was_made(tmp_path):
    means, resumed = RunningMeans(), RunningMeans()
    means.add("loss", torch.tensor([1.0, 2.0]))
    means.add("part", torch.tensor([4.0, 8.0]), torch.tensor([False, True]))
    AtomicCheckpointer(tmp_path, {"means": means}).save_checkpoint(end_of_epoch=False)
    AtomicCheckpointer(tmp_path, {"means": resumed}).recover_if_possible()
    resumed.add("loss", torch.tensor(9.0))
    resumed.add("part", torch.tensor([5.0]), torch.tensor([False]))
    assert resumed.take() == {"loss": 4.0, "part": 8.0}
    assert resumed.take() == {}
