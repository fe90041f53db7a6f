"""From a source to the objects that its YAML describes, with their weights."""

import os

from hyperpyyaml import load_hyperpyyaml

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.folder import LOADABLES, WEIGHT_SUFFIXES, loadables
from lafufu_sb.inference.pretrained import RunOptions, fetch
from lafufu_sb.inference.sources import (
    FETCH_OPTIONS,
    checked_file,
    explained,
    local_folder,
)
from lafufu_sb.inference.trust import UntrustedModel
from lafufu_sb.inference.weights import check_weights, load_weights
from lafufu_sb.inference.yaml_nodes import MAX_BYTES

OPEN_OPTIONS = ("overrides", "overrides_must_match", "download_only", *FETCH_OPTIONS)
# Keys that SpeechBrain takes from a YAML, and that are for the caller to choose.
RESERVED = (*RunOptions().as_dict(), "audio_normalizer", "savedir")


def open_model(
    source,
    hparams_file,
    *,
    trust,
    overrides=None,
    overrides_must_match=True,
    download_only=False,
    **fetched_with,
):
    """Build what a YAML describes and load exactly the weights of its parts.

    Arguments
    ---------
    source, hparams_file : str or FetchSource, str
        As ``check_source`` returns it, and the name of its YAML.
    trust : bool
        Whether the YAML may build any object, see ``UntrustedModel``.
    overrides, overrides_must_match
        See ``UntrustedModel``.
    download_only : bool
        Whether the files are only fetched.
    **fetched_with
        Of ``fetch``.

    Returns
    -------
    dict or None
        Objects by key; None with ``download_only``.

    Raises
    ------
    FileNotFoundError, UsageError
        See ``UntrustedModel``, ``load_weights`` and ``explained``.
    """
    fetcher = ModelFiles(source, trust, fetched_with)
    path = fetcher.file(hparams_file)
    describe = _Trusted if trust else _untrusted
    with explained(source, hparams_file):
        model = describe(path, overrides, overrides_must_match)
        parts = model.parts()
    files = {name: fetcher.weights(name) for name in parts}
    if download_only:
        return None
    for name, part in parts.items():  # before any memory is taken
        check_weights(part, files[name])
    with explained(source, hparams_file):
        hparams = model.build()
    for name, part in _parts(hparams).items():
        load_weights(part, files[name])
    return hparams | {"savedir": fetched_with.get("savedir")}


class _Trusted:
    """What HyperPyYAML makes of a file, with the methods of ``UntrustedModel``."""

    def __init__(self, path, overrides, overrides_must_match):
        with open(path, encoding="utf-8") as file:
            self._built = load_hyperpyyaml(file, overrides, overrides_must_match)

    def parts(self):
        return _parts(self._built)

    def build(self):
        return self._built


def _untrusted(path, *overrides):
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    return UntrustedModel(content, str(path), RESERVED, *overrides)


def _parts(hparams):
    restorer = hparams["modules"]["restorer"]
    parts = {name: getattr(restorer, name) for name in LOADABLES}
    return {name: parts[name] for name in loadables(parts)}


class ModelFiles:
    """Finds the files of a model, links and downloads them as the caller asks.

    Arguments
    ---------
    source : str or FetchSource
        As ``check_source`` returns it.
    trust : bool
        Whether links may lead out of the model's folder.
    options : dict
        Of ``fetch``.

    Raises
    ------
    FileNotFoundError, UsageError
        If a file is missing or a link leads out of the folder, see ``checked_file``.
    """

    def __init__(self, source, trust=False, options=()):
        self.source, self.options = source, dict(options)
        self.folder = local_folder(source)
        self.confined = not trust

    def file(self, name):
        """Path of a file that the model must have."""
        path = fetch(name, self.source, **self.options)
        return checked_file(path, self.folder if self.confined else None)

    def weights(self, part):
        """Path of the weights of a part, in the present or the earlier format."""
        names = [f"{part}{suffix}" for suffix in WEIGHT_SUFFIXES]
        places = [self.folder, self.options.get("savedir")]
        if self.folder is not None:
            held = [
                name
                for name in names
                if any(p and os.path.lexists(os.path.join(p, name)) for p in places)
            ]
            return self.file(held[0] if held else names[0])
        try:
            return self.file(names[0])
        except (OSError, ValueError) as error:
            if isinstance(error, UsageError):
                raise
            return self.file(names[1])
