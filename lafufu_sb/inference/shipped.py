"""Model folders that come with the package."""

from pathlib import Path

from lafufu_sb.errors import UsageError

TASKS = {"denoise": "lafufu_mini_wham", "dereverb": "lafufu_mini_reverb"}
ALIASES = {"wham": "denoise", "reverb": "dereverb"}


def models_folder():
    """``pretrained_interfaces``, in the package or beside it in a checkout."""
    here = Path(__file__).parents[1]
    installed = here / "pretrained_interfaces"
    return installed if installed.is_dir() else here.parent / "pretrained_interfaces"


def shipped_model(name):
    """Folder of a shipped model.

    Arguments
    ---------
    name : str
        A folder name, or a task: "denoise" or "dereverb".

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If there is no such model. The message lists the models.

    Example
    -------
    >>> shipped_model("dereverb").name
    'lafufu_mini_reverb'
    """
    folder = models_folder() / TASKS.get(ALIASES.get(name, name), name)
    if not (folder / "hyperparams.yaml").is_file():
        known = sorted(p.parent.name for p in models_folder().glob("*/hyper*.yaml"))
        choices = ", ".join([*TASKS, *known])
        raise UsageError(
            f"no shipped model {name!r}: choose {choices}, or give "
            "the path of a model folder"
        )
    return folder


def model_folder(model):
    """The source of a model that a user names.

    Arguments
    ---------
    model : str or Path
        A task ("denoise", "dereverb", or the aliases "wham", "reverb"), or a model
        folder or Hub id, which is returned unchanged.

    Returns
    -------
    str or Path

    Example
    -------
    >>> model_folder("denoise").name, model_folder("my/model")
    ('lafufu_mini_wham', 'my/model')
    """
    return shipped_model(model) if model in TASKS or model in ALIASES else model
