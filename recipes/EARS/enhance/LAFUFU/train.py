#!/usr/bin/env python3
"""Train, test and export a LAFUFU speech restorer on EARS-WHAM or EARS-Reverb.

To run:
> python train.py hparams/lafufu_reverb.yaml --data_folder=/path/to/EARS-Reverb

Trains the autoencoder, then the score model in its frozen latent, fits it to few
sampling steps if few_step_epochs is not 0, exports and tests. A killed run resumes
exactly, finished stages are skipped, and
``--stage pre_enhancer|autoencoder|score|few_step|test`` runs a single one.
``--init_from=MODEL_FOLDER`` fine-tunes a model. ``--dry_run`` makes two steps of each
stage and says what the training needs.

Authors
 * the lafufu_sb contributors, 2026
"""

import sys
from functools import partial
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

from lafufu_sb.corpora.pairs import PairEnhancer, paired_dataset
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.clips import summarise_rows
from lafufu_sb.evaluation.runs import evaluate_models, read_manifest
from lafufu_sb.inference.folder import RECIPE_NAME
from lafufu_sb.inference.loading import ModelChoice
from lafufu_sb.inference.weights import load_weights
from lafufu_sb.training import brains, dry_run, stages
from lafufu_sb.training.cost import warn_of_cost
from lafufu_sb.training.export import export_run
from lafufu_sb.training.recipe import load_recipe
from lafufu_sb.training.settings import check_settings
from lafufu_sb.training.starting import start_from_model

logger = get_logger(__name__)
DRY_RUN = {"--dry_run", "--dry-run"}


def datasets(hparams, crop_frames, epoch_counter):
    """Training crops, and whole clips for validation."""
    folder = Path(hparams["output_folder"])
    common = {
        "sample_rate": hparams["sample_rate"],
        "seed": hparams["seed"],
        "with_bandwidth": hparams["mask_bandwidth"],
    }
    train, valid = (
        common
        | {
            "manifest": folder / f"{subset}.json",
            "enhancer": PairEnhancer.of(
                hparams["pre_enhancer"],
                hparams["sample_rate"],
                folder / "enhanced" / subset,
            ),
        }
        for subset in ("train", "valid")
    )
    crop = hparams["representation"].samples(crop_frames)
    train |= {"crop": crop, "epoch_counter": epoch_counter, "mixer": hparams["mixer"]}
    return paired_dataset(**train), paired_dataset(**valid)


def stage_brain(brain_class, stage, hparams, run_opts, **own):
    """A stage's brain, and the arguments of its ``fit``."""
    train, valid = datasets(hparams, own["crop_frames"], stage.counter)
    stage.ema.decay = own.pop("ema_decay", hparams["ema_decay"])
    brain = brain_class(
        modules=stage.modules,
        opt_class=partial(hparams["optimizer"], lr=own["lr"]),
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=stage.checkpointer,
        ema=stage.ema,
        epoch_counter=stage.counter,
        items=len(train),
        restorer=own.pop("restorer", hparams["restorer"]),
        seed=hparams["seed"],
        train_logger=hparams["train_logger"],
        metrics=hparams["metrics"],
        best_key=hparams["best_key"],
        valid_clips=hparams["valid_clips"],
        valid_items=len(valid),
        report_folder=str(stage.report_folder),
        **own,
    )
    loader = {"batch_size": own["batch_size"], "num_workers": hparams["num_workers"]}
    return brain, {
        "epoch_counter": stage.counter,
        "train_set": train,
        "valid_set": valid,
        "train_loader_kwargs": loader | {"shuffle": True},
        "valid_loader_kwargs": {"batch_size": 1},
    }


def train_pre_enhancer(hparams, run_opts, folder):
    """Before stage one. Leaves the averaged weights of the best epoch."""
    stage = stages.Stage("pre_enhancer", hparams)
    brain, data = pre_enhancer_brain(stage, hparams, run_opts)
    brain.fit(**data)
    brain.keep_best()
    stages.save_part("pre_enhancer", hparams, folder)


def pre_enhancer_brain(stage, hparams, run_opts):
    """Brain of the stage before stage one."""
    return stage_brain(
        brains.PreEnhancerBrain,
        stage,
        hparams,
        run_opts,
        loss=hparams["pre_enhancer_loss"],
        options=hparams["pre_enhancer_options"],
        ema_decay=hparams["pre_enhancer_ema_decay"],
        lr=hparams["pre_enhancer_lr"],
        lr_schedule=hparams["pre_enhancer_lr_schedule"],
        batch_size=hparams["pre_enhancer_batch_size"],
        crop_frames=hparams["pre_enhancer_crop_frames"],
    )


def train_autoencoder(hparams, run_opts, folder):
    """Stage one. Leaves the averaged weights of the best epoch.

    SGMSE+ has nothing to train here; its spectrogram may still be rescaled.
    """
    representation = hparams["representation"]
    if (folder / stages.PRE_ENHANCER).exists():
        load_weights(hparams["pre_enhancer"], folder / stages.PRE_ENHANCER)
    representation.reset_latent_scale()
    representation.begin_training()
    stage = stages.Stage("autoencoder", hparams)
    brain, data = autoencoder_brain(stage, hparams, run_opts)
    if stages.learns(representation):
        brain.fit(**data)
        brain.keep_best()
        representation.end_training()
    if hparams["latent_std"] is not None:
        measured = brain.latent_std(
            data["train_set"], batch_size=hparams["ae_batch_size"]
        )
        logger.info("latent std %.4f, rescaled to %g", measured, hparams["latent_std"])
        representation.set_latent_std(measured, hparams["latent_std"])
    stages.save_part("representation", hparams, folder)


def autoencoder_brain(stage, hparams, run_opts):
    """Brain of stage one."""
    return stage_brain(
        brains.AutoencoderBrain,
        stage,
        hparams,
        run_opts,
        loss=hparams["ae_loss"],
        swap=hparams["ae_swap"],
        lr=hparams["ae_lr"],
        lr_schedule=hparams["ae_lr_schedule"],
        batch_size=hparams["ae_batch_size"],
        crop_frames=hparams["ae_crop_frames"],
    )


def train_score(hparams, run_opts, folder):
    """Stage two."""
    stages.take_parts("score", hparams, folder)
    if hparams["train_decoder"]:
        learning = "with" if hparams["train_score_model"] else "without"
        logger.info("The decoder learns %s the score model", learning)
    brain, data = score_brain(stages.Stage("score", hparams), hparams, run_opts)
    brain.fit(**data)


def score_brain(stage, hparams, run_opts):
    """Brain of stage two."""
    restorer = hparams["restorer"]
    return stage_brain(
        brains.ScoreBrain,
        stage,
        hparams,
        run_opts,
        restorer=restorer.with_settings(**hparams["score_sampler_options"] or {}),
        process=hparams["process"],
        objective=hparams["objective"],
        decoded_loss=hparams["score_decoded_loss"],
        latent_weight=hparams["score_latent_weight"],
        lr=hparams["score_lr"],
        lr_schedule=hparams["score_lr_schedule"],
        batch_size=hparams["score_batch_size"],
        crop_frames=hparams["score_crop_frames"],
        mask_bandwidth=hparams["mask_bandwidth"],
    )


def train_few_step(hparams, run_opts, folder):
    """Stage three."""
    stages.take_parts("few_step", hparams, folder)
    stage = stages.begin_few_step(hparams, folder)
    brain, data = few_step_brain(stage, hparams, run_opts)
    brain.fit(**data)


def few_step_brain(stage, hparams, run_opts):
    """Brain of stage three."""
    return stage_brain(
        brains.FewStepBrain,
        stage,
        hparams,
        run_opts,
        process=hparams["process"],
        objective=hparams["objective"],
        decoded_loss=hparams["few_step_decoded_loss"],
        latent_weight=hparams["few_step_latent_weight"],
        lr=hparams["few_step_lr"],
        lr_schedule=hparams["few_step_lr_schedule"],
        batch_size=hparams["few_step_batch_size"],
        crop_frames=hparams["few_step_crop_frames"],
        mask_bandwidth=hparams["mask_bandwidth"],
    )


TRAINING = {
    "pre_enhancer": train_pre_enhancer,
    "autoencoder": train_autoencoder,
    "score": train_score,
    "few_step": train_few_step,
}
BRAINS = {
    "pre_enhancer": pre_enhancer_brain,
    "autoencoder": autoencoder_brain,
    "score": score_brain,
    "few_step": few_step_brain,
}


@main_process_only  # the others are done: nothing in here may wait for them
def test(hparams, run_opts, folder):
    """Export the best weights of the last stage and measure them on the test set.

    Uses the exported model, as ``lafufu evaluate`` does. ``lafufu report`` reads the
    results.
    """
    stage, sampling = stages.last_stage(hparams), hparams["restorer"].describe()
    logger.info("Testing the weights in %s: %s", folder / stage, sampling)
    export_run(folder, folder / "model")
    # Trusted: this run wrote the folder, and has imported the classes that it names.
    choice = ModelChoice(str(folder / "model"), device=run_opts["device"], trust=True)
    rows = evaluate_models(
        {"../model": choice},
        read_manifest(
            folder / "test.json", run_opts.debug_batches if run_opts.debug else None
        ),
        folder / stages.report_name(stage),
        system=hparams["recipe"],
        recipe=(folder / RECIPE_NAME).read_text(),
        metrics=hparams["test_metrics"],
    )
    summary = summarise_rows(rows[0])
    means = {name: summary[name]["mean"] for name in hparams["test_metrics"]}
    hparams["train_logger"].log_stats({"stage": "test"}, test_stats=means)
    model = (folder / "model").resolve()
    logger.info("The model folder is %s", model)
    logger.info("Restore with: lafufu enhance noisy.wav -o restored.wav -m %s", model)


def set_up(arguments):
    """Read and check the recipe; writes nothing. Gives objects, options and text."""
    hparams_file, run_opts, overrides = sb.parse_arguments(arguments)
    ddp_init_group(run_opts)
    hparams, text = load_recipe(hparams_file, overrides, run_opts.debug)
    if run_opts.debug:
        # SpeechBrain stops AT its last debug epoch; a resumed run would step over it.
        limit = run_opts.debug_epochs
        hparams["pre_enhancer_epochs"] = min(hparams["pre_enhancer_epochs"], limit)
        hparams["ae_epochs"] = min(hparams["ae_epochs"], limit)
        hparams["score_epochs"] = min(hparams["score_epochs"], limit)
        hparams["few_step_epochs"] = min(hparams["few_step_epochs"], limit)
    if "ckpt_interval_steps" in run_opts.overridden_args:
        hparams["ckpt_interval_minutes"] = 0  # SpeechBrain allows one of the two
    hparams["recipe"] = Path(hparams_file).stem  # names the system in its results
    folder = Path(hparams["output_folder"])
    check_settings(hparams, folder)
    start_from_model(hparams, text, folder)
    warn_of_cost(hparams, folder, run_opts.device)
    return hparams, run_opts, text


def prepare(hparams, folder):
    """Write the manifests."""
    run_on_main(
        prepare_ears,
        [hparams["data_folder"], folder, hparams["task"], hparams["skip_prep"]],
    )


def run(hparams, run_opts, text):
    """Run the stages that are asked for and not yet finished."""
    folder = Path(hparams["output_folder"])
    folder.mkdir(parents=True, exist_ok=True)
    run_on_main((folder / RECIPE_NAME).write_text, args=[text])
    sb.create_experiment_directory(
        experiment_directory=str(folder), hyperparams_to_save=str(folder / RECIPE_NAME)
    )
    if hparams["init_from"] is not None:
        given = hparams["init_parts"] or "all parts", hparams["init_from"]
        changes = hparams["fine_tuning"]
        logger.info("Starts with %s of %s; options win over %s", *given, changes)
    prepare(hparams, folder)
    for stage in stages.taken_stages(hparams, folder):
        part = stages.FIRST[stage]
        logger.info("The %s is that of init_from, not trained further", part)
        stages.save_part(part, hparams, folder)
    for stage in stages.due_stages(hparams, folder):
        TRAINING[stage](hparams, run_opts, folder)
    if hparams["stage"] in ("all", "test"):
        test(hparams, run_opts, folder)


def main(arguments):
    """Run the recipe; refused requests end in one line, without a traceback."""
    dry = DRY_RUN & set(arguments)
    try:
        hparams, run_opts, text = set_up([a for a in arguments if a not in DRY_RUN])
        if dry:
            print(dry_run.rehearse(hparams, run_opts, prepare, BRAINS))
        else:
            run(hparams, run_opts, text)
    except (UsageError, OSError) as error:
        sys.exit(f"train.py: error: {error}")
    finally:
        # Else its threads may outlive what they use, and end the process by abort().
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
