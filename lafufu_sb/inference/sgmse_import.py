"""Public SGMSE+ checkpoints as model folders that ``EnhanceLatent`` loads.

A checkpoint is what PyTorch Lightning saves of the SGMSE+ system (Richter et al. 2023,
github.com/sp-uhh/sgmse): ``state_dict``, whose keys of the network begin with ``dnn.``;
``ema``, the averaged weights as a list in the order of the network's parameters; and
``hyper_parameters``, all options of the training.
"""

from pathlib import Path

import torch
from ruamel.yaml import YAML

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.folder import (
    CARD,
    HYPERPARAMS,
    inference_recipe,
    new_model_folder,
    weights_name,
)
from lafufu_sb.inference.sgmse_checkpoint import (
    NETWORK,
    WANTED,
    averaged_weights,
    choose_settings,
    plain,
    read_checkpoint,
)
from lafufu_sb.inference.sgmse_keys import sgmse_to_ncsnpp
from lafufu_sb.inference.weights import save_weights
from lafufu_sb.lobes.fingerprint import fingerprint
from lafufu_sb.lobes.ncsnpp import NCSNpp
from lafufu_sb.lobes.representations import SpectrogramRepresentation
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram

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
    options = plain(content["hyper_parameters"]) | changes
    weights = {
        key[len(NETWORK) :]: value
        for key, value in content["state_dict"].items()
        if key.startswith(NETWORK)
    }
    if not weights:
        raise UsageError(f"{checkpoint} has no weights named {NETWORK}*: {WANTED}")
    settings = choose_settings(options, weights)
    values = settings.known | settings.assumed
    with torch.device("meta"):
        model = NCSNpp(**_network(values))
    averaged = averaged_weights(content["ema"], weights, model)
    model.load_state_dict(sgmse_to_ncsnpp(averaged, model), assign=True)
    representation = SpectrogramRepresentation(CompressedSpectrogram())
    with new_model_folder(output_folder) as folder:
        save_weights(representation, folder / weights_name("representation"), half)
        save_weights(model, folder / weights_name("score_model"), half)
        text = inference_recipe(_recipe(values), fingerprint(representation))
        (folder / HYPERPARAMS).write_text(text)
        (folder / CARD).write_text(CARD_TEXT.format(name=checkpoint.name))
    return settings


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
