"""How the stages of a recipe follow each other.

The keys of a stage's objects begin with its name: ``score_checkpointer``,
``few_step_ema``; its checkpoints are in the sub-folder of that name.
"""

from pathlib import Path

from speechbrain.utils.distributed import run_on_main

from lafufu_sb.diffusion.samplers import get_sampler
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.metrics import check_metrics
from lafufu_sb.inference.interface import EnhanceLatent
from lafufu_sb.inference.weights import fingerprint, load_weights, save_weights
from lafufu_sb.training.checkpoints import check_pairing

STAGES = ("predictor", "autoencoder", "score", "few_step", "test")
_LATER = ("score", "few_step", "test")  # those that need stage one
PREDICTOR = "predictor.ckpt"  # in the output folder once it is trained
AUTOENCODER = "autoencoder.ckpt"  # once stage one is finished


def last_stage(hparams):
    """Stage whose weights are tested and exported: "score" or "few_step".

    Example
    -------
    >>> last_stage({"few_step_epochs": 5}), last_stage({"few_step_epochs": 0})
    ('few_step', 'score')
    """
    # Run folders that are older than the few-step stage do not have the key.
    return "few_step" if hparams.get("few_step_epochs", 0) else "score"


def load_best(hparams, stage):
    """Fill the score model with the averaged weights of a stage's best epoch.

    Arguments
    ---------
    hparams : dict
        Objects of the recipe.
    stage : str
        "score" or "few_step".

    Returns
    -------
    bool
        False if no epoch of the stage was validated yet.
    """
    checkpointer, ema = hparams[f"{stage}_checkpointer"], hparams[f"{stage}_ema"]
    checkpointer.add_recoverable("ema", ema)
    if checkpointer.recover_if_possible(max_key=hparams["best_key"]) is None:
        return False
    ema.copy_to_module()
    return True


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
    FileNotFoundError, ImportError, ValueError
        With what to do.
    """
    stage = hparams["stage"]
    if stage not in ("all", *STAGES):
        raise ValueError(f"stage must be all, {', '.join(STAGES)}, got {stage!r}")
    _check_few_step(hparams)
    predicts = hparams["autoencoder"].predicts
    if stage == "predictor" and not predicts:
        raise ValueError(
            "the recipe has no predictor to train: set one, as "
            "lafufu_mini_predictor_wham.yaml does, or choose another stage"
        )
    begun = (folder / AUTOENCODER).exists() or starts_from_model(hparams)
    needed = AUTOENCODER if not begun and stage in _LATER else None
    if stage == "autoencoder" and not begun and predicts:
        needed = PREDICTOR
    if needed and not (folder / needed).exists():
        raise FileNotFoundError(
            f"{folder / needed} does not exist: run --stage {Path(needed).stem} first"
        )
    if not begun and not hparams["ae_epochs"] and hparams["ae_init"] is None:
        raise ValueError("ae_epochs is 0: give the autoencoder to take as ae_init")
    for key in ("ae_init", "score_init"):
        if hparams[key] is not None and not Path(hparams[key]).is_file():
            raise FileNotFoundError(f"{key} {hparams[key]} does not exist")
    check_metrics({*hparams["metrics"], *hparams["test_metrics"]})
    if hparams["best_key"] not in hparams["metrics"]:
        raise ValueError(f"best_key {hparams['best_key']} must be one of metrics")
    options = hparams["score_sampler_options"] or {}
    get_sampler(hparams["restorer"].sampler_name, hparams["sde"], **options)


def _check_few_step(hparams):
    stage, init = hparams["stage"], hparams["few_step_init"]
    if last_stage(hparams) != "few_step" and (stage == "few_step" or init is not None):
        raise ValueError(
            "few_step_epochs is 0, so there is no few-step stage: set it, or use a "
            "recipe lafufu_*crp_*.yaml"
        )
    if init is not None and stage in ("predictor", "autoencoder", "score"):
        raise ValueError(
            f"few_step_init {init} takes the place of stage {stage}: leave one out"
        )


def starts_from_model(hparams):
    """Whether ``few_step_init`` is still to be taken over, see ``adopt_model``."""
    return (
        hparams["few_step_init"] is not None
        and hparams["stage"] in ("all", "few_step")
        and hparams["few_step_checkpointer"].find_checkpoint() is None
    )


def adopt_model(hparams, autoencoder_file):
    """Take the model folder ``few_step_init`` for the result of stages one and two.

    Its score model, loaded, is what the few-step stage starts from; its autoencoder
    goes into ``autoencoder_file``.

    Arguments
    ---------
    hparams : dict
        Objects of the recipe.
    autoencoder_file : Path
        Where stage one leaves its weights.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder is no model folder, its process, objective or networks are not
        those of the recipe, or the run already has another autoencoder.
    """
    folder = Path(hparams["few_step_init"])
    given = EnhanceLatent.from_hparams(source=folder).restorer
    # Networks of another process can have the same shapes: their weights would load.
    theirs, ours = (_method(x["sde"], x["objective"]) for x in (vars(given), hparams))
    if theirs != ours:
        raise ValueError(
            f"few_step_init {folder} was trained with {theirs}, this recipe has "
            f"{ours}: use the recipe of that model"
        )
    if autoencoder_file.exists():
        load_weights(hparams["autoencoder"], autoencoder_file)
        if fingerprint(hparams["autoencoder"]) != fingerprint(given.autoencoder):
            raise ValueError(
                f"{autoencoder_file} is not the autoencoder of few_step_init {folder}: "
                "choose another output_folder"
            )
    for name in ("autoencoder", "score_model"):
        load_weights(hparams[name], folder / f"{name}.ckpt")
    run_on_main(save_weights, args=[hparams["autoencoder"], autoencoder_file])


def _method(sde, objective):
    numbers = (f"{k}={v}" for k, v in vars(sde).items() if not k.startswith("_"))
    return f"{type(sde).__name__}({', '.join(numbers)}) and {type(objective).__name__}"


def begin_few_step(hparams, folder):
    """Fill the score model with what the few-step stage starts from.

    The averaged weights of the score stage's best epoch, unless ``adopt_model`` has
    given others. A stage that was begun already goes on from its own checkpoints.

    Arguments
    ---------
    hparams : dict
        Objects of the recipe, the autoencoder's weights loaded.
    folder : Path
        The run folder.

    Raises
    ------
    UsageError
        If the score stage is not finished.
    """
    if hparams["few_step_checkpointer"].find_checkpoint() is not None:
        return
    if hparams["few_step_init"] is None:
        check_pairing(hparams["autoencoder"], folder / "score")
        _load_finished_score(hparams, folder / "score")
    hparams["few_step_ema"].reset()


def _load_finished_score(hparams, score_folder):
    checkpoints = hparams["score_checkpointer"].list_checkpoints()
    done = max((c.meta.get("epoch", 0) for c in checkpoints), default=0)
    if not done or not load_best(hparams, "score"):
        raise UsageError(
            f"{score_folder} has no checkpoint of a validated epoch: run --stage score "
            "first, or give a model folder as few_step_init"
        )
    if done < hparams["score_counter"].limit:
        raise UsageError(
            f"the score stage has {done} of {hparams['score_counter'].limit} epochs: "
            f"run --stage score first, or accept it with --score_epochs={done}"
        )
