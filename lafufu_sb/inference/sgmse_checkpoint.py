"""Read and check a public SGMSE+ checkpoint: weights, averages and options."""

import math
import pickle
import re
import zipfile
from collections import namedtuple

import torch

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.sgmse_keys import FROZEN, published_parameters, sgmse_to_ncsnpp
from lafufu_sb.inference.torch_files import check_archive

Settings = namedtuple("Settings", ["known", "assumed"])
Settings.__doc__ = """Settings of a checkpoint that matter to restoration.

known : dict
    By their names in the checkpoint, or given by the caller.
assumed : dict
    Those that neither has, with their published values.
"""

BACKBONE = "ncsnpp_48k"
NETWORK = "dnn."
FRONT_END_48K = {"n_fft": 1534, "hop_length": 384}


# Values of the public 48-kHz models, for checkpoints that do not store an option.
PUBLISHED = FRONT_END_48K | {
    "spec_factor": 0.065,
    "spec_abs_exponent": 0.667,
    "nf": 128,
    "ch_mult": [1, 1, 2, 2, 2, 2, 2],
    "num_res_blocks": 2,
    "scale_by_sigma": True,
    "theta": 2.0,
    "sigma_min": 0.1,
    "sigma_max": 1.0,
    "t_eps": 0.03,
    "sampler_type": "pc",
    "N": 30,
    "corrector": "ald",
    "snr": 0.5,
}


# Values that can be imported, for options with others that cannot.
NEEDED = {
    "sde": ["ouve"],
    "loss_type": ["score_matching", "mse", "mae"],
    "transform_type": ["exponent"],
    "window": ["hann"],
    "sampler_type": ["pc", "ode"],
    "corrector": ["ald", "none"],
    "corrector_steps": [1],
    "probability_flow": [False],
    "centered": [True],
    "progressive": ["none"],
    "progressive_input": ["none"],
    "attn_resolutions": [[], [0]],
}


class _DataModule:
    """Stands in for the class of the training's data, which is named but not used."""


# All that a checkpoint may refer to besides tensors and plain containers.
ALLOWED = [(_DataModule, "sgmse.data_module.SpecsDataModule")]


WANTED = "give a Lightning checkpoint of SGMSE+ with backbone " + BACKBONE


def read_checkpoint(path):
    """Read a Lightning checkpoint without running code from it.

    Arguments
    ---------
    path : Path
        The file.

    Returns
    -------
    dict
        With at least ``state_dict``, ``ema`` and ``hyper_parameters``.

    Raises
    ------
    FileNotFoundError, UsageError
        If there is none, or it holds something else; says what.
    """
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    mapped = zipfile.is_zipfile(path)  # then the optimiser's state is never read
    try:
        if mapped:
            check_archive(path)
        with torch.serialization.safe_globals(ALLOWED):
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=mapped
            )
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = (
            f"refers to {refused[1]}, which is not loaded from files"
            if refused
            else "is not a checkpoint of PyTorch"
        )
        raise UsageError(f"{path} {reason}: {WANTED}") from error
    except (RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is damaged or no checkpoint: {WANTED}") from error
    needed = ("state_dict", "ema", "hyper_parameters")
    missing = [
        key
        for key in needed
        if not isinstance(content, dict) or not isinstance(content.get(key), dict)
    ]
    if missing:
        raise UsageError(f"{path} has no {', '.join(missing)}: {WANTED}")
    return content


def plain(options):
    """Options with lists for tuples, so that they compare and go into a YAML."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}


def choose_settings(options, weights):
    """Check a checkpoint's options and pick those that restoration needs.

    Arguments
    ---------
    options : dict
        ``hyper_parameters``.
    weights : dict
        Published name -> tensor; tells the width of the network where no option does.

    Returns
    -------
    Settings

    Raises
    ------
    UsageError
        For another rate, network, process, objective or sampler than there is here.
    """
    backbone = options.get("backbone", BACKBONE)
    if backbone != BACKBONE:
        hint = ", a 16-kHz network" if backbone == "ncsnpp" else ""
        raise UsageError(f"the checkpoint has backbone {backbone}{hint}: {WANTED}")
    _check_rate(options)
    for name, values in NEEDED.items():
        if name in options and options[name] not in values:
            shown = " or ".join(map(repr, values))
            hint = (
                " (Schroedinger bridges have another network and objective)"
                if options[name] == "sbve"
                else ""
            )
            raise UsageError(
                f"the checkpoint has {name} {options[name]!r}{hint}, but only {shown} "
                "can be imported"
            )
    if "nf" not in options and "all_modules.3.weight" in weights:
        options = options | {"nf": len(weights["all_modules.3.weight"])}
    known = {name: options[name] for name in PUBLISHED if options.get(name) is not None}
    for name, value in known.items():
        _check_type(name, value, PUBLISHED[name])
    assumed = {name: v for name, v in PUBLISHED.items() if name not in known}
    return Settings(known, assumed)


def _check_type(name, value, like):
    """Refuse what is no number, list of numbers or flag where one is expected.

    These values become part of a YAML, which can name code to run.
    """
    if isinstance(like, list):
        fits = isinstance(value, list) and value and all(type(v) is int for v in value)
    elif isinstance(like, float):
        fits = type(value) in (int, float) and math.isfinite(value)
    else:
        fits = type(value) is type(like)
    if not fits:
        raise UsageError(
            f"the checkpoint has {name} {value!r}, expected something like {like!r}"
        )


def _check_rate(options):
    """Refuse a 16-kHz model by its front end.

    Not by its option ``sr``: that says 16000 in 48-kHz checkpoints too, for it has
    nothing to do with the audio there but with a loss that was not used.
    """
    given = {name: options.get(name, v) for name, v in FRONT_END_48K.items()}
    if given != FRONT_END_48K and options.get("sr") != 48000:
        shown = ", ".join(f"{name} {value}" for name, value in given.items())
        raise UsageError(
            f"the checkpoint has {shown}, not those of 48-kHz models (1534 and 384; "
            "16-kHz ones have 510 and 128), which are what can be imported"
        )


def averaged_weights(ema, weights, model):
    """Give the averaged weights their published names.

    They are stored as a list, without names, in the order in which the PUBLISHED
    network registers its parameters; some versions leave out the one that is not
    trained.

    Arguments
    ---------
    ema : dict
        Of the checkpoint, with ``shadow_params``.
    weights : dict
        Published name -> tensor, as trained last.
    model : NCSNpp
        Of the checkpoint's settings.

    Returns
    -------
    dict
        Published name -> tensor.

    Raises
    ------
    UsageError
        If the number of averages or their shapes are not those of the network.
    """
    sgmse_to_ncsnpp(weights, model)  # complete, known names, the shapes of the options
    names = published_parameters(model)
    averages = ema.get("shadow_params", [])
    if len(averages) == len(names) - 1:
        names = [name for name in names if name != FROZEN]
    if len(averages) != len(names):
        raise UsageError(
            f"the checkpoint's ema has {len(averages)} averages, the network "
            f"{len(names)} parameters: {WANTED}"
        )
    averaged = weights | dict(zip(names, averages, strict=True))
    wrong = [n for n in names if averaged[n].shape != weights[n].shape]
    if wrong:
        raise UsageError(
            f"the checkpoint's ema does not fit the network: {len(wrong)} shapes "
            f"differ, the first at {wrong[0]}. Its order is not the published one"
        )
    return averaged
