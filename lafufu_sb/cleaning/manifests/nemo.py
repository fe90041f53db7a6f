"""NeMo's manifests: one JSON object per line."""

import gzip
import json
import zlib

from lafufu_sb.cleaning.manifests.base import Manifest, register
from lafufu_sb.cleaning.manifests.text import (
    json_text,
    json_type,
    parse_json,
    read_text,
    stated_seconds,
    text_writer,
)
from lafufu_sb.errors import UsageError

_AUDIO = "audio_filepath"
_ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")  # of other formats, too
_LONGEST = 2**20  # bytes of the first line that are looked at


@register
class NemoManifest(Manifest):
    """Items with ``audio_filepath``, or with the fields that ``columns`` names.

    An item may be a part of a recording (``offset`` and ``duration`` in seconds). The
    whole recording is restored once, so the offsets stay right.
    """

    kind = "nemo"
    has_columns = adds_fields = True

    @classmethod
    def recognises(cls, path):
        """See ``Manifest``: by the first line."""
        name = path.name.lower()
        if not name.endswith(_ENDINGS) or not path.is_file():
            return False
        try:
            with (gzip.open if name.endswith(".gz") else open)(path, "rb") as stream:
                start = stream.readline(_LONGEST).removeprefix(b"\xef\xbb\xbf")
            first = json.loads(start)
        except (OSError, EOFError, zlib.error, ValueError, RecursionError):
            return False
        return isinstance(first, dict) and _AUDIO in first

    def read(self):
        """See ``Manifest``."""
        self._items, names = [], {}
        for number, line in enumerate(read_text(self.path).split("\n"), 1):
            if line.strip():
                self._items.append((number, self._item(line, f"line {number}")))
                names |= dict.fromkeys(self._items[-1][1])
        self.columns = list(dict.fromkeys(self.columns)) or [_AUDIO]
        missing = [name for name in self.columns if name not in names]
        if self._items and missing:
            raise UsageError(
                f"{self.path} has no field {missing[0]!r}: choose from "
                f"{', '.join(names)} with --column"
            )
        self.fields = frozenset(names)
        for number, item in self._items:
            self._add(item, f"line {number}")

    def _item(self, line, place):
        try:
            item = parse_json(line)
        except ValueError as error:
            raise self.error(place, f"not JSON ({error}): fix it") from error
        if not isinstance(item, dict):
            raise self.error(
                place, f'{json_type(item)} instead of {{"{_AUDIO}": "path", ...}}'
            )
        if "shard_id" in item:
            raise self.error(
                place,
                "its audio is in a tar shard: clean the shards (.tar) themselves, the "
                "manifest then describes the results as well",
            )
        return item

    def _add(self, item, place):
        for name in self.columns:
            if not isinstance(item.get(name), str):
                found = json_type(item[name]) if name in item else "missing"
                raise self.error(place, f"{name!r} must be a path, it is {found}")
            self.add(item[name], place, self._length(item, place))

    def _length(self, item, place):
        """Seconds that the recording has at least, or None."""
        ends = []
        for name in ("offset", "duration"):
            value = item.get(name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int | float)
            ):
                raise self.error(
                    place, f"{name!r} must be seconds, it is {json_type(value)}"
                )
            try:
                ends.append(stated_seconds(value))
            except ValueError as error:
                raise self.error(place, str(error)) from error
        offset, duration = ends
        return None if duration is None else (offset or 0.0) + duration

    def write(self, path, cleaned):
        """See ``Manifest``."""
        with text_writer(path, self.path.name.lower().endswith(".gz")) as stream:
            for _, item in self._items:
                new = {n: self.new_path(item[n], cleaned) for n in self.columns}
                if None not in new.values():
                    new |= self.added({n: item[n] for n in self.columns}, cleaned)
                    stream.write(json_text(item | new) + "\n")
