#!/usr/bin/env python3
"""Train, test and export a LAFUFU speech restorer on EARS-WHAM or EARS-Reverb.

To run:
> python train.py hparams/lafufu_reverb.yaml --data_folder=/path/to/EARS-Reverb

Trains the autoencoder, then the score model in its frozen latent, then tests and
exports. A killed run goes on where it was; finished stages are skipped;
``--stage autoencoder|score|test`` runs one.

Authors
 * the lafufu_sb contributors, 2026
"""

import sys
from pathlib import Path

import speechbrain as sb
from ears_prepare import prepare_ears
from speechbrain.utils.distributed import ddp_init_group, run_on_main
from speechbrain.utils.logger import get_logger
from yaml import YAMLError

from lafufu_sb.brains import AutoencoderBrain, ScoreBrain
from lafufu_sb.checkpoints import (
    check_pairing,
    load_weights,
    mark_pairing,
    save_weights,
)
from lafufu_sb.dataio import paired_dataset
from lafufu_sb.errors import WrongUse
from lafufu_sb.export import export_run
from lafufu_sb.metrics import check_metrics
from lafufu_sb.recipe import RECIPE_NAME, load_recipe

logger = get_logger(__name__)

STAGES = ("autoencoder", "score", "test")
AUTOENCODER = "autoencoder.ckpt"  # in the output folder once stage one is finished


def datasets(hparams, crop_frames, epoch_counter):
    """Training crops and whole clips for validation and test."""
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
        "test": paired_dataset(folder / "test.json", **common),
    }


def fit(brain, data, counter, batch_size, num_workers):
    """Train with SpeechBrain's loop; a finished run only reads its checkpoint."""
    brain.fit(
        counter,
        data["train"],
        data["valid"],
        train_loader_kwargs={
            "batch_size": batch_size,
            "num_workers": num_workers,
            "shuffle": True,
        },
        valid_loader_kwargs={"batch_size": 1},
    )


def train_autoencoder(hparams, run_opts, finished):
    """Stage one. Leaves the averaged weights of the best epoch in ``finished``."""
    counter = hparams["ae_counter"]
    if hparams["ae_init"] is not None:
        load_weights(hparams["autoencoder"], hparams["ae_init"])
        hparams["autoencoder"].reset_latent_scale()
    data = datasets(hparams, hparams["ae_crop_frames"], counter)
    brain = AutoencoderBrain(
        modules=hparams["ae_modules"],
        opt_class=hparams["ae_opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["ae_checkpointer"],
        restorer=hparams["restorer"],
        loss=hparams["ae_loss"],
        swap=hparams["ae_swap"],
        ema=hparams["ae_ema"],
        epoch_counter=counter,
        train_logger=hparams["train_logger"],
        crop_frames=hparams["ae_crop_frames"],
        seed=hparams["seed"],
        valid_clips=hparams["valid_clips"],
        metrics=hparams["metrics"],
        best_key=hparams["best_key"],
        lr_schedule=hparams["ae_lr_schedule"],
        batches_per_epoch=-(-len(data["train"]) // hparams["ae_batch_size"]),
        report_folder=str(Path(hparams["output_folder"]) / "autoencoder_report"),
    )
    fit(brain, data, counter, hparams["ae_batch_size"], hparams["num_workers"])
    brain.on_evaluate_start(max_key=brain.best_key)
    brain.ema.copy_to_module()
    if hparams["latent_std"] is not None:
        measured = brain.latent_std(data["train"], batch_size=hparams["ae_batch_size"])
        logger.info("latent std %.4f, rescaled to %g", measured, hparams["latent_std"])
        hparams["autoencoder"].set_latent_std(measured, hparams["latent_std"])
    run_on_main(save_weights, args=[hparams["autoencoder"], finished])


def score_brain(hparams, run_opts, autoencoder_file):
    """Stage two, ready to train or to test."""
    counter = hparams["score_counter"]
    load_weights(hparams["autoencoder"], autoencoder_file)
    score_folder = Path(hparams["output_folder"]) / "score"
    check_pairing(hparams["autoencoder"], score_folder)
    run_on_main(mark_pairing, args=[hparams["autoencoder"], score_folder])
    data = datasets(hparams, hparams["score_crop_frames"], counter)
    brain = ScoreBrain(
        modules=hparams["score_modules"],
        opt_class=hparams["score_opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["score_checkpointer"],
        restorer=hparams["restorer"],
        sde=hparams["sde"],
        objective=hparams["objective"],
        decoded_loss=hparams["score_decoded_loss"],
        latent_weight=hparams["score_latent_weight"],
        ema=hparams["score_ema"],
        epoch_counter=counter,
        train_logger=hparams["train_logger"],
        crop_frames=hparams["score_crop_frames"],
        seed=hparams["seed"],
        valid_clips=hparams["valid_clips"],
        metrics=hparams["metrics"],
        best_key=hparams["best_key"],
        lr_schedule=hparams["score_lr_schedule"],
        batches_per_epoch=-(-len(data["train"]) // hparams["score_batch_size"]),
        report_folder=str(Path(hparams["output_folder"]) / "report"),
    )
    return brain, data


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
        for name in ("ae_counter", "score_counter"):
            hparams[name].limit = min(hparams[name].limit, run_opts.debug_epochs)
    stage = hparams["stage"]
    if stage not in ("all", *STAGES):
        raise ValueError(f"stage must be all, {', '.join(STAGES)}, got {stage!r}")
    folder = Path(hparams["output_folder"])
    if stage in ("score", "test") and not (folder / AUTOENCODER).exists():
        raise FileNotFoundError(
            f"{folder / AUTOENCODER} does not exist: run --stage autoencoder first"
        )
    if hparams["ae_init"] is not None and not Path(hparams["ae_init"]).is_file():
        raise FileNotFoundError(f"ae_init {hparams['ae_init']} does not exist")
    check_metrics({*hparams["metrics"], *hparams["test_metrics"]})
    if hparams["best_key"] not in hparams["metrics"]:
        raise ValueError(f"best_key {hparams['best_key']} must be one of metrics")
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
    return hparams, run_opts, folder


def run(hparams, run_opts, folder):
    """Run the stages that are asked for and not yet finished."""
    stage = hparams["stage"]
    if stage in ("all", "autoencoder"):
        if (folder / AUTOENCODER).exists():
            logger.info("Stage autoencoder is finished: %s", folder / AUTOENCODER)
        else:
            train_autoencoder(hparams, run_opts, folder / AUTOENCODER)
    if stage == "autoencoder":
        return
    brain, data = score_brain(hparams, run_opts, folder / AUTOENCODER)
    if stage in ("all", "score"):
        counter, batch_size = hparams["score_counter"], hparams["score_batch_size"]
        fit(brain, data, counter, batch_size, hparams["num_workers"])
    if stage in ("all", "test"):
        brain.metrics = tuple(hparams["test_metrics"])
        brain.evaluate(
            data["test"],
            max_key=brain.best_key,
            test_loader_kwargs={"batch_size": 1},
        )
        run_on_main(export_run, args=[folder, folder / "model"])


def main(arguments):
    """Run the recipe; wrong use ends in one line, not in a traceback."""
    try:
        prepared = set_up(arguments)
    except (OSError, KeyError, ValueError, ImportError, YAMLError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        sys.exit(f"train.py: error: {message}")
    try:
        run(*prepared)
    except WrongUse as error:
        sys.exit(f"train.py: error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
