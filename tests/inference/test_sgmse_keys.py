"""Published SGMSE+ weights: key by key, and the output of the network they make."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.sgmse_keys import _key_table, sgmse_to_ncsnpp
from lafufu_sb.lobes.ncsnpp import NCSNpp

REFERENCE = Path(
    os.environ.get(
        "LAFUFU_REFERENCE",
        Path(__file__).parents[2].parent / "shared" / "reference",
    )
)

# Corners of the output of `public_weights` on `pattern` inputs, (2, 2, 2, 2) flattened,
# computed once with the NCSN++ layers distributed in espnet 202511 (nf=8, ch_mult
# (1, 2, 2), one block, no pyramids), then divided by t.
PUBLIC_CORNERS = [
    [1.5572605, 0.3801180, -1.1128252, -0.0731793],
    [-0.6865791, -1.0682018, 0.2653395, 0.5917153],
    [-6.6209531, -1.6849926, 1.9416887, 1.2583494],
    [-7.6376252, 1.2548654, 0.1351926, 5.3209705],
]


def reference(name):
    path = REFERENCE / name
    if not path.exists():
        pytest.skip(f"{name} not found; set LAFUFU_REFERENCE to its folder")
    return path


def pattern(*shape):
    """Numbers that look random and do not depend on any generator."""
    n = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(0.37 * n * n + 1.3 * n + len(shape)).float().reshape(shape)


def public_weights(shapes):
    """Weights by published name with every branch at a scale that shows."""
    weights = {}
    for key, shape in shapes.items():
        value = pattern(*shape)
        if key == "all_modules.0.W":
            weights[key] = 16 * value
        elif "NIN" in key and key.endswith("W"):
            weights[key] = value * (2 / shape[0]) ** 0.5
        elif len(shape) > 1:
            weights[key] = value * (2 / value[0].numel()) ** 0.5
        else:
            weights[key] = key.endswith("weight") + 0.1 * value
    return weights


def published_shapes(model):
    """Published names and shapes for a model, from the key map."""
    own = model.state_dict()
    return {
        key: tuple(own[ours].squeeze().T.shape if is_matrix else own[ours].shape)
        for key, (ours, is_matrix) in _key_table(model).items()
    }


def as_channels(spectrogram):
    """Complex (batch, f, l) array -> real tensor (batch, 2, f, l)."""
    return torch.view_as_real(torch.from_numpy(spectrogram)).movedim(-1, 1)


def test_output_of_public_sgmse_network():
    arrays = np.load(reference("ncsnpp_48k_nf16.npz"))
    weights = {
        key.removeprefix("w/"): torch.from_numpy(arrays[key])
        for key in arrays.files
        if key.startswith("w/")
    }
    model = NCSNpp(base_channels=16).eval()
    model.load_state_dict(sgmse_to_ncsnpp(weights, model))
    t = torch.from_numpy(arrays["t"])
    with torch.no_grad():
        out = model(as_channels(arrays["x_t"]), as_channels(arrays["y"]), t)
    expected = as_channels(arrays["net_out"][:, 0])
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)
    # The weights are freshly initialised, so nearly all of the output is the last
    # bias: the rest, of the order of 1e-5, is compared on its own.
    out = out - out.mean((2, 3), keepdim=True)
    expected = expected - expected.mean((2, 3), keepdim=True)
    assert F.cosine_similarity(out.flatten(), expected.flatten(), dim=0) > 0.999


def test_output_of_public_layers_with_all_branches_active():
    model = NCSNpp(base_channels=8, multipliers=(1, 2, 2), blocks_per_level=1).eval()
    weights = public_weights(published_shapes(model))
    model.load_state_dict(sgmse_to_ncsnpp(weights, model))
    z = pattern(2, 2, 16, 64, 2).movedim(-1, 2)  # (batch, x or y, re or im, 16, 64)
    with torch.no_grad():
        out = model(z[:, 0], z[:, 1], torch.tensor([0.37, 0.05]))
    corners = out[:, :, ::15, ::63].reshape(4, 4)
    torch.testing.assert_close(
        corners, torch.tensor(PUBLIC_CORNERS), atol=1e-3, rtol=1e-3
    )


def test_published_key_list_maps_one_to_one():
    shapes = json.loads(reference("ncsnpp_48k_nf128_keys.json").read_text())
    with torch.device("meta"):
        model = NCSNpp()
        weights = {key: torch.empty(shape) for key, shape in shapes.items()}
    renamed = sgmse_to_ncsnpp(weights, model)
    expected = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in renamed.items()} == expected


def test_key_map_names_missing_unexpected_and_misshapen():
    model = NCSNpp(base_channels=8, multipliers=(1, 2, 2), blocks_per_level=1)
    weights = public_weights(published_shapes(model))
    weights["stranger"] = weights.pop("all_modules.3.bias")
    weights["all_modules.1.bias"] = torch.zeros(5)
    with pytest.raises(UsageError, match="missing") as error:
        sgmse_to_ncsnpp(weights, model)
    message = str(error.value)
    assert "missing: all_modules.3.bias" in message
    assert "unexpected: stranger" in message
    assert "all_modules.1.bias is (5,)" in message


def test_key_map_refuses_extra_attention():
    with pytest.raises(UsageError, match="attention_levels"):
        sgmse_to_ncsnpp({}, NCSNpp(base_channels=8, attention_levels=(1,)))
