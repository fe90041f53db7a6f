"""Model folders that come with the package."""

from pathlib import Path

from lafufu_sb.errors import UsageError

NAMES = ("denoise", "denoise_small", "dereverb")
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
        One of ``NAMES``, or an alias ("wham", "reverb"). "denoise" needs the extra
        ``deepfilternet``, "denoise_small" is a model without it.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If there is no such model. The message lists the models.

    Example
    -------
    >>> shipped_model("reverb").name
    'dereverb'
    """
    name = ALIASES.get(name, name)
    if name not in NAMES:
        raise UsageError(
            f"no shipped model {name!r}: choose {', '.join(NAMES)}, or give "
            "the path of a model folder"
        )
    return models_folder() / name


def model_folder(model):
    """The source of a model that a user names.

    Arguments
    ---------
    model : str or Path
        One of ``NAMES``, an alias ("wham", "reverb"), or a model folder or Hub id,
        which is returned unchanged.

    Returns
    -------
    str or Path

    Example
    -------
    >>> model_folder("denoise").name, model_folder("my/model")
    ('denoise', 'my/model')
    """
    return shipped_model(model) if model in NAMES or model in ALIASES else model
