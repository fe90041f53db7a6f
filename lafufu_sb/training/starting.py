"""Starting a run with the weights of a model folder: ``init_from``."""

from pathlib import Path

from ruamel.yaml import YAML

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.description import CLASS, describe, differences
from lafufu_sb.inference.folder import (
    HYPERPARAMS,
    LOADABLES,
    inference_recipe,
    weights_name,
)
from lafufu_sb.inference.opening import ModelFiles
from lafufu_sb.inference.shipped import model_folder
from lafufu_sb.inference.sources import check_source, explained
from lafufu_sb.inference.weights import check_fingerprint, load_weights
from lafufu_sb.lobes.fingerprint import fingerprint
from lafufu_sb.training.stages import REPRESENTATION, given_parts, has_begun

METHOD = ("condition", "mean", "skips")  # must agree where all of a model is taken
_SHOWN = 6  # differences in a message


def starts_from_model(hparams, folder):
    """Whether weights of ``init_from`` are still needed.

    They are not once the stages that begin with them have left their result or a
    checkpoint in the run folder, nor for the test stage.
    """
    begun = {
        name: has_begun("score", hparams) or has_begun("few_step", hparams)
        if name == "score_model"
        else (folder / weights_name(name)).exists()
        for name in given_parts(hparams)
    }
    return hparams["stage"] != "test" and not all(begun.values())


def start_from_model(hparams, text, folder):
    """Fill the parts of the recipe that ``init_from`` gives. Nothing is written.

    No code of the model folder runs: its YAML is compared as text, and its weights are
    loaded into the recipe's own networks.

    Arguments
    ---------
    hparams : dict
        Objects of the recipe.
    text : str
        The recipe as it is used, see ``load_recipe``.
    folder : Path
        The run folder.

    Raises
    ------
    FileNotFoundError, UsageError
        If there is no such model, its parts are not those of the recipe (the message
        lists what differs), or the run already has another representation.
    """
    if not starts_from_model(hparams, folder):
        return
    name, parts = hparams["init_from"], given_parts(hparams)
    source = check_source(model_folder(name), HYPERPARAMS)
    files = ModelFiles(source)
    path = files.file(HYPERPARAMS)
    with explained(source, HYPERPARAMS):
        theirs, mark = describe(Path(path).read_bytes(), str(path))
    ours, _ = describe(inference_recipe(YAML().load(text), ""), "recipe")
    _refuse_differences(theirs, ours, hparams, parts)
    for part in parts:
        load_weights(hparams[part], files.weights(part))
    if "representation" in parts:
        check_fingerprint(hparams["representation"], mark)
        _refuse_another_representation(hparams, folder)


def _refuse_differences(theirs, ours, hparams, parts):
    """UsageError if networks, process or objective are not those of the recipe."""
    compared = {"sample_rate", *parts}
    if "score_model" in parts:
        compared |= {"process", "objective"}
        # The rest of an objective says how it trains.
        theirs, ours = (
            one | {"objective": one["objective"].get(CLASS)} for one in (theirs, ours)
        )
    whole = hparams["init_parts"] is None
    if whole:  # a pre-enhancer need not have weights
        compared |= {*METHOD, *LOADABLES}
    found = [
        f"{name} is {a} in the model and {b} in this recipe"
        for name, a, b in differences(theirs, ours)
        if name.partition(".")[0] in compared
    ]
    if not found:
        return
    listed = "; ".join(found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    hint = ", or take only parts that agree with --init_parts" if whole else ""
    raise UsageError(
        f"init_from {hparams['init_from']} does not fit this recipe: {listed}{more}. "
        f"Use the recipe of that model, change these values{hint}"
    )


def _refuse_another_representation(hparams, folder):
    """UsageError if the run already has another one, which is loaded otherwise."""
    own = folder / REPRESENTATION
    if not own.exists():
        return
    given = fingerprint(hparams["representation"])
    load_weights(hparams["representation"], own)
    if fingerprint(hparams["representation"]) != given:
        raise UsageError(
            f"{own} is not the representation of init_from {hparams['init_from']}: "
            "choose another output_folder"
        )
