"""Checks of a recipe's values before anything is trained or written."""

from pathlib import Path

import torch

from lafufu_sb.diffusion import objectives
from lafufu_sb.diffusion.samplers import get_sampler
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.metrics import check_metrics
from lafufu_sb.training.checkpoints import check_latent
from lafufu_sb.training.stages import (
    AUTOENCODER,
    PREDICTOR,
    STAGES,
    has_begun,
    last_stage,
    starts_from_model,
)

LATER = ("score", "few_step", "test")  # need the autoencoder


def check_settings(hparams, folder):
    """Refuse what cannot run, before anything is written.

    Arguments
    ---------
    hparams : dict
        Objects of the recipe.
    folder : Path
        The output folder.

    Raises
    ------
    FileNotFoundError, ImportError, UsageError
        With what to do.
    """
    stage = hparams["stage"]
    if stage not in ("all", *STAGES):
        raise UsageError(f"stage must be all, {', '.join(STAGES)}, got {stage!r}")
    if stage == "predictor" and not hparams["autoencoder"].predicts:
        raise UsageError(
            "the recipe has no predictor to train: set one, as "
            "lafufu_mini_predictor_wham.yaml does, or choose another stage"
        )
    for key in ("ae_init", "score_init"):
        if hparams[key] is not None and not Path(hparams[key]).is_file():
            raise FileNotFoundError(f"{key} {hparams[key]} does not exist")
    _check_few_step(hparams)
    _check_earlier_stages(hparams, folder)
    check_metrics({*hparams["metrics"], *hparams["test_metrics"]})
    if hparams["best_key"] not in hparams["metrics"]:
        raise UsageError(
            f"best_key {hparams['best_key']} must be one of metrics: "
            f"{', '.join(hparams['metrics'])}"
        )
    options = hparams["score_sampler_options"] or {}
    get_sampler(hparams["restorer"].sampler_name, hparams["sde"], **options)
    _check_decoded_loss(hparams)
    _check_score_init(hparams, folder)


def takes_autoencoder(hparams, folder):
    """Whether ``ae_init`` stands for stage one, without training.

    So it does with ``ae_epochs`` 0, and where a later stage is asked for alone.
    """
    return (
        hparams["ae_init"] is not None
        and not (folder / AUTOENCODER).exists()
        and (not hparams["ae_epochs"] or hparams["stage"] == "score")
    )


def _check_earlier_stages(hparams, folder):
    stage, predicts = hparams["stage"], hparams["autoencoder"].predicts
    if (folder / AUTOENCODER).exists() or starts_from_model(hparams):
        return
    if not hparams["ae_epochs"] and hparams["ae_init"] is None:
        raise UsageError("ae_epochs is 0: give the autoencoder to take as ae_init")
    taken = takes_autoencoder(hparams, folder)
    if stage in LATER and not taken:
        raise FileNotFoundError(
            f"{folder / AUTOENCODER} does not exist: run --stage autoencoder first, or "
            "give a trained autoencoder as --ae_init with --ae_epochs=0"
        )
    alone = stage == "autoencoder" or stage in LATER
    if alone and predicts and not (folder / PREDICTOR).exists():
        raise FileNotFoundError(
            f"{folder / PREDICTOR} does not exist: run --stage predictor first"
        )


def _check_few_step(hparams):
    stage, init = hparams["stage"], hparams["few_step_init"]
    if last_stage(hparams) != "few_step" and (stage == "few_step" or init is not None):
        raise UsageError(
            "few_step_epochs is 0, so there is no few-step stage: set it, or use a "
            "recipe lafufu_*crp_*.yaml"
        )
    if init is not None and stage in ("predictor", "autoencoder", "score"):
        raise UsageError(
            f"few_step_init {init} takes the place of stage {stage}: leave one out"
        )


def _check_decoded_loss(hparams):
    # The few-step stage compares data whatever the objective.
    compares = hparams["objective"].compares
    if hparams["score_decoded_loss"] is None or compares == "data":
        return
    fitting = [
        name
        for name, value in vars(objectives).items()
        if getattr(value, "compares", None) == "data"
        and hasattr(value, "error")  # not the few-step correction
    ]
    raise UsageError(
        f"score_decoded_loss needs an objective that compares data; the recipe's "
        f"{type(hparams['objective']).__name__} compares the {compares}. Set "
        f"score_decoded_loss to null, or the objective to {' or '.join(fitting)}"
    )


def _check_score_init(hparams, folder):
    """The latent of ``score_init`` must be this run's, which is known before stage one
    unless that trains an encoder: then it is another one."""
    given, autoencoder = hparams["score_init"], hparams["autoencoder"]
    wanted = hparams["stage"] in ("all", "score") and hparams["few_step_init"] is None
    if given is None or not wanted or has_begun("score", hparams):
        return
    if (folder / AUTOENCODER).exists():
        file = folder / AUTOENCODER
    elif takes_autoencoder(hparams, folder):
        file = hparams["ae_init"]
    elif autoencoder.decodes_with:  # it has something to train
        raise UsageError(
            f"score_init {given} works in the latent of the autoencoder that it was "
            "trained with, and stage one would train another: give that one's "
            "autoencoder.ckpt as --ae_init with --ae_epochs=0"
        )
    else:
        return
    weights = torch.load(file, map_location="cpu", weights_only=True)
    check_latent(autoencoder, weights, given)
