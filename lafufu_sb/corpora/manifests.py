"""Manifests of EARS-WHAM, EARS-Reverb and other folders of paired recordings."""

import json
import os
import re
from glob import glob
from pathlib import Path

from lafufu_sb.audio.recordings import read_header
from lafufu_sb.corpora.tasks import CLEAN_FOLDERS, DISTORTED_FOLDERS
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole

SUFFIXES = (".wav", ".flac")
NUMBERED = re.compile(r"(\d{5})(_.*)?")  # 00012_5.3dB, 00012_0.84, 00012
HOP_SECONDS = 384 / 48000  # pairs may differ by a frame of the spectrogram


def pair_recordings(subset_folder):
    """Pair distorted with clean recordings by their id.

    The id is the five-digit number that the name begins with (``00012_5.3dB.wav`` and
    ``00012.wav``), otherwise the name without its suffix. Partners are in the same
    sub-folder. The order of files is never used: one missing file would silently shift
    all later ones.

    Arguments
    ---------
    subset_folder : str or Path
        Holds ``noisy`` (or ``reverberant``, ``reverb``) and ``clean`` (or
        ``anechoic``), with .wav or .flac files at any depth.

    Returns
    -------
    list of tuple
        (id, distorted path, clean path), sorted by id; ids include the sub-folder.

    Raises
    ------
    FileNotFoundError
        If a side is missing or empty.
    UsageError
        If recordings lack a partner or share an id; the message lists all of them.
    """
    pairs, problems = _match(Path(subset_folder))
    _refuse(subset_folder, problems)
    return pairs


def _match(subset_folder):
    """Return the pairs, and a list of problems of all other recordings."""
    problems = []
    distorted, clean = (
        recordings_by_id(_side(subset_folder, names), problems)
        for names in (DISTORTED_FOLDERS, CLEAN_FOLDERS)
    )
    for side, other in ((distorted, clean), (clean, distorted)):
        lonely = sorted(set(side) - set(other))
        problems += [
            f"{side[key].relative_to(subset_folder)}: no partner" for key in lonely
        ]
    keys = sorted(set(distorted) & set(clean))
    return [(key, distorted[key], clean[key]) for key in keys], problems


def _side(subset_folder, names):
    for name in names:
        if (subset_folder / name).is_dir():
            return subset_folder / name
    raise FileNotFoundError(
        f"{subset_folder} has none of the folders {', '.join(names)}: generate the "
        "corpus first, or arrange your own pairs as in recipes/EARS/README.md"
    )


def recording_id(name):
    """Return the id that a recording shares with its partner.

    Arguments
    ---------
    name : str
        Path below ``noisy`` or ``clean``.

    Returns
    -------
    str

    Example
    -------
    >>> recording_id("p001/00012_5.3dB.wav"), recording_id("p226_001.flac")
    ('p001/00012', 'p226_001')
    """
    folder, stem = os.path.split(os.path.splitext(name)[0])
    numbered = NUMBERED.fullmatch(stem)
    return os.path.join(folder, numbered[1] if numbered else stem)


def recordings_by_id(folder, problems):
    """List the recordings below a folder by id.

    Arguments
    ---------
    folder : Path
        With .wav or .flac files at any depth.
    problems : list of str
        A line is appended for each id that is not unique.

    Returns
    -------
    dict of str to Path
        By ``recording_id``.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    found = {}
    names = glob("**/*", root_dir=folder, recursive=True)  # follows links, unlike Path
    for name in sorted(names):
        if os.path.splitext(name)[1].lower() not in SUFFIXES:
            continue
        key = recording_id(name)
        if key in found:
            problems.append(
                f"{folder.name}/{name}: its id {key} is also that of {found[key].name}"
            )
        found[key] = folder / name
    if not found:
        raise FileNotFoundError(f"{folder} holds no {' or '.join(SUFFIXES)} file")
    return found


def _refuse(subset_folder, problems):
    if problems:
        listing = "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(
            f"{subset_folder}: {len(problems)} recordings cannot be paired:\n{listing}"
            "\nRemove or repair them; the two files of a pair have the same five-digit "
            "id, or the same name"
        )


def _seconds(path, problems, subset_folder):
    """Length of a recording, or None if it cannot be read."""
    try:
        seconds = read_header(path).seconds
        if seconds:
            return seconds
        reason = "is empty"
    except (UsageError, OSError):
        reason = "is not audio that can be read"
    problems.append(f"{path.relative_to(subset_folder)}: {reason}")
    return None


def write_manifest(subset_folder, manifest):
    """Write a SpeechBrain JSON manifest of one subset.

    Arguments
    ---------
    subset_folder : str or Path
        See ``pair_recordings``.
    manifest : str or Path
        Output file: ``{id: {"noisy_wav", "clean_wav", "length"}}``, length in seconds.

    Returns
    -------
    int
        Number of pairs.

    Raises
    ------
    FileNotFoundError
        If a side is missing or empty.
    UsageError
        If recordings lack a partner, share an id, cannot be read, or differ from their
        partner by more than a hop of 8 ms; the message lists all of them.
    """
    subset_folder = Path(subset_folder)
    pairs, problems = _match(subset_folder)
    entries = {}
    for key, distorted, clean in pairs:
        lengths = [_seconds(p, problems, subset_folder) for p in (distorted, clean)]
        if None in lengths:
            continue
        if abs(lengths[0] - lengths[1]) > HOP_SECONDS:
            problems.append(
                f"{distorted.relative_to(subset_folder)}: {lengths[0]:.3f} s, its "
                f"partner {lengths[1]:.3f} s"
            )
        entries[key] = manifest_entry(distorted, clean, min(lengths))
    _refuse(subset_folder, problems)
    return save_manifest(entries, manifest)


def manifest_entry(distorted, clean, seconds):
    """Entry of a pair in a manifest, from two ``Path`` and the shorter length."""
    return {
        "noisy_wav": str(distorted.resolve()),
        "clean_wav": str(clean.resolve()),
        "length": seconds,
    }


def save_manifest(entries, manifest):
    """Write ``{id: manifest_entry}`` as a whole; returns the number of pairs."""
    with written_whole(manifest) as temporary:
        temporary.write_text(json.dumps(entries, indent=1))
    return len(entries)


def copy_manifest(source, manifest):
    """Copy a manifest of pairs, such as ``lafufu pairs`` writes, with absolute paths.

    Arguments
    ---------
    source : str or Path
        As ``write_manifest`` writes it; relative paths begin at its folder.
    manifest : str or Path
        Output file.

    Returns
    -------
    int
        Number of pairs.

    Raises
    ------
    UsageError
        If it is no such manifest, lists nothing, or names files that do not exist; the
        message lists all of them.
    """
    source, entries, problems = Path(source), {}, []
    try:
        for key, entry in json.loads(source.read_text()).items():
            paths = [source.parent / entry[n] for n in ("noisy_wav", "clean_wav")]
            problems += [f"{p} is missing" for p in paths if not p.is_file()]
            entries[key] = manifest_entry(*paths, float(entry["length"]))
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UsageError(
            f"{source} is no manifest of pairs ({error}): `lafufu pairs` writes them"
        ) from error
    if not entries:
        raise UsageError(f"{source} lists no pairs")
    if problems:
        listing = "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(f"{source}: run `lafufu pairs` again:\n{listing}")
    return save_manifest(entries, manifest)
