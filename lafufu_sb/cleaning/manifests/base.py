"""The base class of manifests, and the registry of their formats."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole

FORMATS = {}  # kind to subclass of Manifest, in the order of registration

# Fields that by convention count samples at the rate of the recording.
SAMPLE_COUNTS = frozenset(
    ["start", "stop", "length", "num_samples", "n_samples", "num_frames"]
    + ["sample_rate", "samplerate", "sr"]
)


_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


class Cleaned(NamedTuple):
    """A result, as the rewritten manifest describes it."""

    path: str
    sample_rate: int | None = None  # Hz; None if it has not changed
    samples: int | None = None
    fields: Mapping[str, object] = MappingProxyType({})  # to add to its entry


def register(manifest):
    """Class decorator that adds a format under its ``kind``.

    Raises
    ------
    ValueError
        If another format has the same kind or file-name ending.
    """
    for other in FORMATS.values():
        clash = {other.kind, *other.endings} & {manifest.kind, *manifest.endings}
        if clash:
            raise ValueError(f"{manifest} and {other} both claim {sorted(clash)}")
    FORMATS[manifest.kind] = manifest
    return manifest


class Manifest(ABC):
    """A list of recordings that can be written again with other paths.

    Everything but the paths stays as it is. New paths are absolute and placeholders
    are filled in, so the new manifest never refers to the old corpus by accident.

    A new format is a new module of this package with a subclass under ``register``. It
    sets ``kind`` and ``endings``, implements ``read`` and ``write``, and overrides
    other class attributes and methods where the defaults below do not fit. A format
    that contains the audio itself is a subclass of ``PackedManifest``.

    Arguments
    ---------
    path : Path
        The manifest, which exists.
    columns : sequence of str
        Names of the columns or fields that hold audio; empty to detect them.
    placeholders : dict of str to str, optional
        Values of the placeholders in paths.

    Class attributes
    ----------------
    kind : str
        Name of the format, a value of ``--kind``.
    endings : tuple of str
        Lower-case file-name endings that select the format, such as ``(".csv",)``.
    takes : tuple of str
        "file", "folder" or both.
    has_columns : bool
        Whether ``columns`` may be given.
    adds_fields : bool
        Whether ``write`` adds ``Cleaned.fields`` to the entries, see ``added``.
    placeholder : re.Pattern or None
        Matches a placeholder in a path; its first group is the name. None if the
        format has no placeholders.
    subtype : str or None
        Sample format of results that its readers need, unless another is chosen.
    packed : bool
        Whether ``sources`` is empty until ``unpack`` has been called.
    embedded : bool
        Whether all recordings were inside a packed manifest, and the results will be.

    Attributes
    ----------
    path, columns, placeholders
        The arguments.
    name : str or None
        File name of the rewritten manifest. None if nothing is to be written.
    root : str or None
        Folder whose structure the results mirror. None for the folder that all
        recordings have in common.
    sources : dict of str to str
        Text in the manifest to absolute path of the recording, in order.
    seconds : dict of str to float
        Absolute path of a recording to its length as stated in the manifest, in
        seconds. The recording may be longer. Recordings without a statement are
        missing.
    fields : frozenset of str
        Names of all fields, which ``check_rate_change`` looks at.

    Raises
    ------
    UsageError
        If the file is malformed or names no recordings, or if ``columns`` or
        ``placeholders`` are given and the format has none.
    MissingPackageError
        If the format needs a package that is not installed.
    """

    kind: str
    endings = ()
    takes = ("file",)
    has_columns = False
    adds_fields = False
    placeholder = None
    subtype = None
    packed = embedded = False

    def __init__(self, path, columns=(), placeholders=None):
        self.path, self.name, self.root = path, path.name, None
        self.columns, self.placeholders = list(columns), dict(placeholders or {})
        self.sources, self.seconds, self.fields = {}, {}, frozenset()
        for given, option, allowed in (
            (self.columns, "--column", self.has_columns),
            (self.placeholders, "--placeholder", self.placeholder is not None),
        ):
            if given and not allowed:
                raise UsageError(f"{path}: {option} does not apply to {self.kind}")
        self.read()
        if not self.sources and not self.packed:
            raise UsageError(f"{path} names no recordings")

    @classmethod
    def recognises(cls, path):
        """Whether the content of a file or folder shows that it has this format.

        It is asked before ``endings`` are compared. The default never does.
        """
        return False

    @abstractmethod
    def read(self):
        """Read ``path`` and call ``add`` for each path of a recording, in order.

        Raises
        ------
        UsageError
            If the file is malformed, see ``error``.
        """

    @abstractmethod
    def write(self, path, cleaned):
        """Write the manifest with the paths of the results.

        Entries with a recording that has no result are left out.

        Arguments
        ---------
        path : Path
            The file to write. Its name is temporary; the final one is ``name``.
        cleaned : dict of str to (Cleaned or None)
            Absolute path of each recording in ``sources`` to its result; None if the
            recording could not be read.
        """

    def outputs(self):
        """Files that ``write_to`` makes: relative name to the file of the manifest."""
        return {} if self.name is None else {self.name: self.path}

    def write_to(self, folder, cleaned):
        """Write ``outputs`` below the folder of the results; each appears whole.

        Arguments
        ---------
        folder : Path
            The folder, which exists.
        cleaned : dict of str to (Cleaned or None)
            See ``write``.
        """
        for name in self.outputs():
            with written_whole(folder / name) as temporary:
                self.write(temporary, cleaned)

    def label(self, source):
        """What the report calls a recording, given its absolute path."""
        return source

    def check_rate_change(self):
        """Refuse results at another sample rate if the manifest depends on the old one.

        The default refuses ``fields`` that may count samples.

        Raises
        ------
        UsageError
            If there is such an entry.
        """
        if counts := sorted(SAMPLE_COUNTS & {field.lower() for field in self.fields}):
            raise UsageError(
                f"{self.path}: {counts[0]!r} may count samples and would be wrong at "
                "another sample rate: use --sample-rate keep, or remove the field"
            )

    def add(self, text, place, seconds=None):
        """Add a recording to ``sources``.

        Arguments
        ---------
        text : str
            The path as the manifest has it.
        place : str
            Where it stands, such as "line 3", for messages.
        seconds : float, optional
            Length that the manifest states.
        """
        if text not in self.sources:
            filled = self._filled(text, place)
            if not filled.strip():
                raise self.error(place, "the path of the recording is empty: fill it")
            self.sources[text] = self._resolved(filled, place)
        if seconds is not None:
            source = self.sources[text]
            self.seconds[source] = max(seconds, self.seconds.get(source, 0.0))

    def new_path(self, text, cleaned):
        """Path of the result of a text in ``sources``; None if it has no result."""
        result = cleaned[self.sources[text]]
        return None if result is None else result.path

    def added(self, texts, cleaned):
        """Fields to add to an entry.

        Arguments
        ---------
        texts : dict of str to (str or None)
            Name of each field that holds audio to its text in ``sources``; empty or
            None where this entry has none.
        cleaned : dict of str to (Cleaned or None)
            See ``write``.

        Returns
        -------
        dict of str to object
            Where several fields hold audio, each name begins with theirs.
        """
        added = {}
        for name, text in texts.items():
            result = cleaned[self.sources[text]] if text else None
            for key, value in result.fields.items() if result else ():
                added[f"{name}_{key}" if len(texts) > 1 else key] = value
        return added

    def error(self, place, message):
        """A UsageError to raise: ``message`` with the file and the place in it."""
        return UsageError(f"{self.path}, {place}: {message}")

    def _filled(self, text, place):
        if self.placeholder is None:
            return text

        def value(match):
            name = match[1]
            if name not in self.placeholders:
                raise self.error(
                    place,
                    f"{match[0]} is a placeholder: give its value with --placeholder "
                    f"{name}=FOLDER",
                )
            return str(self.placeholders[name])

        return self.placeholder.sub(value, text)

    def _resolved(self, text, place):
        try:
            os.fsencode(text)
        except UnicodeEncodeError:
            valid = False
        else:
            valid = "\0" not in text
        if not valid:
            raise self.error(
                place, f"{text!r} cannot be a file name (NUL or lone surrogate): fix it"
            )
        if _ADDRESS.match(text):
            raise self.error(
                place,
                f"{text!r} is an address: download the recording, and name the file",
            )
        return resolve(text, self.path)


def resolve(text, manifest):
    """Absolute path of a recording that a manifest names.

    As in SpeechBrain and Kaldi, paths are relative to the working folder; if nothing
    is there, they are taken relative to the manifest.

    Arguments
    ---------
    text : str
        Absolute or relative path.
    manifest : str or Path
        The file that names it.

    Returns
    -------
    str
    """
    here = os.path.abspath(text)
    beside = os.path.abspath(os.path.join(os.path.dirname(manifest), text))
    return beside if not os.path.exists(here) and os.path.exists(beside) else here
