"""Contenders are the project's own networks, run as their names say."""

import pytest
import torch

import systems
from lafufu_sb.lobes.autoencoder import IdentityAutoencoder, LatentAutoencoder
from systems import PUBLISHED, find_system, known_systems
from timing import time_whole


def test_lafufu_is_the_recipe_and_its_widths():
    small, large = (
        find_system(name).build("fp32", 256) for name in ("lafufu128", "lafufu192")
    )
    assert isinstance(small.autoencoder, LatentAutoencoder)
    assert small.sampler_name == "predictor_corrector"
    assert small.score_model.stem.out_channels == 128
    assert large.score_model.stem.out_channels == 192


def test_sgmse_is_full_band_with_the_published_number_of_parameters():
    restorer = find_system("sgmse128").build("fp32", 256)
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


def estimate_and_look(network):
    """The estimate, and whether each 3x3 convolution saw the default memory format."""
    seen = []
    for module in network.modules():
        if getattr(module, "kernel_size", None) == (3, 3):
            module.register_forward_pre_hook(
                lambda conv, args: seen.append(
                    args[0].is_contiguous() and conv.weight.is_contiguous()
                )
            )
    x, y = torch.randn(2, 1, 2, 768, 64, generator=torch.manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        return network(x, y, torch.tensor([0.5])), seen


def test_published_way_is_the_same_network_in_the_default_memory_format(tiny_sgmse):
    fast = tiny_sgmse.build("fp32", 64).inference_networks().score_model
    published = tiny_sgmse.build(PUBLISHED, 64).score_model
    with torch.no_grad():
        for weight in fast.parameters():  # no layer starts near zero: all count
            weight.add_(0.01 * torch.randn_like(weight))
    published.network.load_state_dict(fast.state_dict())
    plain, plain_formats = estimate_and_look(published)
    estimate, formats = estimate_and_look(fast)
    assert all(plain_formats) and not all(formats)
    torch.testing.assert_close(plain, estimate, rtol=1e-3, atol=1e-4)


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
