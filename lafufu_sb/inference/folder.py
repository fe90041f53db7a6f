"""Contents of a model folder, and how to write one."""

import contextlib
import io
import os
import re
import shutil
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

RECIPE_NAME = "recipe.yaml"  # marks a run folder: all values as they were used
HYPERPARAMS = "hyperparams.yaml"
CARD = "README.md"
LOADABLES = (
    "representation",
    "pre_enhancer",
    "score_model",
)  # parts, as keys of the YAML
HEADER = """\
# Model folder of lafufu_sb: EnhanceLatent.from_hparams(source="this folder").
# The values are those of the training run; the weights fit no others.

"""


def inference_recipe(recipe, representation_mark, names):
    """Cut a training recipe down to what restoration needs.

    Keeps ``restorer`` and, in their order, all keys that it refers to, directly or
    not, so that a number of the training run reaches the model folder unchanged.

    Arguments
    ---------
    recipe : ruamel.yaml.comments.CommentedMap
        As ``read_recipe`` returns it.
    representation_mark : str
        ``fingerprint`` of the representation in whose latent the score model works.
    names : sequence of str
        Keys of the parts whose weights are in the folder, see ``loadables``.

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
    loadables = "".join(f"    {name}: !ref <{name}>\n" for name in names)
    hooks = "".join(
        f"    {name}: !name:lafufu_sb.inference.weights.load_weights\n"
        for name in names
    )
    return (
        f"{HEADER}"
        + "\n".join(lines)
        + f"\n\nrepresentation_fingerprint: {representation_mark}\n"
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


def loadables(parts):
    """Names of the parts that have weights, in the order of ``LOADABLES``.

    Arguments
    ---------
    parts : mapping
        Objects of a recipe, or ``vars`` of modules of a restorer.

    Returns
    -------
    list of str
    """
    return [
        name
        for name in LOADABLES
        if parts.get(name) is not None and parts[name].state_dict()
    ]


@contextlib.contextmanager
def new_model_folder(output_folder):
    """Yield a temporary folder, which becomes the model folder if the block succeeds.

    Raises
    ------
    FileExistsError
        If the output folder exists and is no model folder.
    """
    output_folder = Path(output_folder)
    if output_folder.exists() and not is_model_folder(output_folder):
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
        for path in temporary.iterdir():  # other files belong to the user
            os.replace(path, output_folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_model_folder(folder):
    """Whether a folder is a model folder and not a training run."""
    # A run folder has a hyperparams.yaml too: SpeechBrain writes one.
    return (folder / HYPERPARAMS).is_file() and not (folder / RECIPE_NAME).exists()
