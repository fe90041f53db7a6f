"""Sources of models: folders and Hub ids, checked before anything is built."""

import contextlib
import logging
import os
from pathlib import Path

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.pretrained import FetchFrom, FetchSource, fetch
from lafufu_sb.inference.trust import refuse_untrusted

logger = logging.getLogger(__name__)

FETCH_OPTIONS = ("savedir", "local_strategy", "fetch_config")  # of SpeechBrain


def check_source(source, hparams_file, trust, **fetch_options):
    """Refuse sources that are no model, or whose YAML asks for more than a model.

    Arguments
    ---------
    source : str, Path or FetchSource
        Folder, id of the Hub, or URL.
    hparams_file : str
        Name of its YAML.
    trust : bool
        Whether the YAML may build any object.
    **fetch_options
        ``savedir``, ``local_strategy`` and ``fetch_config`` of the coming fetch.

    Returns
    -------
    str or FetchSource
        The source in the form that SpeechBrain takes.

    Raises
    ------
    FileNotFoundError
        If ``source`` looks like a path and is no model folder. The Hub is not asked.
    UsageError
        For a YAML that may do more than build a model, see ``refuse_untrusted``.
    """
    folder = None  # or an id of the Hub, which may look like one
    if not isinstance(source, FetchSource):
        folder, source = source, str(source)
    elif source.FetchFrom == FetchFrom.LOCAL:
        folder = Path(source.path)
    if folder is not None:
        _refuse_missing_folder(folder, hparams_file)
        _warn_of_another_model(folder, hparams_file, fetch_options.get("savedir"))
    if not trust:
        # The file that will be loaded: an older one in `savedir` comes first.
        path = fetch(hparams_file, source, **fetch_options)
        refuse_untrusted(Path(path).read_text(encoding="utf-8"), str(path))
    return source


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
        raise UsageError(
            f"{hparams_file} of {place} does not describe a model of this version "
            f"({type(error).__name__}: {error}): export it again, or correct the YAML"
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
