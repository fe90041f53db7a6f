"""Where windows meet: the effect of cutting a signal into windows."""

import pytest
import torch
from small import WINDOW, Half, entangled, restorer, speech

import seams


@pytest.mark.parametrize("samples", [WINDOW + 1, 777])
@pytest.mark.parametrize("overlap, windows_per_batch", [(1, 1), (2, 4), (4, 4)])
def test_windows_give_the_result_of_one_window_over_all(
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


@pytest.mark.parametrize("place", [0, 37, 1000])
def test_neighbours_differ_by_less_than_seeds_do(place):
    """The noise is that of the place, not of the window."""
    model = entangled(sampler_options={"num_steps": 8})
    piece = speech(1, 4000)[0, place:][: model.plan.window + model.plan.stride]
    neighbours, _, another_seed, power = seams.compare(model, piece)
    assert 0 < neighbours < another_seed < power


@pytest.mark.slow
@pytest.mark.parametrize("task, calls", [("denoise_small", 50), ("dereverb", 4)])
def test_trained_models_join_windows_more_closely_than_seeds_agree(task, calls):
    """The error of a seam is the difference to one window around it, on real speech.

    With the windows of the models, and in denoising the 50 calls of the one preset that
    draws noise: with fewer the seams are as large as the effect of another seed.
    docs/performance.md has the numbers.
    """
    neighbours, around, another_seed, power = seams.measure(task, calls, None, places=6)
    assert 0 < max(neighbours, around) < another_seed < 0.5 * power
