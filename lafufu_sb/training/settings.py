"""Checks of a recipe's values before anything is trained or written."""

from pathlib import Path

from lafufu_sb.diffusion.registry import OBJECTIVES
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.metrics import check_metrics
from lafufu_sb.inference.weights import read_weights
from lafufu_sb.training.checkpoints import check_latent
from lafufu_sb.training.stages import (
    PRE_ENHANCER,
    REPRESENTATION,
    STAGES,
    has_begun,
    last_stage,
    learns,
    starts_from_model,
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
    hparams["restorer"].with_settings(**hparams["score_sampler_options"] or {})
    _check_representation(hparams)
    _check_decoded_loss(hparams)
    _check_score_init(hparams, folder)


def takes_representation(hparams, folder):
    """Whether ``ae_init`` stands for stage one, without training.

    So it does with ``ae_epochs`` 0, and where a later stage is asked for alone.
    """
    return (
        hparams["ae_init"] is not None
        and not (folder / REPRESENTATION).exists()
        and (not hparams["ae_epochs"] or hparams["stage"] == "score")
    )


def _check_earlier_stages(hparams, folder):
    stage = hparams["stage"]
    if (folder / REPRESENTATION).exists() or starts_from_model(hparams):
        return
    untrained = not hparams["ae_epochs"] and hparams["ae_init"] is None
    if untrained and learns(hparams["representation"]):
        raise UsageError("ae_epochs is 0: give the representation to take as ae_init")
    taken = takes_representation(hparams, folder)
    if stage in LATER and not taken:
        raise FileNotFoundError(
            f"{folder / REPRESENTATION} does not exist: run --stage autoencoder first, "
            "or give a trained representation as --ae_init with --ae_epochs=0"
        )
    alone = stage == "autoencoder" or stage in LATER
    needed = folder / PRE_ENHANCER
    if alone and trains_pre_enhancer(hparams) and not needed.exists():
        raise FileNotFoundError(
            f"{needed} does not exist: run --stage pre_enhancer first"
        )


def _check_few_step(hparams):
    stage, init = hparams["stage"], hparams["few_step_init"]
    if last_stage(hparams) != "few_step" and (stage == "few_step" or init is not None):
        raise UsageError(
            "few_step_epochs is 0, so there is no few-step stage: set it, or use a "
            "recipe lafufu_*crp_*.yaml"
        )
    if init is not None and stage in ("pre_enhancer", "autoencoder", "score"):
        raise UsageError(
            f"few_step_init {init} takes the place of stage {stage}: leave one out"
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


def _check_score_init(hparams, folder):
    """The latent of ``score_init`` must be this run's, which is known before stage one
    unless that trains an encoder: then it is another one."""
    given = hparams["score_init"]
    wanted = hparams["stage"] in ("all", "score") and hparams["few_step_init"] is None
    if given is None or not wanted or has_begun("score", hparams):
        return
    if (folder / REPRESENTATION).exists():
        file = folder / REPRESENTATION
    elif takes_representation(hparams, folder):
        file = hparams["ae_init"]
    elif learns(hparams["representation"]):
        raise UsageError(
            f"score_init {given} works in the latent that it was trained in, and stage "
            "one would train another: give the representation that belongs to it "
            "as --ae_init with --ae_epochs=0"
        )
    else:
        return
    check_latent(read_weights(file), given)
