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


def restore_and_look(restorer):
    """The result, and whether each convolution saw the default memory format."""
    seen = []
    for module in restorer.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_pre_hook(
                lambda conv, args: seen.append(
                    args[0].is_contiguous() and conv.weight.is_contiguous()
                )
            )
    wavs = torch.randn(1, restorer.plan.window, generator=torch.manual_seed(0))
    return restorer.restore(wavs), seen


def test_published_way_is_the_same_result_in_the_default_memory_format(tiny_sgmse):
    fast = tiny_sgmse.build("fp32", 64)
    published = tiny_sgmse.build(PUBLISHED, 64)
    published.load_state_dict(fast.state_dict())
    for restorer in (fast, published):
        set_calls(restorer, 1)
    restored, formats = restore_and_look(fast)
    plain_restored, plain_formats = restore_and_look(published)
    assert all(plain_formats) and not all(formats)
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
