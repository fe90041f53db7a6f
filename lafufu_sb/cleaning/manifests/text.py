"""What text manifests share: reading, columns of audio, characters of file names."""

import json
import re

from lafufu_sb.errors import UsageError

# File names are bytes in any encoding: bytes that are not UTF-8 become surrogates
# (U+DC80 to U+DCFF) when read, and the same bytes again when written.
ODD_NAMES = {"errors": "surrogateescape"}
_OTHER_SURROGATES = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def read_text(path):
    """Text of a file, UTF-8 with or without byte-order mark.

    Raises
    ------
    UsageError
        If it is UTF-16, or compressed or other binary data.
    """
    data = path.read_bytes()
    if b"\0" in data[:4096]:
        raise UsageError(
            f"{path} is not UTF-8 text (it has NUL bytes): convert it to UTF-8"
        )
    return data.decode("utf-8-sig", **ODD_NAMES)


def json_text(value, **options):
    """JSON of a value, which can be written with ``ODD_NAMES``.

    Example
    -------
    >>> print(json_text({"words": "ünï"}), json_text("\\ud800"))
    {"words": "ünï"} "\\ud800"
    """
    text = json.dumps(value, ensure_ascii=False, **options)
    return _OTHER_SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def choose_columns(values, given, path):
    """Names of the columns that hold audio.

    Arguments
    ---------
    values : dict of str to list of (str or None)
        All values of each column; None for a value that is not text.
    given : sequence of str
        The user's choice; empty to detect the columns.
    path : str or Path
        The manifest, for messages.

    Returns
    -------
    list of str
        ``given``; else ["wav"] if there is such a column; else the only column in
        which every value has an audio suffix.

    Raises
    ------
    UsageError
        If a given column does not exist, or if no column or several qualify.

    Example
    -------
    >>> choose_columns({"ID": ["a"], "file": ["a.wav"]}, (), "train.csv")
    ['file']
    """
    from lafufu_sb.audio.suffixes import AUDIO_SUFFIXES

    present = ", ".join(values)
    if given:
        missing = [name for name in given if name not in values]
        if missing:
            raise UsageError(
                f"{path} has no column {missing[0]!r}: choose from {present}"
            )
        return list(given)
    if "wav" in values:
        return ["wav"]
    found = [
        name
        for name, column in values.items()
        if column and all(v and v.lower().endswith(AUDIO_SUFFIXES) for v in column)
    ]
    if len(found) != 1:
        names = "several columns" if found else "no column"
        raise UsageError(
            f"{path} has {names} of audio files ({', '.join(found) or present}): "
            "choose with --column"
        )
    return found
