"""Manifests: lists of recordings in the formats that speech toolkits read.

Each format is one module of this package with one subclass of ``Manifest`` under the
decorator ``register``. All modules are imported here, so a new format needs a new
module and nothing else. Modules import their toolkit only when a manifest is opened.
"""

import importlib
import pkgutil
from pathlib import Path

from lafufu_sb.cleaning.manifests.base import FORMATS, Cleaned, Manifest, register
from lafufu_sb.errors import UsageError

__all__ = ["KINDS", "Cleaned", "Manifest", "open_manifest", "register"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

KINDS = tuple(FORMATS)  # values of --kind


def open_manifest(path, kind=None, columns=(), placeholders=None):
    """Open a folder or a manifest.

    Arguments
    ---------
    path : str or Path
        A folder or a file.
    kind : str, optional
        One of ``KINDS``. By default content and name decide, see
        ``Manifest.recognises`` and ``Manifest.endings``.
    columns : sequence of str
        See ``Manifest``.
    placeholders : dict of str to str, optional
        See ``Manifest``.

    Returns
    -------
    Manifest

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    UsageError
        If it cannot be read in its format. The message names the line or the entry.

    Example
    -------
    >>> from lafufu_sb.corpora.mini_corpus import __path__ as folder
    >>> list(open_manifest(f"{folder[0]}/EARS-WHAM/test/noisy").sources)[0]
    'S06001/00000_...dB.wav'
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not (path.is_file() or path.is_dir()):
        raise UsageError(
            f"{path} is neither a file nor a folder: save the manifest to a file that "
            "a resumed run can read again"
        )
    kind = kind or _kind_of(path)
    if kind not in FORMATS:
        raise UsageError(f"unknown kind {kind!r}: choose {', '.join(FORMATS)}")
    found = "folder" if path.is_dir() else "file"
    if found not in FORMATS[kind].takes:
        raise UsageError(f"{path} is a {found}, which does not go with kind {kind!r}")
    return FORMATS[kind](path, columns, placeholders)


def _kind_of(path):
    for kind, manifest in FORMATS.items():
        if manifest.recognises(path):
            return kind
    if path.is_dir():
        return "folder"
    name = path.name.lower()
    for kind, manifest in FORMATS.items():
        if name.endswith(manifest.endings):
            return kind
    from lafufu_sb.audio.suffixes import AUDIO_SUFFIXES

    if path.suffix.lower() in AUDIO_SUFFIXES:
        raise UsageError(f"{path} is a single recording: use `lafufu enhance` instead")
    known = ", ".join(e for manifest in FORMATS.values() for e in manifest.endings)
    raise UsageError(
        f"{path}: the format of this manifest is unknown, its name ends in none of "
        f"{known}: name the format with --kind ({', '.join(FORMATS)})"
    )
