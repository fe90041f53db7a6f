"""Names of the public SGMSE+ ``ncsnpp_48k`` weights, translated to :class:`NCSNpp`.

The public network keeps its modules in one list and calls them in order, so its keys
are numbers (``all_modules.4.Conv_0.weight``). That order is written down here and
nowhere else:

time embedding (0 to 2), stem (3), encoder levels from full resolution down, bottleneck
(block, attention, block), decoder levels from the bottom up, last normalisation, last
3x3 convolution; the 1x1 convolution behind them is named ``output_layer``.

Source: key list of the public 48-kHz checkpoint (Richter et al., "EARS", Interspeech
2024; github.com/sp-uhh/sgmse).
"""

from lafufu_sb.errors import UsageError

# Published name -> our name inside each kind of module, in the published order. The
# shortcut is published only where the width changes or the block resamples, which is
# also where ours has weights.
LAYER_NAMES = {
    "layer": {"": ""},
    "block": {
        ".GroupNorm_0": ".norm_in",
        ".Conv_0": ".conv_in",
        ".Dense_0": ".time",
        ".GroupNorm_1": ".norm_out",
        ".Conv_1": ".conv_out",
        ".Conv_2": ".shortcut",
    },
    "attention": {".GroupNorm_0": ".norm"},
}

# The 1x1 layers of attention are published as matrices (in, out) named W and b.
ATTENTION_MATRICES = {
    ".NIN_0": ".query",
    ".NIN_1": ".key",
    ".NIN_2": ".value",
    ".NIN_3": ".out",
}

FROZEN = "all_modules.0.W"  # the one parameter that the published network never trains


def _stages(model):
    """Yield (our module path, kind) in the published order, time embedding excluded."""
    yield "stem", "layer"
    for side in ("encoder", "bottleneck", "decoder"):
        if side == "bottleneck":
            yield "bottleneck.block_in", "block"
            yield "bottleneck.attention", "attention"
            yield "bottleneck.block_out", "block"
            continue
        for index, level in enumerate(getattr(model, side)):
            for block in range(len(level.blocks)):
                yield f"{side}.{index}.blocks.{block}", "block"
            if level.resample is not None:
                yield f"{side}.{index}.resample", "block"
    yield "tail.norm", "layer"
    yield "tail.conv", "layer"


def _key_table(model):
    """Map each published key to (our key, whether it is a transposed matrix).

    In the order in which the published network registers its parameters.
    """
    table = {
        "output_layer.weight": ("tail.output.weight", False),
        "output_layer.bias": ("tail.output.bias", False),
        FROZEN: ("time_embedding.frequencies", False),
    }
    for number, name in ((1, "linear_in"), (2, "linear_out")):
        for part in ("weight", "bias"):
            ours = f"time_embedding.{name}.{part}"
            table[f"all_modules.{number}.{part}"] = (ours, False)
    for number, (path, kind) in enumerate(_stages(model), start=3):
        published = f"all_modules.{number}"
        for theirs, ours in LAYER_NAMES[kind].items():
            for part in ("weight", "bias"):
                table[f"{published}{theirs}.{part}"] = (f"{path}{ours}.{part}", False)
        if kind == "attention":
            for theirs, ours in ATTENTION_MATRICES.items():
                weight, bias = f"{path}{ours}.weight", f"{path}{ours}.bias"
                table[f"{published}{theirs}.W"] = (weight, True)
                table[f"{published}{theirs}.b"] = (bias, False)
    wanted = model.state_dict().keys()
    return {key: value for key, value in table.items() if value[0] in wanted}


def published_parameters(model):
    """Names of the published network's parameters, in its own order.

    An average of weights that is stored as a list, as SGMSE+ checkpoints have it, is in
    this order, which is neither that of our parameters nor alphabetical.

    Arguments
    ---------
    model : lafufu_sb.lobes.ncsnpp.NCSNpp
        Of the same settings; may live on the "meta" device.

    Returns
    -------
    list of str
        Without the prefix of a surrounding module. ``FROZEN`` is among them.
    """
    return list(_key_table(model))


def _listing(title, items):
    """One line of an error message, cut after eight items; empty if there is none."""
    if not items:
        return ""
    more = f" and {len(items) - 8} more" if len(items) > 8 else ""
    return f"\n  {title}: {', '.join(items[:8])}{more}"


def sgmse_to_ncsnpp(state_dict, model):
    """Rename public SGMSE+ weights for an :class:`NCSNpp` of the same settings.

    Arguments
    ---------
    state_dict : dict
        Published name -> tensor, without the prefix of a surrounding module (a
        checkpoint of the whole SGMSE+ system calls the network ``dnn.``).
    model : lafufu_sb.lobes.ncsnpp.NCSNpp
        Network that will receive the weights; it is not changed and may live on the
        "meta" device.

    Returns
    -------
    dict
        Our name -> tensor, complete and of the right shapes, for
        ``model.load_state_dict``. The tensors share memory with the given ones.

    Raises
    ------
    UsageError
        If keys are missing or unexpected or a shape differs (all are listed), or if
        the model has attention levels, for which no published order exists.
    """
    if model.attention_levels:
        raise UsageError(
            f"attention_levels={model.attention_levels}: public ncsnpp_48k weights "
            "have attention in the bottleneck only; build the model without"
        )
    table = _key_table(model)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    renamed, shapes = {}, []
    for key, (ours, is_matrix) in table.items():
        if key not in state_dict:
            continue
        value = state_dict[key]
        if is_matrix and value.ndim == 2:
            value = value.T[:, :, None, None]  # (in, out) -> (out, in, 1, 1)
        if tuple(value.shape) != wanted[ours]:
            given = tuple(state_dict[key].shape)
            shapes.append(f"{key} is {given}, {ours} needs {wanted[ours]}")
        renamed[ours] = value
    problems = (
        _listing("missing", [key for key in table if key not in state_dict])
        + _listing("unexpected", [key for key in state_dict if key not in table])
        + _listing("shapes", shapes)
    )
    if problems:
        raise UsageError(
            "these weights do not fit the NCSNpp (compare base_channels, multipliers, "
            f"blocks_per_level and output_layer with the checkpoint's):{problems}"
        )
    return renamed
