"""From a run folder to a model folder that ``EnhanceLatent`` loads."""

import shutil
from pathlib import Path

from ruamel.yaml import YAML

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.folder import (
    CARD,
    HYPERPARAMS,
    LOADABLES,
    RECIPE_NAME,
    inference_recipe,
    is_model_folder,
    loadables,
    new_model_folder,
    weights_file,
    weights_name,
)
from lafufu_sb.inference.sources import checked_file
from lafufu_sb.inference.weights import save_weights
from lafufu_sb.lobes.fingerprint import fingerprint
from lafufu_sb.training.checkpoints import check_pairing
from lafufu_sb.training.recipe import load_recipe
from lafufu_sb.training.stages import Stage, last_stage, load_parts


def export_run(run_folder, output_folder, half=False):
    """Write a model folder from a trained run.

    Takes the averaged weights of the best epoch of the recipe's last stage, the score
    or the few-step stage. The folder appears whole or not at all. In an existing model
    folder only these files are replaced.

    Arguments
    ---------
    run_folder : str or Path
        ``output_folder`` of the recipe.
    output_folder : str or Path
        The model folder: hyperparams.yaml and the weights of the parts.
    half : bool
        Store the weights in half precision.

    Raises
    ------
    FileNotFoundError
        If it is not a run folder, or its last stage has no checkpoint yet.
    FileExistsError
        If the output folder exists and is no model folder.
    UsageError
        If the score model was trained in the latent of another representation.
    """
    with new_model_folder(output_folder) as temporary:
        _write_model(Path(run_folder), temporary, half)


def export_onnx(source, output_folder, half=False, quantize=None):
    """Write a model folder with ONNX graphs, for ``backend="onnx"`` too.

    The folder appears whole or not at all; in an existing model folder, which may be
    ``source`` itself, only these files are replaced.

    Arguments
    ---------
    source : str or Path
        A model folder, or the ``output_folder`` of a training.
    output_folder : str or Path
        The model folder with ``encoder.onnx``, ``score_model.onnx``, ``decoder.onnx``
        and ``onnx.json`` beside its usual files. See ``write_graphs``.
    half : bool
        Store the weights of a training in half precision (those of the graphs are
        always float32, unless quantised).
    quantize : str, optional
        "int8", see ``write_graphs``.

    Raises
    ------
    FileNotFoundError, FileExistsError, UsageError
        As ``export_run`` does; UsageError for ``half`` with a model folder too.
    MissingPackageError
        If onnx or onnxscript is not installed.
    """
    from lafufu_sb.inference.interface import EnhanceLatent
    from lafufu_sb.training.onnx_export import write_graphs

    source = Path(source)
    if not is_model_folder(source) and not (source / RECIPE_NAME).is_file():
        raise FileNotFoundError(
            f"{source} is neither a model folder nor a run folder: it has no "
            f"{HYPERPARAMS} and no {RECIPE_NAME}"
        )
    with new_model_folder(output_folder) as temporary:
        if is_model_folder(source):
            if half:
                raise UsageError(
                    f"--fp16-weights is for the export of a training run; {source} is "
                    "a model folder, whose weights are copied unchanged"
                )
            # The card says under which licence the weights are.
            weights = [weights_file(source, part).name for part in LOADABLES]
            for name in (HYPERPARAMS, CARD, *weights):
                if (source / name).exists():
                    file = checked_file(source / name, source)
                    shutil.copyfile(file, temporary / name)
        else:
            _write_model(source, temporary, half)
        # From the folder, whose weights may be in half precision, not from the run.
        model = EnhanceLatent.from_hparams(
            temporary,
            run_opts={"device": "cpu"},
            trust=not is_model_folder(source),  # a run's recipe has been run already
        )
        write_graphs(model.restorer, temporary, quantize)


def _write_model(run_folder, folder, half):
    recipe_file = run_folder / RECIPE_NAME
    if not recipe_file.is_file():
        raise FileNotFoundError(
            f"{run_folder} is not a run folder: it has no {RECIPE_NAME}. Give the "
            "output_folder of a training"
        )
    hparams, text = load_recipe(recipe_file, {"output_folder": str(run_folder)})
    load_parts(hparams, run_folder)
    stage = last_stage(hparams)
    check_pairing(hparams["restorer"], run_folder / stage)
    if not Stage(stage, hparams).load_best():
        raise FileNotFoundError(
            f"{run_folder / stage} has no checkpoint of a validated epoch: train the "
            f"{stage} stage first"
        )
    for name in loadables(hparams):
        save_weights(hparams[name], folder / weights_name(name), half)
    mark = fingerprint(hparams["representation"])
    (folder / HYPERPARAMS).write_text(inference_recipe(YAML().load(text), mark))
