"""Contenders are the project's own networks, run as their names say."""

import pytest
import torch

import systems
from lafufu_sb.lobes.autoencoder import IdentityAutoencoder, LatentAutoencoder
from systems import PUBLISHED, find_system, known_systems, set_calls
from timing import time_whole


def test_lafufu_is_the_recipe_and_its_widths():
    small, large = (
        find_system(name).build("fp32", 256, "meta")
        for name in ("lafufu128", "lafufu256")
    )
    assert isinstance(small.autoencoder, LatentAutoencoder)
    assert small.sampler_name == "predictor_corrector"
    assert small.score_model.stem.out_channels == 128
    assert large.score_model.stem.out_channels == 256


def test_sgmse_is_full_band_with_the_published_number_of_parameters():
    restorer = find_system("sgmse128").build("fp32", 256, "meta")
    assert isinstance(restorer.autoencoder, IdentityAutoencoder)
    assert sum(p.numel() for p in restorer.score_model.parameters()) == 64_739_854


def test_all_shipped_models_are_known():
    assert {"lafufu_mini_wham", "lafufu_mini_reverb"} <= set(known_systems())


def test_a_model_folder_is_a_system_too(mini):
    folder = systems.shipped_model("lafufu_mini_wham")
    assert find_system(str(folder)).text == mini.text


def test_unknown_names_are_told_what_there_is():
    with pytest.raises(ValueError, match="sgmse128.*lafufu_mini_wham"):
        find_system("sgmse1024")


def seen_by_network(restorer):
    """Memory formats that reach the score network, and the result."""
    seen = []
    restorer.score_model.register_forward_pre_hook(
        lambda _, args: seen.append(args[1].is_contiguous())
    )
    wavs = torch.randn(1, restorer.plan.window, generator=torch.manual_seed(0))
    return seen, restorer.restore(wavs)


def test_published_way_is_the_same_result_in_the_default_memory_format(tiny_sgmse):
    fast = tiny_sgmse.build("fp32", 64)
    published = tiny_sgmse.build(PUBLISHED, 64)
    published.load_state_dict(fast.state_dict())
    for restorer in (fast, published):
        set_calls(restorer, 2)
    formats, restored = seen_by_network(fast)
    plain_formats, plain_restored = seen_by_network(published)
    assert plain_formats == [True, True] and formats == [False, False]
    assert published.score_model.stem.weight.is_contiguous()
    assert not fast.score_model.stem.weight.is_contiguous()
    torch.testing.assert_close(plain_restored, restored, rtol=1e-3, atol=1e-4)


def test_only_sgmse_has_a_published_way(mini):
    with pytest.raises(ValueError, match="only SGMSE"):
        mini.build(PUBLISHED, 32)


def test_compilation_is_asked_of_the_restorer(monkeypatch):
    class Able:
        def __init__(self, precision, compile=False):
            pass

    monkeypatch.setattr(systems, "Restorer", Able)
    options = systems.restorer_options("bf16", compiled=True)
    assert options == {"precision": "bf16", "compile": True}
    monkeypatch.setattr(systems, "Restorer", object)
    with pytest.raises(ValueError, match="no option 'compile'"):
        systems.restorer_options("bf16", compiled=True)


@pytest.mark.parametrize("calls", [1, 2, 4, 5, 8])
def test_both_kinds_of_sampler_make_as_many_calls_as_asked(calls, tiny_sgmse, mini):
    time_whole(tiny_sgmse.build("fp32", 64), calls)
    time_whole(mini.build("fp32", 32), calls)
