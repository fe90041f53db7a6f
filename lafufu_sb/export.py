"""From a run folder to a model folder that ``EnhanceLatent`` loads."""

import io
import os
import re
import shutil
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from .checkpoints import check_pairing, fingerprint, load_weights, save_weights
from .recipe import RECIPE_NAME, load_recipe
from .stages import last_stage, load_best

HYPERPARAMS = "hyperparams.yaml"
LOADABLES = ("autoencoder", "score_model")
HEADER = """\
# Model folder of lafufu_sb: EnhanceLatent.from_hparams(source="this folder").
# The values are those of the training run; the weights fit no others.

"""


def inference_recipe(recipe, autoencoder_mark):
    """Cut a training recipe down to what restoration needs.

    Keeps ``restorer`` and, in their order, all keys that it refers to, directly or
    not, so that a number of the training run reaches the model folder unchanged.

    Arguments
    ---------
    recipe : ruamel.yaml.comments.CommentedMap
        As ``read_recipe`` returns it.
    autoencoder_mark : str
        ``fingerprint`` of the autoencoder in whose latent the score model works.

    Returns
    -------
    str
        YAML text with ``modules`` and ``pretrainer``; free of ``!apply``.
    """
    needed, open_keys = set(), ["restorer", "sample_rate"]
    while open_keys:
        key = open_keys.pop()
        if key not in needed:
            needed.add(key)
            open_keys += _references(recipe[key])
    kept = CommentedMap((key, recipe[key]) for key in recipe if key in needed)
    stream = io.StringIO()
    YAML().dump(kept, stream)
    # Comments between the sections of the recipe speak of what was cut off.
    lines = [
        line
        for line in stream.getvalue().splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    loadables = "".join(f"    {name}: !ref <{name}>\n" for name in LOADABLES)
    hooks = "".join(
        f"    {name}: !name:lafufu_sb.checkpoints.load_weights\n" for name in LOADABLES
    )
    return (
        f"{HEADER}"
        + "\n".join(lines)
        + f"\n\nautoencoder_fingerprint: {autoencoder_mark}\n"
        + "modules:\n  restorer: !ref <restorer>\n"
        + "pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer\n"
        + f"  loadables:\n{loadables}  custom_hooks:\n{hooks}"
    )


def _references(node):
    stream = io.StringIO()
    YAML().dump({"node": node}, stream)
    return [
        name
        for reference in re.findall(r"!ref ([^\n#]*)", stream.getvalue())
        for name in re.findall(r"<([\w]+)", reference)
    ]


def export_run(run_folder, output_folder, half=False):
    """Write a model folder from a trained run.

    Takes the averaged weights of the best epoch of the recipe's last stage, the score
    stage or where there is one the few-step stage. The folder appears whole or not at
    all; in an existing model folder only these files are replaced.

    Arguments
    ---------
    run_folder : str or Path
        ``output_folder`` of the recipe.
    output_folder : str or Path
        The model folder: hyperparams.yaml, autoencoder.ckpt, score_model.ckpt.
    half : bool
        Store the weights in half precision.

    Raises
    ------
    FileNotFoundError
        If the run folder is none, or its last stage has no checkpoint yet.
    FileExistsError
        If the output folder exists and is no model folder.
    ValueError
        If the score model was trained in the latent of another autoencoder.
    """
    run_folder, output_folder = Path(run_folder), Path(output_folder)
    recipe_file = run_folder / RECIPE_NAME
    if not recipe_file.is_file():
        raise FileNotFoundError(
            f"{run_folder} is not a run folder: it has no {RECIPE_NAME}. Give the "
            "output_folder of a training"
        )
    _refuse_foreign(output_folder)
    hparams, text = load_recipe(recipe_file, {"output_folder": str(run_folder)})
    load_weights(hparams["autoencoder"], run_folder / "autoencoder.ckpt")
    stage = last_stage(hparams)
    check_pairing(hparams["autoencoder"], run_folder / stage)
    if not load_best(hparams, stage):
        raise FileNotFoundError(
            f"{run_folder / stage} has no checkpoint of a validated epoch: train the "
            f"{stage} stage first"
        )

    temporary = output_folder.with_name(output_folder.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name in LOADABLES:
        save_weights(hparams[name], temporary / f"{name}.ckpt", half)
    mark = fingerprint(hparams["autoencoder"])
    (temporary / HYPERPARAMS).write_text(inference_recipe(YAML().load(text), mark))
    if not output_folder.exists():
        os.replace(temporary, output_folder)
        return
    for path in temporary.iterdir():  # whatever else is there belongs to the user
        os.replace(path, output_folder / path.name)
    temporary.rmdir()


def _refuse_foreign(folder):
    # A run folder has a hyperparams.yaml too: SpeechBrain writes one.
    model = (folder / HYPERPARAMS).is_file() and not (folder / RECIPE_NAME).exists()
    if folder.exists() and not model:
        raise FileExistsError(
            f"{folder} exists and is not a model folder: choose another output folder"
        )
