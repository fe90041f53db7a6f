"""Write lists of the recordings that the shipped mini models were trained with.

    python recipes/EARS/make_mini_lists.py recordings -o lists

``recordings`` has folders ``speech`` (RAVDESS and voice prompts of GCompris, a folder
per speaker or language), ``noise`` (ESC-10, scenes of Moodist) and ``rir`` (OpenAIR).
The lists are ``speech_train.txt``, ``noise_test.txt``, ``rir_valid.txt`` and so on,
with a path per line. No speaker, noise or room is in two of them. README.md in this
folder has the commands that turn them into corpora.
"""

import argparse
import sys
import zlib
from pathlib import Path

from lafufu_sb.corpora.sources import gather
from lafufu_sb.corpora.tasks import SUBSETS
from lafufu_sb.errors import UsageError

SPEAKERS = {  # RAVDESS's last two men and women, and two languages per subset
    "valid": ("r017", "r018", "it", "ur"),
    "test": ("r015", "r016", "eu", "lt"),
}
ROOMS = {
    "valid": ("TyndallBruceMonument", "StairwayUniversityOfYork"),
    "test": ("MaesHowe", "StAndrewsChurch", "ElvedenHallSmokingRoom"),
}
NOISES = {"test": 0, "valid": 1}  # CRC-32 of the file name modulo 8


def subset_of(kind, path):
    """Choose the subset of a recording.

    Arguments
    ---------
    kind : str
        "speech", "noise" or "rir".
    path : Path
        The recording.

    Returns
    -------
    str
        One of ``SUBSETS``.

    Example
    -------
    >>> subset_of("speech", Path("ravdess/r015/03-01-01-01-01-01-15.flac"))
    'test'
    """
    if kind == "speech":
        belongs = {s: path.parent.name in names for s, names in SPEAKERS.items()}
    elif kind == "rir":
        belongs = {s: path.stem in names for s, names in ROOMS.items()}
    else:
        remainder = zlib.crc32(path.name.encode()) % 8
        belongs = {s: remainder == number for s, number in NOISES.items()}
    return next((subset for subset, yes in belongs.items() if yes), "train")


def write_lists(recordings, output):
    """Write all lists.

    Arguments
    ---------
    recordings, output : Path
        See the module.

    Raises
    ------
    FileNotFoundError
        If a folder is missing.
    UsageError
        If a list would be empty.
    """
    output.mkdir(parents=True, exist_ok=True)
    for kind in ("speech", "noise", "rir"):
        lists = {subset: [] for subset in SUBSETS}
        for path in sorted(gather([recordings / kind])):
            lists[subset_of(kind, path)].append(path.absolute())
        for subset, paths in lists.items():
            if not paths:
                raise UsageError(
                    f"{recordings / kind} has no recordings for {subset}: download "
                    "all of them"
                )
            lines = "".join(f"{path}\n" for path in paths)
            (output / f"{kind}_{subset}.txt").write_text(lines)


def main(arguments=None):
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        write_lists(options.recordings, options.output)
    except (UsageError, OSError) as error:
        sys.exit(f"make_mini_lists.py: error: {error}")


if __name__ == "__main__":
    main()
