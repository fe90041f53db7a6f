"""What text manifests share: reading, writing, JSON, and columns of audio."""

import contextlib
import gzip
import io
import json
import math
import re
import zlib

from lafufu_sb.errors import UsageError

# File names are bytes in any encoding: bytes that are not UTF-8 become surrogates
# (U+DC80 to U+DCFF) when read, and the same bytes again when written.
_ODD_NAMES = {"errors": "surrogateescape"}
_SURROGATES = re.compile("[\ud800-\udfff]")
_DEEPEST = 100  # levels of JSON; deeper items can be read but not written again
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")  # UTF-16 and UTF-32


def read_text(path):
    """Text of a file, UTF-8 with or without byte-order mark, gzipped if named .gz.

    Raises
    ------
    UsageError
        If it is UTF-16, has NUL bytes, or is damaged or unexpected gzip data.
    """
    data = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise UsageError(
                f"{path} is damaged or incomplete gzip data ({error}): copy it again"
            ) from error
    elif data.startswith(b"\x1f\x8b"):
        raise UsageError(f"{path} is gzip data: end its name in .gz, or decompress it")
    if b"\0" in data or data.startswith(_WIDE_MARKS):
        line = data.count(b"\n", 0, max(0, data.find(b"\0"))) + 1
        raise UsageError(
            f"{path}, line {line}: it is not UTF-8 text (NUL bytes or a UTF-16 mark): "
            "convert the file to UTF-8"
        )
    return data.decode("utf-8-sig", **_ODD_NAMES)


@contextlib.contextmanager
def text_writer(path, packed=False):
    """Context of a text file to write.

    Arguments
    ---------
    path : Path
        The file.
    packed : bool
        Whether to compress with gzip. Without a time stamp, so that equal content gives
        equal files.

    Yields
    ------
    io.TextIOBase
        Takes text as ``read_text`` returns it, and writes line ends as they are.
    """
    with contextlib.ExitStack() as stack:
        binary = stack.enter_context(open(path, "wb"))
        if packed:
            binary = gzip.GzipFile("", "wb", fileobj=binary, mtime=0)
        text = io.TextIOWrapper(binary, encoding="utf-8", newline="", **_ODD_NAMES)
        yield stack.enter_context(text)


def parse_json(text):
    """Value of JSON that can be written again without loss.

    Raises
    ------
    ValueError
        If it is not JSON, is nested too deeply, or has an object with equal keys, of
        which Python would drop all but the last.

    Example
    -------
    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: the key 'a' is there twice in one object
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return value
    raise ValueError("it is nested too deeply")


def _children(value):
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _unique(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice!r} is there twice in one object")
    return found


def json_text(value, **options):
    """JSON of a value; lone surrogates are escaped, so it is UTF-8.

    Example
    -------
    >>> print(json_text({"words": "ünï"}), json_text("\\ud800"))
    {"words": "ünï"} "\\ud800"
    """
    text = json.dumps(value, ensure_ascii=False, **options)
    return _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def json_type(value):
    """What JSON calls a value, with its article."""
    names = {dict: "an object", list: "an array", str: "a string", type(None): "null"}
    names |= {bool: "a boolean", int: "a number", float: "a number"}
    return names[type(value)]


def stated_seconds(value):
    """Length in seconds that a field states; None if it is no number.

    Arguments
    ---------
    value : object
        A number or its text.

    Raises
    ------
    ValueError
        If it is a number that no length can be.

    Example
    -------
    >>> stated_seconds("1.5"), stated_seconds("1:30")
    (1.5, None)
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    except OverflowError:  # an integer
        seconds = math.inf
    if not 0.0 <= seconds < math.inf:
        raise ValueError(f"the duration {value} is no length in seconds: correct it")
    return seconds


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
        return list(dict.fromkeys(given))
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
