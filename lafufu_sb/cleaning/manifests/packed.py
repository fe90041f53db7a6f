"""The base class of manifests that contain the audio: unpacked first, packed last."""

import json
import os
import re
import shutil
from abc import abstractmethod

from lafufu_sb.cleaning.manifests.base import Manifest
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole

_INDEX = "index.json"
_SUFFIXES = {b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3", b"\xff": ".mp3"}


class PackedManifest(Manifest):
    """A file, or a folder of files (parts), with recordings and other data in it.

    Cleaning works on files. ``unpack`` writes the recordings to files, one at a time;
    ``write_to`` copies each part with the results in their places.

    A format sets ``part_suffix`` and implements ``recordings`` and ``write_part``.

    Class attributes
    ----------------
    part_suffix : str
        Of the files in a folder.

    Attributes
    ----------
    parts : dict of str to Path
        Relative name of each part to its file.
    """

    takes = ("file", "folder")
    has_columns = True
    packed = True
    part_suffix: str

    @classmethod
    def recognises(cls, path):
        """See ``Manifest``: a folder with such parts and no recordings."""
        from lafufu_sb.audio.suffixes import AUDIO_SUFFIXES

        found = False
        for _, _, names in os.walk(path):
            names = [name.lower() for name in names if not name.startswith(".")]
            if any(name.endswith(AUDIO_SUFFIXES) for name in names):
                return False
            found = found or any(name.endswith(cls.part_suffix) for name in names)
        return found

    def read(self):
        """See ``Manifest``: finds the parts."""
        self.name, self.embedded = None, True
        self.parts, self._marks, self._labels = self.find_parts(), {}, {}
        if not self.parts:
            raise UsageError(f"{self.path} holds no {self.part_suffix} files")

    def find_parts(self):
        """The ``parts``: the file itself, or all files below the folder."""
        if self.path.is_file():
            return {self.path.name: self.path}
        return {
            str(path.relative_to(self.path)): path
            for path in sorted(self.path.rglob(f"*{self.part_suffix}"))
            if path.is_file() and not path.name.startswith(".")
        }

    @abstractmethod
    def recordings(self, part):
        """Iterate over the recordings of a part.

        Yields
        ------
        place : str
            Identifies the recording in its part, such as "row 3".
        column : str
            The column that it is in.
        name : str
            Its file name; its path if there are no ``data``.
        data : bytes, readable binary file or None
            Its content.
        """

    @abstractmethod
    def write_part(self, part, path, cleaned):
        """Write a part with the results; see ``Manifest.write`` and ``result``."""

    def outputs(self):
        """See ``Manifest``."""
        return self.parts

    def unpack(self, folder):
        """Write the recordings to files and fill ``sources``.

        What an earlier call has written is used if the part has not changed since.

        Arguments
        ---------
        folder : Path
            Belongs to this manifest alone; created if necessary.

        Raises
        ------
        UsageError
            If a part is malformed, or if there are no recordings.
        """
        self.root, found = str(folder), set()
        for part, path in self.parts.items():
            self._marks[part] = mark = _mark(path)
            inside = folder / part
            wanted = [*mark, self.columns]
            index = _read_index(inside, wanted)
            if index is None:
                index = {"of": wanted, **self._extract(part, inside, mark)}
                with written_whole(inside / _INDEX) as temporary:
                    temporary.write_text(json.dumps(index))
            for place, (name, _) in index["files"].items():
                source = os.path.abspath(inside / name)
                self.sources[f"{part} {place}"] = source
                self._labels[source] = f"{path}, {place} ({name.partition('-')[2]})"
            for place, source in index["paths"].items():
                self.sources[f"{part} {place}"] = source
                self.root, self.embedded = None, False
            found |= set(index["columns"])
        if missing := [name for name in self.columns if name not in found]:
            raise UsageError(f"{self.path} has no recordings in column {missing[0]!r}")
        if not self.sources:
            raise UsageError(f"{self.path} holds no recordings: choose with --column")

    def _extract(self, part, inside, mark):
        shutil.rmtree(inside, ignore_errors=True)
        inside.mkdir(parents=True)
        files, paths, columns = {}, {}, set()
        for number, (place, column, name, data) in enumerate(self.recordings(part)):
            columns.add(column)
            if data is None:
                where = f"{part}, {place}"
                if not name.strip():
                    raise self.error(where, "the path of the recording is empty")
                paths[place] = self._resolved(name, where)
                continue
            file = inside / f"{number:06}-{_safe_name(name)}"
            with open(file, "wb") as stream:
                if isinstance(data, bytes):
                    stream.write(data)
                else:
                    shutil.copyfileobj(data, stream)
            if not file.suffix:
                file = file.rename(file.with_suffix(_suffix(file)))
            # The journal compares times: unpacked again, the recording is the same.
            os.utime(file, ns=(mark[1], mark[1]))
            files[place] = file.name, file.stat().st_size
        return {"files": files, "paths": paths, "columns": sorted(columns)}

    def write_to(self, folder, cleaned):
        """See ``Manifest``."""
        for part, path in self.parts.items():
            if _mark(path) != self._marks[part]:
                raise UsageError(f"{path} has changed meanwhile: run the command again")
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            with written_whole(folder / part) as temporary:
                self.write_part(part, temporary, cleaned)

    def write(self, path, cleaned):
        """Not used: there may be several parts, see ``write_part``."""
        raise NotImplementedError

    def has(self, part, place):
        """Whether there is a recording at a place of a part."""
        return f"{part} {place}" in self.sources

    def result(self, part, place, cleaned):
        """The ``Cleaned`` of the recording at a place, or None."""
        return cleaned[self.sources[f"{part} {place}"]]

    def label(self, source):
        """See ``Manifest``: the part and the place in it."""
        return self._labels.get(source, source)


def new_name(name, result):
    """A file name with the suffix of a result.

    Example
    -------
    >>> from lafufu_sb.cleaning.manifests import Cleaned
    >>> new_name("clips/a.b.mp3", Cleaned("/new/7.wav", 16000, 1))
    'clips/a.b.wav'
    """
    stem, suffix = os.path.splitext(name) if is_audio(name) else (name, "")
    new = os.path.splitext(result.path)[1]
    return name if suffix.lower() == new.lower() else stem + new


def _mark(path):
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _read_index(inside, wanted):
    """The index of an unpacked part, or None if anything of it is not as it should."""
    try:
        index = json.loads((inside / _INDEX).read_text())
        whole = index["of"] == wanted and all(
            os.stat(inside / name).st_size == size
            for name, size in index["files"].values()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return index if whole else None


def _safe_name(name):
    """Last part of a name, without characters that mean something to a shell."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", re.split(r"[/\\]", name)[-1])[-80:]
    return name if is_audio(name) else name.replace(".", "_")


def is_audio(name):
    """Whether a file name has the suffix of an audio format."""
    from lafufu_sb.audio.suffixes import AUDIO_SUFFIXES

    return name.lower().endswith(AUDIO_SUFFIXES)


def _suffix(path):
    """The suffix that the content of a file asks for."""
    with open(path, "rb") as stream:
        start = stream.read(4)
    found = (s for magic, s in _SUFFIXES.items() if start.startswith(magic))
    return next(found, ".wav")
