"""Public SGMSE+ checkpoints as model folders that ``EnhanceLatent`` loads.

A checkpoint is what PyTorch Lightning saves of the SGMSE+ system (Richter et al. 2023,
github.com/sp-uhh/sgmse): ``state_dict``, whose keys of the network begin with ``dnn.``;
``ema``, the averaged weights as a list in the order of the network's parameters; and
``hyper_parameters``, all options of the training.
"""

import math
import pickle
import re
import zipfile
from collections import namedtuple
from pathlib import Path

import torch
from ruamel.yaml import YAML

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.folder import (
    CARD,
    HYPERPARAMS,
    inference_recipe,
    new_model_folder,
)
from lafufu_sb.inference.sgmse_keys import FROZEN, published_parameters, sgmse_to_ncsnpp
from lafufu_sb.inference.weights import save_weights
from lafufu_sb.lobes.fingerprint import fingerprint
from lafufu_sb.lobes.ncsnpp import NCSNpp
from lafufu_sb.lobes.representations import SpectrogramRepresentation
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram

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

# Option of the published training or enhancement -> value of the public 48-kHz models,
# for checkpoints of versions that did not write it down.
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

# Options with which this package has nothing to offer, and what it has.
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

RECIPE = """\
sample_rate: 48000
spectrogram: !new:lafufu_sb.lobes.spectrogram.CompressedSpectrogram
    n_fft: {n_fft}
    hop_length: {hop_length}
    factor: {spec_factor}
    exponent: {spec_abs_exponent}
representation: !new:lafufu_sb.lobes.representations.SpectrogramRepresentation
    spectrogram: !ref <spectrogram>
score_model: !new:lafufu_sb.lobes.ncsnpp.NCSNpp
    data_channels: 2
    base_channels: {nf}
    multipliers: {ch_mult}
    blocks_per_level: {num_res_blocks}
    divide_by_time: {scale_by_sigma}
process: !new:lafufu_sb.diffusion.processes.OUVESDE
    theta: {theta}
    sigma_min: {sigma_min}
    sigma_max: {sigma_max}
    t_eps: {t_eps}
    noise_variance: 0.5      # per real channel, as complex noise has it
objective: !new:lafufu_sb.diffusion.objectives.ScoreMatching
restorer: !new:lafufu_sb.restoration.restorer.Restorer
    representation: !ref <representation>
    score_model: !ref <score_model>
    process: !ref <process>
    objective: !ref <objective>
    presets:
        paper: {sampler}
    preset: paper
    sample_rate: !ref <sample_rate>
    window_frames: 256
    overlap_frames: 128
    windows_per_batch: 1     # full-band activations are large
"""

CARD_TEXT = """\
# SGMSE+, imported

Averaged weights and settings of `{name}`, by `lafufu import-sgmse`. The method: Richter
et al., "Speech enhancement and dereverberation with diffusion-based generative models",
IEEE/ACM TASLP 2023; its 48-kHz form: Richter et al., "EARS", Interspeech 2024. The
weights keep the licence under which they were published: see where they came from
before passing them on.
"""


class _DataModule:
    """Stands in for the class of the training's data, which is named but not used."""


# All that a checkpoint may refer to besides tensors and plain containers.
ALLOWED = [(_DataModule, "sgmse.data_module.SpecsDataModule")]


def import_sgmse(checkpoint, output_folder, half=False, **changes):
    """Write a model folder from a public 48-kHz SGMSE+ checkpoint.

    Arguments
    ---------
    checkpoint : str or Path
        Lightning checkpoint with backbone ``ncsnpp_48k``. Read without running code
        from it.
    output_folder : str or Path
        The model folder; appears whole or not at all.
    half : bool
        Store the weights in half precision.
    **changes
        Options in place of the checkpoint's, by its names: ``N`` (steps of the
        sampler), ``corrector``, ``snr``.

    Returns
    -------
    Settings
        What was taken over and what was assumed.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If there is no checkpoint, or the output folder is no model folder.
    UsageError
        If it is no such checkpoint, or one of another rate, network, process or
        objective; says which.
    """
    checkpoint = Path(checkpoint)
    content = read_checkpoint(checkpoint)
    options = _plain(content["hyper_parameters"]) | changes
    weights = {
        key[len(NETWORK) :]: value
        for key, value in content["state_dict"].items()
        if key.startswith(NETWORK)
    }
    if not weights:
        raise UsageError(f"{checkpoint} has no weights named {NETWORK}*: {_WANTED}")
    settings = choose_settings(options, weights)
    values = settings.known | settings.assumed
    with torch.device("meta"):
        model = NCSNpp(**_network(values))
    averaged = averaged_weights(content["ema"], weights, model)
    model.load_state_dict(sgmse_to_ncsnpp(averaged, model), assign=True)
    representation = SpectrogramRepresentation(CompressedSpectrogram())
    with new_model_folder(output_folder) as folder:
        save_weights(representation, folder / "representation.ckpt", half)
        save_weights(model, folder / "score_model.ckpt", half)
        text = inference_recipe(
            _recipe(values),
            fingerprint(representation),
            ["representation", "score_model"],
        )
        (folder / HYPERPARAMS).write_text(text)
        (folder / CARD).write_text(CARD_TEXT.format(name=checkpoint.name))
    return settings


_WANTED = "give a Lightning checkpoint of SGMSE+ with backbone " + BACKBONE


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
        raise UsageError(f"{path} {reason}: {_WANTED}") from error
    except (RuntimeError, EOFError, KeyError) as error:
        raise UsageError(f"{path} is damaged or no checkpoint: {_WANTED}") from error
    needed = ("state_dict", "ema", "hyper_parameters")
    missing = [
        key
        for key in needed
        if not isinstance(content, dict) or not isinstance(content.get(key), dict)
    ]
    if missing:
        raise UsageError(f"{path} has no {', '.join(missing)}: {_WANTED}")
    return content


def _plain(options):
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
        raise UsageError(f"the checkpoint has backbone {backbone}{hint}: {_WANTED}")
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
            f"{len(names)} parameters: {_WANTED}"
        )
    averaged = weights | dict(zip(names, averages, strict=True))
    wrong = [n for n in names if averaged[n].shape != weights[n].shape]
    if wrong:
        raise UsageError(
            f"the checkpoint's ema does not fit the network: {len(wrong)} shapes "
            f"differ, the first at {wrong[0]}. Its order is not the published one"
        )
    return averaged


def _network(values):
    return {
        "base_channels": values["nf"],
        "multipliers": values["ch_mult"],
        "blocks_per_level": values["num_res_blocks"],
        "divide_by_time": values["scale_by_sigma"],
    }


def _recipe(values):
    """The inference recipe with a checkpoint's values in it, all of checked types."""
    return YAML().load(RECIPE.format(**values, sampler=_sampler(values)))


def _sampler(values):
    """Options of the sampler; the published ODE solver has adaptive steps, ours N."""
    if values["sampler_type"] == "ode":
        return {"sampler": "probability_flow", "num_steps": values["N"]}
    return {
        "sampler": "predictor_corrector",
        "num_steps": values["N"],
        "corrector": values["corrector"],
        "snr": values["snr"],
    }
