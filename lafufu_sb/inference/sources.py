"""Sources of models: folders and Hub ids, checked before anything is built."""

import contextlib
import logging
import os
from pathlib import Path

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.pretrained import FetchFrom, FetchSource
from lafufu_sb.inference.yaml_nodes import NoModelError

logger = logging.getLogger(__name__)

_LONGEST_REASON = 1000  # characters; values of a YAML may be in it
FETCH_OPTIONS = ("savedir", "local_strategy", "fetch_config")  # of SpeechBrain


def check_source(source, hparams_file, savedir=None):
    """Refuse sources that are no model.

    Arguments
    ---------
    source : str, Path or FetchSource
        Folder, id of the Hub, or URL.
    hparams_file : str
        Name of its YAML.
    savedir : str or Path, optional
        Where the files will be linked or copied.

    Returns
    -------
    str or FetchSource
        The source in the form that SpeechBrain takes.

    Raises
    ------
    FileNotFoundError
        If ``source`` looks like a path and is no model folder. The Hub is not asked.
    """
    folder = None  # or an id of the Hub, which may look like one
    if not isinstance(source, FetchSource):
        folder, source = source, str(source)
    elif source.FetchFrom == FetchFrom.LOCAL:
        folder = Path(source.path)
    if folder is not None:
        _refuse_missing_folder(folder, hparams_file)
        _warn_of_another_model(folder, hparams_file, savedir)
    return source


def local_folder(source):
    """The folder of a source, or None for the Hub and URLs."""
    if isinstance(source, FetchSource):
        return Path(source.path) if source.FetchFrom == FetchFrom.LOCAL else None
    return Path(source) if Path(source).is_dir() else None


def checked_file(path, folder=None):
    """A file of a model that exists and stays in its folder.

    Arguments
    ---------
    path : str or Path
        The file.
    folder : Path, optional
        Links in this folder must not lead out of it.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If there is no such regular file.
    UsageError
        If it is a link out of the folder: what a stranger links to is not theirs.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the model folder is not complete")
    if folder is None or path.parent.absolute() != folder.absolute():
        return path
    home, real = folder.resolve(), path.resolve()
    if home.parent.name == "snapshots":  # of the Hub's cache, with links to ../../blobs
        home = home.parents[1]
    if not real.is_relative_to(home):
        raise UsageError(
            f"{path} is a link to {real}, out of its folder: put the file itself "
            "there, or load the model with trust=True (--trust)"
        )
    return path


@contextlib.contextmanager
def explained(source, hparams_file):
    """Turn errors of building a model from its YAML into a UsageError that names it.

    HyperPyYAML and the classes that it builds raise whatever a wrong value leads to.
    The cause is kept for ``--traceback``.
    """
    try:
        yield
    except (UsageError, OSError):
        raise
    except Exception as error:
        place = getattr(source, "path", source)
        known = isinstance(error, NoModelError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{hparams_file} of {place} does not describe a model of this version "
            f"({reason[:_LONGEST_REASON]}): export it again, or correct the YAML"
        ) from error


def _warn_of_another_model(folder, hparams_file, savedir):
    """Warn of a savedir with another model: SpeechBrain would load that one."""
    if savedir is None or not Path(folder).is_dir():
        return
    held, asked = (Path(place) / hparams_file for place in (savedir, folder))
    if held.is_symlink() and held.resolve() != asked.resolve():
        logger.warning(
            "%s holds the model of %s, which is loaded in place of %s: "
            "give each model its own savedir",
            savedir,
            held.resolve().parent,
            folder,
        )


def _refuse_missing_folder(source, hparams_file):
    text = str(source)
    if text.startswith(("http://", "https://")):
        return
    if (Path(source) / "recipe.yaml").exists():
        raise FileNotFoundError(
            f"{text} is a training run, not a model folder: `lafufu export` it first"
        )
    if Path(source).is_dir():
        if not (Path(source) / hparams_file).is_file():
            raise FileNotFoundError(
                f"{text} is no model folder: it has no {hparams_file}. `lafufu export` "
                "writes one from a training run"
            )
        return
    pathlike = (
        isinstance(source, os.PathLike)
        or text.startswith((".", "~", os.sep))
        or text.count("/") != 1  # ids of the Hub are user/name
        or Path(text).parent.is_dir()
    )
    if pathlike:
        raise FileNotFoundError(
            f"model folder {text} does not exist: give the path of a folder with "
            "hyperparams.yaml, or a Hub id such as user/name"
        )
