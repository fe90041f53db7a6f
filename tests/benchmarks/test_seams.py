"""Where windows meet: what cutting a signal into windows does to the result."""

import pytest
import torch
from small import WINDOW, Half, entangled, restorer, speech

from lafufu_sb.restoration.windows import AnchoredNoise
from seams import measure


@pytest.mark.parametrize("samples", [WINDOW + 1, 777, 5000])
@pytest.mark.parametrize("overlap", [1, 2, 4])
@pytest.mark.parametrize("windows_per_batch", [1, 4])
def test_windows_give_what_one_window_over_all_gives(
    samples, overlap, windows_per_batch
):
    wavs = speech(2, samples)
    one = restorer(score_model=Half(), window_frames=512, overlap_frames=2)
    assert len(one.plan.starts(samples)) == 1
    cut = restorer(
        score_model=Half(), overlap_frames=overlap, windows_per_batch=windows_per_batch
    )
    assert len(cut.plan.starts(samples)) > 1
    torch.testing.assert_close(cut.restore(wavs), one.restore(wavs), atol=1e-5, rtol=0)


def rms(x):
    return float(x.square().mean().sqrt())


def seam(model, wav, seed=0):
    """The two windows of a signal where they overlap, and their joint result."""
    plan = model.plan
    wav = (
        wav[: plan.window + plan.stride] / wav[: plan.window + plan.stride].abs().max()
    )
    columns = [0, plan.stride // model._samples_per_column]
    left, right = model._restore_windows(
        model.inference_networks(),
        torch.stack([wav[: plan.window], wav[plan.stride :]]),
        AnchoredNoise(seed, columns, model._chunk),
    )
    joined = model.restore(wav[None], seed=seed)[0]
    shared = slice(plan.stride, plan.window)
    return left[shared], right[: plan.overlap], joined[shared]


@pytest.mark.parametrize("place", [0, 37, 1000, 2345])
def test_neighbours_differ_by_less_than_seeds_do(place):
    """The noise is that of the place, not of the window."""
    model = entangled(sampler_options={"num_steps": 8})
    wav = speech(1, 4000)[0, place:]
    left, right, joined = seam(model, wav)
    other_seed = seam(model, wav, seed=1)[2]
    variation = rms(joined - other_seed)
    assert rms(joined - left) < variation and rms(joined - right) < variation


def test_joint_result_lies_between_the_windows():
    model = entangled()
    left, right, joined = seam(model, speech(1, 400)[0])
    low, high = torch.minimum(left, right), torch.maximum(left, right)
    assert (joined > low - 1e-6).all() and (joined < high + 1e-6).all()


@pytest.mark.slow
@pytest.mark.parametrize("task, calls", [("wham", 50), ("reverb", 4)])
def test_trained_models_join_windows_more_closely_than_seeds_agree(task, calls):
    """The error of a seam is the difference to one window around it, on real speech.

    With the windows that the models come with, and in denoising the 50 calls of the one
    preset that draws noise, for with fewer the seams are as large as what another seed
    changes; docs/performance.md has the numbers.
    """
    neighbours, around, another_seed, power = measure(task, calls, None, places=6)
    assert 0 < max(neighbours, around) < another_seed < 0.5 * power
