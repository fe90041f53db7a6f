"""Refuse results that would overwrite each other or anything else, in planning."""

import os
import tempfile
import unicodedata
from pathlib import Path
from typing import NamedTuple

from lafufu_sb.cleaning.report import CSV_NAME, PAGE_NAME
from lafufu_sb.cleaning.state import FOLDER
from lafufu_sb.errors import UsageError

_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes, on most file systems


class _Claim(NamedTuple):
    """A path that will be written."""

    path: str
    is_folder: bool
    reason: str  # a recording, or what else is written


def refuse_collisions(sources, targets, manifest, output):
    """Check the paths of all results.

    Arguments
    ---------
    sources, targets : sequence of str
        Recordings, and the results of each.
    manifest : Manifest
        Names the recordings.
    output : Path
        Folder of the results, absolute.

    Raises
    ------
    UsageError
        If two results have one name (where the file system of ``output`` ignores case
        or Unicode forms, also in another spelling), if one is named like a folder of
        others, the manifest, a report or the journals, if a name is too long, or if
        results would overwrite recordings. The message names both.
    """
    _refuse_own_input(sources, targets)
    for source, target in zip(sources, targets, strict=True):
        name, own = (len(os.fsencode(os.path.basename(p))) for p in (target, source))
        if own <= _LONGEST_NAME < name or len(os.fsencode(target)) > _LONGEST_PATH:
            raise UsageError(
                f"{source} would become {target}, which is too long for a file name: "
                "rename it, or choose a shorter output folder"
            )
    pair = _conflict(_claims(sources, targets, manifest, output), str)
    if pair is None and _conflict(_claims(sources, targets, manifest, output), _folded):
        fold = _fold_of(output)
        pair = _conflict(_claims(sources, targets, manifest, output), fold)
    if pair:
        first, second = pair
        raise UsageError(
            f"{first.reason} and {second.reason} would both become {second.path}"
            f"{'' if first.path == second.path else f' (and {first.path})'}: rename one"
        )


def _refuse_own_input(sources, targets):
    originals = {os.path.realpath(source): source for source in sources}
    for target in targets:
        if os.path.realpath(target) in originals:
            raise UsageError(
                f"{target} would overwrite a recording of the corpus: choose another "
                "output folder"
            )


def _claims(sources, targets, manifest, output):
    """All paths that will be written, and the folders that they need, once each."""
    for name, what in ((CSV_NAME, "report"), (PAGE_NAME, "report"), (FOLDER, "state")):
        yield _Claim(str(output / name), False, f"the {what} of the cleaning")
    # Parts with embedded audio are written to another folder than the results.
    outputs = {} if manifest.embedded else manifest.outputs()
    for name, path in outputs.items():
        yield _Claim(str(output / name), False, f"the new version of {path}")
    folders, top = set(), str(output)
    for source, target in zip(sources, targets, strict=True):
        yield _Claim(target, False, source)
        folder = os.path.dirname(target)
        while folder not in folders and len(folder) > len(top):
            folders.add(folder)
            yield _Claim(folder, True, f"the folder of {source}")
            folder = os.path.dirname(folder)


def _conflict(claims, fold):
    """The first two claims of one path that are not both folders, or None."""
    taken = {}
    for claim in claims:
        other = taken.setdefault(fold(claim.path), claim)
        if other is not claim and not (other.is_folder and claim.is_folder):
            return other, claim
    return None


def _folded(path, case=True, form=True):
    """A spelling that is the same for all names that a file system may confuse."""
    path = unicodedata.normalize("NFC", path) if form else path
    path = path.casefold() if case else path
    return unicodedata.normalize("NFC", path) if form else path


def _fold_of(folder):
    """``_folded`` with what the file system of a folder confuses, found by trying."""
    while not folder.is_dir():
        folder = folder.parent
    with tempfile.TemporaryDirectory(prefix=".lafufu-", dir=folder) as probe:
        (Path(probe) / "\u00e9").touch()
        case = (Path(probe) / "\u00c9").exists()
        form = (Path(probe) / "e\u0301").exists()
    return lambda path: _folded(path, case, form)
