"""Manifests of EARS-WHAM, EARS-Reverb and anything laid out like them."""

import json
from pathlib import Path

import soundfile

from ..files import written_whole

SUBSETS = ("train", "valid", "test")
# What the benchmark's generators and the SGMSE+ loaders call the distorted side.
DISTORTED_FOLDERS = ("noisy", "reverberant", "reverb")
CLEAN_FOLDERS = ("clean", "anechoic")


def pair_recordings(subset_folder):
    """Pair distorted with clean recordings by their id.

    The id is the file's name up to the first underscore (``00012_5.3dB.wav`` and
    ``00012.wav``), within the same sub-folder. Never by position: one missing file
    would silently shift all that follow.

    Arguments
    ---------
    subset_folder : str or Path
        Holds ``noisy`` (or ``reverberant``, ``reverb``) and ``clean``.

    Returns
    -------
    list of tuple
        (id, distorted path, clean path), sorted by id; the id carries the sub-folder.

    Raises
    ------
    FileNotFoundError
        If a side is missing or empty.
    ValueError
        If recordings lack a partner or an id is not unique; names all of them.
    """
    sides = [
        _index(_side(Path(subset_folder), names))
        for names in (DISTORTED_FOLDERS, CLEAN_FOLDERS)
    ]
    lonely = sorted(set(sides[0]) ^ set(sides[1]))
    if lonely:
        raise ValueError(
            f"{subset_folder}: no partner for {len(lonely)} recordings, pairs need the "
            f"same id on both sides: {', '.join(lonely)}"
        )
    return [(key, sides[0][key], sides[1][key]) for key in sorted(sides[0])]


def _side(subset_folder, names):
    for name in names:
        if (subset_folder / name).is_dir():
            return subset_folder / name
    raise FileNotFoundError(
        f"{subset_folder} has none of the folders {', '.join(names)}: generate the "
        "corpus first, with its clean files (see recipes/EARS/README.md)"
    )


def _index(folder):
    found = {}
    for path in sorted(folder.rglob("*.wav")):
        relative = path.relative_to(folder)
        key = str(relative.parent / path.stem.split("_")[0])
        if key in found:
            raise ValueError(f"{folder}: {found[key].name} and {path.name} share an id")
        found[key] = path
    if not found:
        raise FileNotFoundError(f"{folder} holds no .wav file")
    return found


def write_manifest(subset_folder, manifest):
    """Write a SpeechBrain JSON manifest of one subset.

    Arguments
    ---------
    subset_folder : str or Path
        See ``pair_recordings``.
    manifest : str or Path
        To write: ``{id: {"noisy_wav", "clean_wav", "length"}}``, length in seconds.

    Returns
    -------
    int
        Number of pairs.
    """
    entries = {}
    for key, distorted, clean in pair_recordings(subset_folder):
        try:
            info = soundfile.info(str(distorted))
        except soundfile.LibsndfileError as error:
            raise ValueError(f"{distorted} is not audio that can be read") from error
        entries[key] = {
            "noisy_wav": str(distorted.resolve()),
            "clean_wav": str(clean.resolve()),
            "length": info.frames / info.samplerate,
        }
    with written_whole(manifest) as temporary:
        temporary.write_text(json.dumps(entries, indent=1))
    return len(entries)
