"""From a run folder to a model folder that ``EnhanceLatent`` loads."""

import contextlib
import io
import os
import re
import shutil
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from .checkpoints import check_pairing, fingerprint, load_weights, save_weights
from .errors import WrongUse
from .recipe import RECIPE_NAME, load_recipe
from .stages import last_stage, load_best

HYPERPARAMS = "hyperparams.yaml"
CARD = "README.md"
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
    FileNotFoundError, FileExistsError, ValueError
        As ``export_run`` does; ValueError for ``half`` with a model folder too.
    ImportError
        If onnx or onnxscript is not installed.
    """
    from .inference import EnhanceLatent
    from .onnx_export import write_graphs

    source = Path(source)
    if not _is_model(source) and not (source / RECIPE_NAME).is_file():
        raise FileNotFoundError(
            f"{source} is neither a model folder nor a run folder: it has no "
            f"{HYPERPARAMS} and no {RECIPE_NAME}"
        )
    with new_model_folder(output_folder) as temporary:
        if _is_model(source):
            if half:
                raise WrongUse(
                    f"half is for the export of a training, {source} is a model "
                    "folder: its weights are copied as they are"
                )
            for name in (HYPERPARAMS, *(f"{name}.ckpt" for name in LOADABLES)):
                shutil.copyfile(source / name, temporary / name)
            if (source / CARD).exists():  # it says under which licence the weights are
                shutil.copyfile(source / CARD, temporary / CARD)
        else:
            _write_model(source, temporary, half)
        # What the folder gives, not the training: weights may have become half.
        model = EnhanceLatent.from_hparams(
            temporary,
            run_opts={"device": "cpu"},
            trust=not _is_model(source),  # a run's recipe has been run already
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
    load_weights(hparams["autoencoder"], run_folder / "autoencoder.ckpt")
    stage = last_stage(hparams)
    check_pairing(hparams["autoencoder"], run_folder / stage)
    if not load_best(hparams, stage):
        raise FileNotFoundError(
            f"{run_folder / stage} has no checkpoint of a validated epoch: train the "
            f"{stage} stage first"
        )
    for name in LOADABLES:
        save_weights(hparams[name], folder / f"{name}.ckpt", half)
    mark = fingerprint(hparams["autoencoder"])
    (folder / HYPERPARAMS).write_text(inference_recipe(YAML().load(text), mark))


@contextlib.contextmanager
def new_model_folder(output_folder):
    """Give a temporary folder, which becomes the model folder if the block succeeds."""
    output_folder = Path(output_folder)
    if output_folder.exists() and not _is_model(output_folder):
        raise FileExistsError(
            f"{output_folder} exists and is not a model folder: choose another output "
            "folder"
        )
    temporary = output_folder.with_name(output_folder.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if not output_folder.exists():
            os.replace(temporary, output_folder)
            return
        for path in temporary.iterdir():  # what else is there belongs to the user
            os.replace(path, output_folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_model(folder):
    # A run folder has a hyperparams.yaml too: SpeechBrain writes one.
    return (folder / HYPERPARAMS).is_file() and not (folder / RECIPE_NAME).exists()
