"""Contents of a model folder, and how to write one."""

import contextlib
import io
import os
import re
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from lafufu_sb.files import checked_path, temporary_folder

RECIPE_NAME = "recipe.yaml"  # marks a run folder: all values as they were used
HYPERPARAMS = "hyperparams.yaml"
CARD = "README.md"
LOADABLES = (
    "representation",
    "pre_enhancer",
    "score_model",
)  # parts, as keys of the YAML
WEIGHT_SUFFIXES = (".safetensors", ".ckpt")  # written now, and by earlier versions
HEADER = """\
# Model folder of lafufu_sb: EnhanceLatent.from_hparams(source="this folder").
# The values are those of the training run; the weights fit no others.

"""


def inference_recipe(recipe, representation_mark):
    """Cut a training recipe down to what restoration needs.

    Keeps ``restorer`` and, in their order, all keys that it refers to, directly or
    not, so that a number of the training run reaches the model folder unchanged.

    Arguments
    ---------
    recipe : ruamel.yaml.comments.CommentedMap
        As ``read_recipe`` returns it.
    representation_mark : str
        ``fingerprint`` of the representation in whose latent the score model works.

    Returns
    -------
    str
        YAML text with ``modules``; free of ``!apply``.
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
    return (
        f"{HEADER}"
        + "\n".join(lines)
        + f"\n\nrepresentation_fingerprint: '{representation_mark}'\n"
        + "modules:\n  restorer: !ref <restorer>\n"
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


def weights_name(part):
    """File name of the weights of a part."""
    return part + WEIGHT_SUFFIXES[0]


def weights_file(folder, part):
    """Path of the weights of a part, of earlier versions too if there are no others."""
    paths = [Path(folder) / f"{part}{suffix}" for suffix in WEIGHT_SUFFIXES]
    return next((path for path in paths if path.exists()), paths[0])


@contextlib.contextmanager
def new_model_folder(output_folder):
    """Yield a temporary folder, which becomes the model folder if the block succeeds.

    In an existing model folder the files are replaced. Its other files stay, but for
    weights in the format of earlier versions, which the new ones take the place of.

    Raises
    ------
    FileExistsError
        If the output folder exists and is no model folder.
    """
    output_folder = checked_path(output_folder)
    if os.path.lexists(output_folder) and not is_model_folder(output_folder):
        raise FileExistsError(
            f"{output_folder} exists and is not a model folder: choose another output "
            "folder"
        )
    with temporary_folder(output_folder) as temporary:
        yield temporary
        if not output_folder.exists():
            os.replace(temporary, output_folder)
            return
        names = [path.name for path in temporary.iterdir()]
        for name in names:  # other files belong to the user
            os.replace(temporary / name, output_folder / name)
        for part in LOADABLES:
            if weights_name(part) in names:
                (output_folder / f"{part}.ckpt").unlink(missing_ok=True)


def is_model_folder(folder):
    """Whether a folder is a model folder and not a training run."""
    # A run folder has a hyperparams.yaml too: SpeechBrain writes one.
    return (folder / HYPERPARAMS).is_file() and not (folder / RECIPE_NAME).exists()
