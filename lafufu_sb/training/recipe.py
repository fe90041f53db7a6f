"""Recipe files: a base YAML, variants that hold differences only, run folders."""

import io
import os
from pathlib import Path

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lafufu_sb.errors import UsageError


def read_recipe(path):
    """Read a recipe, a variant merged over its ``base``.

    Arguments
    ---------
    path : str or Path
        A HyperPyYAML file. With a top-level key ``base`` (a file beside it) the other
        keys replace or extend those of the base; nested mappings are merged unless
        they carry a tag such as ``!new:``, which replaces the object.

    Returns
    -------
    ruamel.yaml.comments.CommentedMap
        Not yet resolved: ``!ref`` still refer, so that overrides reach them.

    Raises
    ------
    FileNotFoundError
        If the file or its base does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"recipe {path} does not exist")
    recipe = _parse(path.read_text(), path)
    if not isinstance(recipe, dict):
        raise UsageError(
            f"{path} holds no settings: is it a link that was checked out as text? Use "
            "the file in recipes/"
        )
    if "base" not in recipe:
        return recipe
    merged = read_recipe(Path(os.path.realpath(path)).parent / recipe.pop("base"))
    _add(merged, recipe)
    return merged


def _add(recipe, layer):
    """Merge a variant or options over a recipe.

    Where they set ``init_from``, the values of ``fine_tuning`` are put in place first,
    so that all other values of the layer win.
    """
    fine_tuning = layer.get("fine_tuning") or {}
    _merge_into(recipe, {"fine_tuning": fine_tuning} if fine_tuning else {})
    if layer.get("init_from") is not None and recipe.get("init_from") is None:
        parts = layer.get("init_parts", recipe.get("init_parts"))
        for part, values in (recipe.get("fine_tuning") or {}).items():
            if parts is None or part in parts:
                _merge_into(recipe, values)
    _merge_into(recipe, layer)


def _merge_into(old, new):
    for key, value in new.items():
        old[key] = _merged(old.get(key), value)
        old.ca.items.pop(key, None)  # the base's comment speaks of the base's value


def _merged(old, new):
    plain = isinstance(old, dict) and isinstance(new, dict)
    if not plain or getattr(new, "tag", None) and new.tag.value:
        return new
    _merge_into(old, new)
    return old


def flatten_recipe(path):
    """Write out a recipe with its base, as SpeechBrain's own loader reads it.

    Arguments
    ---------
    path : str or Path
        See ``read_recipe``.

    Returns
    -------
    str
        HyperPyYAML without ``base``.
    """
    return _dump(read_recipe(path))


def load_recipe(path, overrides="", debug=False):
    """Build a recipe's objects.

    Arguments
    ---------
    path : str or Path
        See ``read_recipe``.
    overrides : str or dict
        YAML text, as ``speechbrain.parse_arguments`` returns it, or values.
    debug : bool
        Put everything into a sub-folder ``debug`` of the output folder: two batches
        must never be taken for a finished run.

    Returns
    -------
    hparams : dict
        The objects.
    text : str
        The recipe as it was used, to keep in the run folder.

    Raises
    ------
    UsageError
        For an override of a key that the recipe does not have.
    """
    recipe = read_recipe(path)
    changes = _parse(overrides, "options") if isinstance(overrides, str) else overrides
    changes = changes or {}
    unknown = sorted(set(changes) - set(recipe))
    if unknown:
        raise UsageError(f"{path} has no key {', '.join(unknown)}")
    _add(recipe, changes)
    if debug:
        folder = recipe["output_folder"]
        if hasattr(folder, "tag"):  # "!ref <...>/...", which more text may follow
            folder.value += "/debug"
        else:
            recipe["output_folder"] = f"{folder}/debug"
    text = _dump(recipe)
    try:
        return load_hyperpyyaml(text), text
    except (ImportError, ValueError, TypeError) as error:
        # No such class or key, or arguments that a class does not take.
        if isinstance(error, UsageError):
            raise type(error)(f"{path}: {error}") from error
        reason = ": ".join(str(part) for part in error.args)
        raise UsageError(f"{path}: {reason}") from error


def _parse(text, source):
    try:
        return YAML().load(text)
    except YAMLError as error:
        raise UsageError(f"{source}: not valid YAML ({error})") from error


def _dump(tree):
    stream = io.StringIO()
    YAML().dump(tree, stream)
    return stream.getvalue()


if __name__ == "__main__":
    import sys

    sys.stdout.write(flatten_recipe(sys.argv[1]))
