"""Lists of recordings in the forms that toolkits read: which files, and written anew.

A manifest knows the recordings it names and writes itself with other paths in their
places and everything else as it was. Paths are written absolute and with placeholders
filled in, so that nobody reads the old corpus by an old setting.
"""

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from lafufu_sb.audio.files import AUDIO_SUFFIXES, find_recordings
from lafufu_sb.cleaning import KINDS
from lafufu_sb.errors import UsageError

# Fields that recipes give these names count samples, at the rate of the recording.
SAMPLE_COUNTS = frozenset(
    ["start", "stop", "length", "num_samples", "n_samples", "num_frames"]
    + ["sample_rate", "samplerate", "sr"]
)


class Cleaned(NamedTuple):
    """What a manifest says about a recording from now on."""

    path: str
    sample_rate: int  # Hz
    samples: int


def open_manifest(path, kind=None, columns=(), replacements=None):
    """Open a folder or a manifest.

    Arguments
    ---------
    path : str or Path
        A folder, or a file: .csv and .json as SpeechBrain has them, .scp as Kaldi,
        .jsonl or .jsonl.gz as Lhotse.
    kind : str, optional
        One of ``KINDS``, if the name does not tell.
    columns : sequence of str
        Those of a CSV, or fields of a JSON, that hold audio. By default ``wav``, or
        the only one that holds nothing but names of audio files.
    replacements : dict of str to str, optional
        Values of placeholders, ``$name`` in a CSV and ``{name}`` in a JSON.

    Returns
    -------
    FolderManifest, CsvManifest, JsonManifest, KaldiManifest or LhotseManifest
        With ``sources``, a dict from the text in the manifest to the absolute path, in
        order; and ``write(path, cleaned)``, where ``cleaned`` maps absolute paths to
        ``Cleaned``, or None for those whose entries are to be left out; and
        ``check_rate_change()``.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    UsageError
        If it cannot be read as what it is; names the line or the entry.

    Example
    -------
    >>> from lafufu_sb.corpora.mini_corpus import __path__ as folder
    >>> list(open_manifest(f"{folder[0]}/EARS-WHAM/test/noisy").sources)[0]
    'S06001/00000_...dB.wav'
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    kind = kind or _kind(path)
    if (kind == "folder") != path.is_dir():
        raise UsageError(f"{path} is {'a' if path.is_dir() else 'no'} folder")
    if kind == "lhotse":
        from lafufu_sb.cleaning.lhotse_manifest import LhotseManifest

        return LhotseManifest(path)
    if kind in ("csv", "json"):
        openers = {"csv": CsvManifest, "json": JsonManifest}
        return openers[kind](path, columns, replacements or {})
    if columns or replacements:
        raise UsageError("columns and replacements are for SpeechBrain's CSV and JSON")
    return FolderManifest(path) if kind == "folder" else KaldiManifest(path)


def _kind(path):
    if path.is_dir():
        return "folder"
    endings = {
        ".csv": "csv",
        ".json": "json",
        ".scp": "kaldi",
        ".jsonl": "lhotse",
        ".jsonl.gz": "lhotse",
    }
    for ending, kind in endings.items():
        if path.name.lower().endswith(ending):
            return kind
    if path.suffix.lower() in AUDIO_SUFFIXES:
        raise UsageError(f"{path} is a recording: use `lafufu enhance` for single ones")
    raise UsageError(
        f"{path} is no manifest by its name: say which with kind ({', '.join(KINDS)})"
    )


class FolderManifest:
    """All recordings below a folder."""

    def __init__(self, path):
        self.path = path
        self.name = None  # nothing to write
        root = Path(os.path.abspath(path))
        self.sources = {str(p.relative_to(root)): str(p) for p in find_recordings(root)}
        self.root = str(root)

    def check_rate_change(self):
        """Nothing here tells a sample rate."""

    def write(self, path, cleaned):
        """A folder is its own manifest."""


class _TextManifest:
    """One that is a file of text, and mentions recordings by path."""

    root = None  # the common folder of what it mentions
    placeholder = None

    def __init__(self, path, replacements=None):
        self.path = path
        self.name = path.name
        self.sources = {}
        self._replacements = replacements or {}

    def _add(self, text, place):
        """Note a path; ``place`` is where it stands, for errors."""
        if text not in self.sources:
            self.sources[text] = resolve(self._filled(text, place), self.path)

    def _filled(self, text, place):
        if self.placeholder is None:
            return text

        def value(match):
            name = match[1]
            if name not in self._replacements:
                raise UsageError(
                    f"{self.path}, {place}: {match[0]} stands for a folder: say which "
                    f"with --replacement {name}=FOLDER"
                )
            return str(self._replacements[name])

        return self.placeholder.sub(value, text)

    def check_rate_change(self):
        """Refuse another sample rate where fields may count samples; UsageError."""
        if counts := sorted(SAMPLE_COUNTS & {f.lower() for f in self.fields}):
            raise UsageError(
                f"{self.path}: {counts[0]!r} may count samples, which another sample "
                "rate would make wrong: keep the rate, or leave that field out"
            )

    def _empty(self):
        return UsageError(f"{self.path} names no recordings")


class CsvManifest(_TextManifest):
    """SpeechBrain's CSV: a header, and a row per item."""

    kind = "csv"
    placeholder = re.compile(r"\$([\w.]+)")

    def __init__(self, path, columns=(), replacements=None):
        super().__init__(path, replacements)
        text = _read_text(path)
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
        self._rows = []
        for row in reader:
            if not row:
                continue
            if self._rows and len(row) != len(self._rows[0]):
                raise UsageError(
                    f"{path}, line {reader.line_num}: {len(row)} fields instead of "
                    f"{len(self._rows[0])}"
                )
            self._rows.append(row)
        if len(self._rows) < 2:
            raise self._empty()
        header, *items = self._rows
        self.fields = set(header)
        values = {name: [r[i] for r in items] for i, name in enumerate(header)}
        chosen = choose_columns(values, columns, path)
        self._places = [header.index(name) for name in chosen]
        for number, row in enumerate(items, 1):
            for place in self._places:
                if row[place]:
                    self._add(row[place], f"row {number}")
        if not self.sources:
            raise self._empty()

    def write(self, path, cleaned):
        """Write the rows of what was cleaned; see ``open_manifest``."""
        with open(path, "w", encoding="utf-8", newline="", **_ODD_NAMES) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(self._rows[0])
            for row in self._rows[1:]:
                row = list(row)
                for place in self._places:
                    if row[place]:
                        row[place] = _new_path(self, row[place], cleaned)
                if None not in row:
                    writer.writerow(row)


class JsonManifest(_TextManifest):
    """SpeechBrain's JSON: an object of items, whose fields may hold {placeholders}."""

    kind = "json"
    placeholder = re.compile(r"\{(\w+)\}")

    def __init__(self, path, columns=(), replacements=None):
        super().__init__(path, replacements)
        try:
            self._items = json.loads(_read_text(path))
        except json.JSONDecodeError as error:
            raise UsageError(f"{path} is not JSON: {error}") from error
        items = self._items
        if not isinstance(items, dict) or not all(
            isinstance(item, dict) for item in items.values()
        ):
            raise UsageError(f"{path} is no object of objects, as SpeechBrain reads it")
        if not items:
            raise self._empty()
        self.fields = set.union(*map(set, items.values()))
        values = {
            name: [_path_of(item[name]) for item in items.values() if name in item]
            for name in dict.fromkeys(n for item in items.values() for n in item)
        }
        self._columns = choose_columns(values, columns, path)
        for key, item in items.items():
            for name in self._columns:
                if name not in item:
                    continue
                text = _path_of(item[name])
                if text is None:
                    raise UsageError(
                        f"{path}, item {key!r}: {name!r} is no path, nor an object "
                        'with one as "file"'
                    )
                self._add(text, f"item {key!r}")
        if not self.sources:
            raise self._empty()

    def write(self, path, cleaned):
        """Write the items of what was cleaned; see ``open_manifest``."""
        out = {}
        for key, item in self._items.items():
            item, whole = dict(item), True
            for name in self._columns:
                if name in item:
                    new = _new_path(self, _path_of(item[name]), cleaned)
                    whole = whole and new is not None
                    value = item[name]
                    if isinstance(value, dict):
                        item[name] = value | {"file": new}
                    else:
                        item[name] = new
            if whole:
                out[key] = item
        with open(path, "w", encoding="utf-8", **_ODD_NAMES) as stream:
            json.dump(out, stream, indent=2, ensure_ascii=False)
            stream.write("\n")


class KaldiManifest(_TextManifest):
    """Kaldi's wav.scp: an utterance and a path a line; commands are refused."""

    kind = "kaldi"
    fields = frozenset()

    def __init__(self, path):
        super().__init__(path)
        self._lines = []
        for number, line in enumerate(_read_text(path).splitlines(), 1):
            if not line.strip():
                continue
            utterance, text = (line.split(None, 1) + [""])[:2]
            text = text.strip()
            if text.endswith("|"):
                raise UsageError(
                    f"{path}, line {number}: {utterance!r} is a command (ends in |): "
                    "these are not run. Write their output to files first, such as "
                    "with Kaldi's wav-copy, and list these"
                )
            if not text or text.startswith("|") or re.search(r"\.ark:\d+$", text):
                raise UsageError(
                    f"{path}, line {number}: {utterance!r} must have the path of a "
                    f"recording, has {text!r}"
                )
            self._lines.append((utterance, text))
            self._add(text, f"line {number}")
        if not self._lines:
            raise self._empty()

    def write(self, path, cleaned):
        """Write the lines of what was cleaned; see ``open_manifest``."""
        with open(path, "w", encoding="utf-8", **_ODD_NAMES) as stream:
            for utterance, text in self._lines:
                new = _new_path(self, text, cleaned)
                if new is not None:
                    stream.write(f"{utterance} {new}\n")


_ODD_NAMES = {"errors": "surrogateescape"}  # names of files are bytes, in any encoding


def choose_columns(values, given, path):
    """Names of the columns that hold audio.

    Arguments
    ---------
    values : dict of str to list of str
        All values of each column; None where one is no text.
    given : sequence of str
        What the user says.
    path : str or Path
        For errors.

    Returns
    -------
    list of str

    Raises
    ------
    UsageError
        If there is no such column, or it is not clear which one.

    Example
    -------
    >>> choose_columns({"ID": ["a"], "file": ["a.wav"]}, (), "train.csv")
    ['file']
    """
    there = ", ".join(values)
    if given:
        missing = [name for name in given if name not in values]
        if missing:
            raise UsageError(f"{path} has no column {missing[0]!r}, but {there}")
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
            f"{path} has {names} of audio files ({', '.join(found) or there}): say "
            "which to clean with --column"
        )
    return found


def resolve(text, manifest):
    """Absolute path of what a manifest names.

    As SpeechBrain and Kaldi read it: relative to the working folder; if nothing is
    there, relative to the manifest.
    """
    here = os.path.abspath(text)
    beside = os.path.abspath(os.path.join(os.path.dirname(manifest), text))
    return beside if not os.path.exists(here) and os.path.exists(beside) else here


def _new_path(manifest, text, cleaned):
    new = cleaned[manifest.sources[text]]
    return None if new is None else new.path


def _path_of(value):
    if isinstance(value, dict):
        value = value.get("file")
    return value if isinstance(value, str) else None


def _read_text(path):
    try:
        return path.read_bytes().decode("utf-8-sig", **_ODD_NAMES)
    except ValueError as error:
        raise UsageError(f"{path} is not text") from error
