#!/usr/bin/env python3
"""Train, test and export a LAFUFU speech restorer on EARS-WHAM or EARS-Reverb.

To run:
> python train.py hparams/lafufu_reverb.yaml --data_folder=/path/to/EARS-Reverb

Trains the autoencoder, then the score model in its frozen latent, then where
few_step_epochs says so fits it to few sampling steps, tests and exports. A killed run
goes on where it was; finished stages are skipped;
``--stage autoencoder|score|few_step|test`` runs one.

Authors
 * the lafufu_sb contributors, 2026
"""

import sys
from pathlib import Path

import speechbrain as sb
import torch
from ears_prepare import prepare_ears
from speechbrain.utils.distributed import (
    ddp_init_group,
    main_process_only,
    run_on_main,
)
from speechbrain.utils.logger import get_logger
from yaml import YAMLError

from lafufu_sb.corpora.pairs import paired_dataset
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.clips import summarise_rows
from lafufu_sb.evaluation.runs import evaluate_models, read_manifest
from lafufu_sb.inference.folder import RECIPE_NAME
from lafufu_sb.inference.loading import ModelChoice
from lafufu_sb.inference.weights import load_weights, save_weights
from lafufu_sb.training.brains import (
    AutoencoderBrain,
    FewStepBrain,
    PredictorBrain,
    ScoreBrain,
)
from lafufu_sb.training.checkpoints import check_pairing, mark_pairing
from lafufu_sb.training.export import export_run
from lafufu_sb.training.recipe import load_recipe
from lafufu_sb.training.stages import (
    AUTOENCODER,
    PREDICTOR,
    STAGES,
    adopt_model,
    begin_few_step,
    check_settings,
    last_stage,
    starts_from_model,
)

logger = get_logger(__name__)

REPORTS = {"score": "report", "few_step": "few_step_report"}  # folders of the stages


def datasets(hparams, crop_frames, epoch_counter):
    """Training crops, and whole clips for validation."""
    folder = Path(hparams["output_folder"])
    common = {"sample_rate": hparams["sample_rate"], "seed": hparams["seed"]}
    crop = hparams["spectrogram"].samples(crop_frames)
    return {
        "train": paired_dataset(
            folder / "train.json",
            crop=crop,
            epoch_counter=epoch_counter,
            mixer=hparams["mixer"],
            **common,
        ),
        "valid": paired_dataset(folder / "valid.json", **common),
    }


def stage_brain(brain_class, prefix, hparams, run_opts, report, **own):
    """A stage's brain and its data; the recipe's keys for it begin with ``prefix``."""
    keys = ("modules", "opt_class", "checkpointer", "ema", "crop_frames", "lr_schedule")
    own |= {key: hparams[f"{prefix}_{key}"] for key in keys}
    shared = ("restorer", "train_logger", "seed", "valid_clips", "metrics", "best_key")
    own |= {key: hparams[key] for key in shared}
    data = datasets(hparams, own["crop_frames"], hparams[f"{prefix}_counter"])
    brain = brain_class(
        hparams=hparams,
        run_opts=run_opts,
        epoch_counter=hparams[f"{prefix}_counter"],
        batches_per_epoch=-(-len(data["train"]) // hparams[f"{prefix}_batch_size"]),
        valid_items=len(data["valid"]),
        report_folder=str(Path(hparams["output_folder"]) / report),
        **own,
    )
    return brain, data


def fit(brain, data, prefix, hparams):
    """Train with SpeechBrain's loop; a finished run only reads its checkpoint."""
    brain.fit(
        hparams[f"{prefix}_counter"],
        data["train"],
        data["valid"],
        train_loader_kwargs={
            "batch_size": hparams[f"{prefix}_batch_size"],
            "num_workers": hparams["num_workers"],
            "shuffle": True,
        },
        valid_loader_kwargs={"batch_size": 1},
    )


def train_predictor(hparams, run_opts, folder):
    """Before stage one. Leaves the averaged weights of the best epoch."""
    brain, data = stage_brain(
        PredictorBrain,
        "predictor",
        hparams,
        run_opts,
        report="predictor_report",
        loss=hparams["predictor_loss"],
    )
    fit(brain, data, "predictor", hparams)
    brain.on_evaluate_start(max_key=brain.best_key)
    brain.ema.copy_to_module()
    run_on_main(save_weights, args=[hparams["predictor"], folder / PREDICTOR])


def train_autoencoder(hparams, run_opts, folder):
    """Stage one. Leaves the averaged weights of the best epoch, predictor included.

    SGMSE+ has nothing to train here; its spectrogram may still be rescaled.
    """
    if hparams["ae_init"] is not None:
        own = "predictor." if hparams["autoencoder"].predicts else None
        load_weights(hparams["autoencoder"], hparams["ae_init"], own)
    if hparams["autoencoder"].predicts:
        load_weights(hparams["predictor"], folder / PREDICTOR)
    if not hparams["ae_epochs"]:  # that of ae_init as it is, latent scale and all
        run_on_main(save_weights, args=[hparams["autoencoder"], folder / AUTOENCODER])
        return
    hparams["autoencoder"].reset_latent_scale()
    hparams["ae_ema"].reset()  # weights were loaded since it was made
    brain, data = stage_brain(
        AutoencoderBrain,
        "ae",
        hparams,
        run_opts,
        report="autoencoder_report",
        loss=hparams["ae_loss"],
        swap=hparams["ae_swap"],
    )
    if any(p.requires_grad for p in hparams["autoencoder"].parameters()):
        fit(brain, data, "ae", hparams)
        brain.on_evaluate_start(max_key=brain.best_key)
        brain.ema.copy_to_module()
    if hparams["latent_std"] is not None:
        measured = brain.latent_std(data["train"], batch_size=hparams["ae_batch_size"])
        logger.info("latent std %.4f, rescaled to %g", measured, hparams["latent_std"])
        hparams["autoencoder"].set_latent_std(measured, hparams["latent_std"])
    run_on_main(save_weights, args=[hparams["autoencoder"], folder / AUTOENCODER])


def take_autoencoder(stage, hparams, folder):
    """Load what stage one left and bind a later stage's checkpoints to it.

    Again for each stage: the one before may have trained the decoder.
    """
    load_weights(hparams["autoencoder"], folder / AUTOENCODER)
    check_pairing(hparams["autoencoder"], folder / stage)
    run_on_main(mark_pairing, args=[hparams["autoencoder"], folder / stage])


def latent_brain(stage, hparams, run_opts):
    """Brain of stage "score" or "few_step" and its data."""
    return stage_brain(
        ScoreBrain if stage == "score" else FewStepBrain,
        stage,
        hparams,
        run_opts,
        report=REPORTS[stage],
        sde=hparams["sde"],
        objective=hparams["objective"],
        decoded_loss=hparams[f"{stage}_decoded_loss"],
        latent_weight=hparams[f"{stage}_latent_weight"],
    )


def train_score(hparams, run_opts, folder):
    """Stage two."""
    take_autoencoder("score", hparams, folder)
    if hparams["score_init"] is not None:  # checkpoints of this run take precedence
        load_weights(hparams["score_model"], hparams["score_init"])
    hparams["score_ema"].reset()  # weights were loaded since it was made
    brain, data = latent_brain("score", hparams, run_opts)
    restorer, valid_options = hparams["restorer"], hparams["score_sampler_options"]
    sampler, options = restorer.sampler_name, restorer.sampler_options
    restorer.set_sampler(sampler, **(valid_options or options))
    fit(brain, data, "score", hparams)
    restorer.set_sampler(sampler, **options)


def train_few_step(hparams, run_opts, folder):
    """Stage three."""
    take_autoencoder("few_step", hparams, folder)
    begin_few_step(hparams, folder)
    brain, data = latent_brain("few_step", hparams, run_opts)
    fit(brain, data, "few_step", hparams)


@main_process_only  # the others are done: nothing in here may wait for them
def test(hparams, run_opts, folder):
    """Export the best weights of the last stage and measure them on the test set.

    As ``lafufu evaluate`` does, with the exported model; ``lafufu report`` reads what
    the report folder then holds.
    """
    stage, restorer = last_stage(hparams), hparams["restorer"]
    logger.info(
        "Testing the weights in %s with %s, %s",
        folder / stage,
        restorer.sampler_name,
        restorer.sampler_options,
    )
    try:
        export_run(folder, folder / "model")
    except FileNotFoundError as error:  # an epoch was never validated
        raise UsageError(str(error)) from error
    choice = ModelChoice(str(folder / "model"), device=run_opts["device"])
    rows = evaluate_models(
        {"../model": choice},
        read_manifest(
            folder / "test.json", run_opts.debug_batches if run_opts.debug else None
        ),
        folder / REPORTS[stage],
        system=hparams["recipe"],
        recipe=(folder / RECIPE_NAME).read_text(),
        metrics=hparams["test_metrics"],
    )
    summary = summarise_rows(rows[0])
    means = {name: summary[name]["mean"] for name in hparams["test_metrics"]}
    hparams["train_logger"].log_stats({"stage": "test"}, test_stats=means)


def set_up(arguments):
    """Read the recipe, make the output folder and the manifests.

    Raises
    ------
    OSError, KeyError, ValueError, ImportError
        For wrong use; the message says what to do.
    """
    hparams_file, run_opts, overrides = sb.parse_arguments(arguments)
    ddp_init_group(run_opts)
    hparams, text = load_recipe(hparams_file, overrides, run_opts.debug)
    if run_opts.debug:
        # SpeechBrain stops AT its last debug epoch; a resumed run would step over it.
        for stage in ("predictor", "ae", "score", "few_step"):
            counter = hparams[f"{stage}_counter"]
            counter.limit = min(counter.limit, run_opts.debug_epochs)
    hparams["recipe"] = Path(hparams_file).stem  # names the system in its results
    folder = Path(hparams["output_folder"])
    check_settings(hparams, folder)
    folder.mkdir(parents=True, exist_ok=True)
    run_on_main((folder / RECIPE_NAME).write_text, args=[text])
    sb.create_experiment_directory(
        experiment_directory=str(folder), hyperparams_to_save=str(folder / RECIPE_NAME)
    )
    run_on_main(
        prepare_ears,
        kwargs={
            "data_folder": hparams["data_folder"],
            "save_folder": str(folder),
            "task": hparams["task"],
            "skip_prep": hparams["skip_prep"],
        },
    )
    if starts_from_model(hparams):
        adopt_model(hparams, folder / AUTOENCODER)
    return hparams, run_opts, folder


def run(hparams, run_opts, folder):
    """Run the stages that are asked for and not yet finished."""
    wanted = STAGES if hparams["stage"] == "all" else (hparams["stage"],)
    first = {"autoencoder": (AUTOENCODER, train_autoencoder)}
    if hparams["autoencoder"].predicts:
        first = {"predictor": (PREDICTOR, train_predictor)} | first
    for stage, (finished, train) in first.items():
        if stage in wanted and (folder / finished).exists():
            logger.info("Stage %s is finished: %s", stage, folder / finished)
        elif stage in wanted:
            train(hparams, run_opts, folder)
    if "score" in wanted and hparams["few_step_init"] is None:
        train_score(hparams, run_opts, folder)
    if "few_step" in wanted and last_stage(hparams) == "few_step":
        train_few_step(hparams, run_opts, folder)
    if "test" in wanted:
        test(hparams, run_opts, folder)


def main(arguments):
    """Run the recipe; wrong use ends in one line, not in a traceback."""
    try:
        prepared = set_up(arguments)
    except (OSError, KeyError, ValueError, ImportError, YAMLError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        sys.exit(f"train.py: error: {message}")
    try:
        run(*prepared)
    except UsageError as error:
        sys.exit(f"train.py: error: {error}")
    finally:
        # Else its threads may outlive what they use, and end the process by abort().
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
