"""Checks of a recipe's values before anything is trained or written."""

from lafufu_sb.diffusion.registry import OBJECTIVES
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.metrics import check_metrics
from lafufu_sb.inference.folder import loadables
from lafufu_sb.training.stages import (
    PRE_ENHANCER,
    REPRESENTATION,
    STAGES,
    given_parts,
    has_begun,
    last_stage,
    learns,
    taken_stages,
    trains_pre_enhancer,
)

LATER = ("score", "few_step", "test")  # need the representation


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
    if stage == "pre_enhancer" and not trains_pre_enhancer(hparams):
        raise UsageError(
            "the recipe has no pre_enhancer to train: set one, as "
            "lafufu_mini_pre_enhancer_wham.yaml does, or choose another stage"
        )
    _check_init_parts(hparams)
    _check_epochs(hparams)
    _check_earlier_stages(hparams, folder)
    _check_given_latent(hparams, folder)
    check_metrics({*hparams["metrics"], *hparams["test_metrics"]})
    if hparams["best_key"] not in hparams["metrics"]:
        raise UsageError(
            f"best_key {hparams['best_key']} must be one of metrics: "
            f"{', '.join(hparams['metrics'])}"
        )
    hparams["restorer"].with_settings(**hparams["score_sampler_options"] or {})
    _check_representation(hparams)
    _check_decoded_loss(hparams)
    _check_trained(hparams)


def _check_init_parts(hparams):
    wanted, parts = hparams["init_parts"], loadables(hparams)
    if wanted is None:
        return
    if hparams["init_from"] is None:
        raise UsageError(f"init_parts {wanted} needs init_from: the model to take")
    known = isinstance(wanted, list | tuple) and wanted and set(wanted) <= set(parts)
    if not known:
        raise UsageError(
            f"init_parts must be a list of {', '.join(parts)} (the parts of this "
            f"recipe that have weights), got {wanted!r}"
        )
    if "score_model" in wanted and "representation" not in wanted:
        raise UsageError(
            "a score_model works in the latent of its own representation: add "
            "representation to init_parts"
        )


def _check_epochs(hparams):
    stage = hparams["stage"]
    if stage == "few_step" and last_stage(hparams) != "few_step":
        raise UsageError(
            "few_step_epochs is 0, so there is no few-step stage: set it, or use a "
            "recipe lafufu_*crp_*.yaml"
        )
    if stage not in ("all", "score") or hparams["score_epochs"]:
        return
    given = "score_model" in given_parts(hparams)
    if not given and not has_begun("score", hparams):
        raise UsageError("score_epochs is 0: give the model to take as init_from")
    if stage == "score" or not hparams["few_step_epochs"]:
        raise UsageError(
            "score_epochs is 0, so nothing is left to train: set it, or few_step_epochs"
        )


def _check_earlier_stages(hparams, folder):
    stage = hparams["stage"]
    if (folder / REPRESENTATION).exists():
        return
    taken = taken_stages(hparams, folder) if stage != "test" else []
    if not hparams["ae_epochs"] and "autoencoder" not in taken:
        if stage != "test" and learns(hparams["representation"]):
            raise UsageError("ae_epochs is 0: give the model to take as init_from")
    if stage in LATER and "autoencoder" not in taken:
        raise FileNotFoundError(
            f"{folder / REPRESENTATION} does not exist: run --stage autoencoder first, "
            "or give a trained model as --init_from"
        )
    alone = stage == "autoencoder" or stage in LATER
    needed = folder / PRE_ENHANCER
    if alone and trains_pre_enhancer(hparams) and not needed.exists():
        raise FileNotFoundError(
            f"{needed} does not exist: run --stage pre_enhancer first"
        )


def _check_given_latent(hparams, folder):
    """A given score model works in the latent that it was trained in."""
    given, epochs = given_parts(hparams), hparams["ae_epochs"]
    if "score_model" not in given or (folder / REPRESENTATION).exists():
        return
    changes = learns(hparams["representation"]) or hparams["latent_std"] is not None
    if epochs and changes and not has_begun("score", hparams):
        raise UsageError(
            f"ae_epochs is {epochs}: stage one would train another latent than that of "
            "the score model of init_from. Leave ae_epochs at 0, or take no score "
            "model with --init_parts='[representation]'"
        )


def _check_trained(hparams):
    if hparams["train_score_model"]:
        return
    stages = [name for name in ("score", "few_step") if hparams[f"{name}_epochs"]]
    losses = all(hparams[f"{name}_decoded_loss"] is not None for name in stages)
    if not hparams["train_decoder"] or not losses:
        raise UsageError(
            "train_score_model is False, so the decoder alone learns: that needs "
            "train_decoder and a decoded loss (score_decoded_loss)"
        )
    if "score_model" not in given_parts(hparams):
        raise UsageError(
            "train_score_model is False: give the model whose score model to keep as "
            "init_from"
        )


def _check_representation(hparams):
    representation = hparams["representation"]
    children = dict(representation.named_children())
    if hparams["train_decoder"] and "decoder" not in children:
        raise UsageError(
            "train_decoder needs a representation with a module named decoder, which "
            f"{type(representation).__name__} does not have: set train_decoder to False"
        )


def _check_decoded_loss(hparams):
    # The few-step stage compares data whatever the objective.
    objective = hparams["objective"]
    if hparams["score_decoded_loss"] is None or objective.compares == "data":
        return
    fitting = [
        name
        for name, other in OBJECTIVES.items()
        if other.compares == "data" and isinstance(hparams["process"], other.processes)
    ]
    raise UsageError(
        f"score_decoded_loss needs an objective that compares data; the recipe's "
        f"{type(objective).__name__} compares the {objective.compares}. Set "
        f"score_decoded_loss to null, or the objective to {' or '.join(fitting)}"
    )
