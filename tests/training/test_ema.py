"""Averaged weights."""

import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer
from torch import nn

from lafufu_sb.training.ema import ExponentialMovingAverage


def network():
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


@torch.no_grad()
def fill(module, value):
    for parameter in module.parameters():
        parameter.fill_(value)


def values(module):
    """The one value that all parameters of a module have."""
    found = torch.cat([p.detach().flatten() for p in module.parameters()]).unique()
    assert len(found) == 1
    return float(found)


def average(module, ema):
    with ema.averaged():
        return values(module)


def test_first_updates_follow_fast():
    """(1 + n) / (10 + n) remembers 1/10, 2/11, 3/12 ... of what was before."""
    module = network()
    ema = ExponentialMovingAverage(module, decay=0.999)
    assert average(module, ema) == 0
    expected = 0.0
    for n in range(5):
        fill(module, 1.0)
        ema.update()
        decay = (1 + n) / (10 + n)
        expected = decay * expected + (1 - decay)
        assert average(module, ema) == pytest.approx(expected, abs=1e-6)
    assert int(ema.updates) == 5


def test_reset_forgets_what_was_before():
    module = network()
    ema = ExponentialMovingAverage(module, decay=0.999)
    for _ in range(50):
        ema.update()
    fill(module, 1.0)
    ema.reset()
    assert average(module, ema) == 1
    fill(module, 2.0)
    ema.update()
    assert average(module, ema) == pytest.approx(1.9)  # as the first update does


def test_later_updates_have_the_decay():
    module = network()
    ema = ExponentialMovingAverage(module, decay=0.75)
    for _ in range(27):  # 28 / 37 is above 0.75
        ema.update()
    fill(module, 1.0)
    ema.update()
    assert average(module, ema) == pytest.approx(0.25)
    ema.update()
    assert average(module, ema) == pytest.approx(1 - 0.75**2)


def test_training_weights_come_back():
    module = network()
    ema = ExponentialMovingAverage(module)
    fill(module, 1.0)
    with ema.averaged():
        assert values(module) == 0
    assert values(module) == 1


def test_training_weights_come_back_after_an_exception():
    module = network()
    ema = ExponentialMovingAverage(module)
    fill(module, 1.0)
    with pytest.raises(RuntimeError, match="in validation"):
        with ema.averaged():
            raise RuntimeError("in validation")
    assert values(module) == 1


def test_averaged_weights_do_not_change_in_the_context():
    module = network()
    ema = ExponentialMovingAverage(module)
    fill(module, 1.0)
    with ema.averaged():
        fill(module, 5.0)
    assert values(module) == 1
    assert average(module, ema) == 0


def test_copy_is_for_good_and_the_optimiser_keeps_its_parameters():
    module = network()
    parameters = list(module.parameters())
    ema = ExponentialMovingAverage(module)
    fill(module, 1.0)
    ema.copy_to_module()
    assert values(module) == 0
    assert all(a is b for a, b in zip(parameters, module.parameters(), strict=True))


def test_frozen_parameters_are_not_followed():
    module = network()
    module[0].requires_grad_(False)
    ema = ExponentialMovingAverage(module)
    fill(module, 1.0)
    with ema.averaged():
        assert values(module[0]) == 1
        assert values(module[2]) == 0


def test_state_is_the_shadow_and_its_count():
    module = network()
    ema = ExponentialMovingAverage(module)
    names = {name.replace(".", "/") for name, _ in module.named_parameters()}
    assert set(ema.state_dict()) == names | {"updates"}
    assert not list(ema.parameters())


def trained(updates=3):
    module = network()
    ema = ExponentialMovingAverage(module, decay=0.9)
    for i in range(updates):
        fill(module, float(i + 1))
        ema.update()
    return module, ema


def goes_on_as(first, second):
    results = []
    for module, ema in (first, second):
        fill(module, 10.0)
        ema.update()
        results.append(average(module, ema))
    return results[0] == results[1]


def test_state_dict_round_trip_goes_on_where_it_was():
    original, restored = trained(), trained(updates=0)
    restored[1].load_state_dict(original[1].state_dict())
    assert average(*restored) == average(*original)
    assert goes_on_as(original, restored)


def test_checkpointer_saves_and_restores_it(tmp_path):
    original, restored = trained(), trained(updates=0)
    Checkpointer(tmp_path, {"ema": original[1]}).save_checkpoint()
    Checkpointer(tmp_path, {"ema": restored[1]}).recover_if_possible()
    assert average(*restored) == average(*original)
    assert goes_on_as(original, restored)
