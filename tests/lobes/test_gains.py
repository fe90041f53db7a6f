"""The pre-enhancer of bounded gains."""

import pytest
import torch

from lafufu_sb.errors import UsageError
from lafufu_sb.lobes.gains import GainPreEnhancer


def pre_enhancer(**changes):
    torch.manual_seed(0)
    return GainPreEnhancer(**{"bins": 12, "width": 8, "units": 4} | changes)


def spectrograms(batch=2, frames=9, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, 2, 12, frames, generator=generator)


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("stack", [1, 2, 4])
def test_every_frame_gets_gains_for_any_stack(frames, stack):
    given = spectrograms(frames=frames)
    gains = pre_enhancer(stack=stack).gains(given)
    assert gains.shape == (2, 1, 12, frames)
    assert 0 < gains.min() and gains.max() < 1 and gains.std() > 0


@pytest.mark.parametrize("bias, factor", [(-100.0, 0.25), (100.0, 1.0)])
def test_floor_bounds_the_attenuation(bias, factor):
    network, given = pre_enhancer(floor=0.25), spectrograms()
    with torch.no_grad():
        network.write.bias.fill_(bias)
        torch.testing.assert_close(network(given), factor * given)
        least = network(given, floor=0.0)
    torch.testing.assert_close(least, (factor == 1) * given)


def test_phases_are_kept():
    given = spectrograms()
    with torch.no_grad():
        made = pre_enhancer()(given)
    phases = (torch.atan2(s[:, 1], s[:, 0]) for s in (made, given))
    torch.testing.assert_close(*phases)


def test_each_gain_depends_on_the_whole_window():
    network, given = pre_enhancer(), spectrograms(batch=1).requires_grad_()
    network.gains(given)[0, 0, 3, 4].backward()
    assert (given.grad[0].abs().sum(dim=0) > 0).all()


def test_items_do_not_depend_on_their_neighbours():
    network, given = pre_enhancer().eval(), spectrograms(batch=3)
    with torch.no_grad():
        together = network(given)
        alone = torch.cat([network(item) for item in given.split(1)])
    torch.testing.assert_close(together, alone)


def test_silence_stays_silence_with_finite_gradients():
    network, given = pre_enhancer(), torch.zeros(1, 2, 12, 4, requires_grad=True)
    made = network(given)
    assert not made.any()
    made.sum().backward()
    assert torch.isfinite(given.grad).all()


@pytest.mark.parametrize("floor", [-0.1, 1.0])
def test_floor_outside_its_range_is_refused(floor):
    with pytest.raises(UsageError, match=r"floor must lie in \[0, 1\)"):
        pre_enhancer(floor=floor)
