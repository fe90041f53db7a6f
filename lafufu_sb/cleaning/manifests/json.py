"""SpeechBrain's JSON manifests."""

import json
import re

from lafufu_sb.cleaning.manifests.base import Manifest, register
from lafufu_sb.cleaning.manifests.text import (
    ODD_NAMES,
    choose_columns,
    json_text,
    read_text,
)
from lafufu_sb.errors import UsageError


@register
class JsonManifest(Manifest):
    """An object of items, each an object; ``{name}`` is a placeholder.

    A field that holds audio is a path, or an object with the path as its "file".
    """

    kind = "json"
    endings = (".json",)
    has_columns = True
    placeholder = re.compile(r"\{(\w+)\}")

    def read(self):
        """See ``Manifest``; the values of the audio fields are the paths."""
        self._items = self._parsed()
        names = dict.fromkeys(name for item in self._items.values() for name in item)
        self.fields = frozenset(names)
        values = {
            name: [_path_of(i[name]) for i in self._items.values() if name in i]
            for name in names
        }
        self._audio = choose_columns(values, self.columns, self.path)
        for key, item in self._items.items():
            for name in self._audio:
                if name not in item:
                    continue
                text = _path_of(item[name])
                if text is None:
                    raise self.error(
                        f"item {key!r}",
                        f"{name!r} must be a path or an object with a path as "
                        f'"file", not {_type(item[name])}',
                    )
                self.add(text, f"item {key!r}", item.get("duration"))

    def _parsed(self):
        try:
            items = json.loads(read_text(self.path))
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise self.error(place, f"not JSON ({error.msg}): fix it") from error
        except RecursionError as error:
            raise UsageError(
                f"{self.path} is nested too deeply for a manifest"
            ) from error
        form = 'SpeechBrain reads {"utterance": {"wav": "path", ...}, ...}'
        if not isinstance(items, dict):
            raise UsageError(f"{self.path} holds {_type(items)}, no items: {form}")
        for key, item in items.items():
            if not isinstance(item, dict):
                raise self.error(
                    f"item {key!r}", f"{_type(item)} instead of an object: {form}"
                )
        if not items:
            raise UsageError(f"{self.path} names no recordings: it has no items")
        return items

    def write(self, path, cleaned):
        """See ``Manifest``."""
        out = {}
        for key, item in self._items.items():
            new = {
                name: self.new_path(_path_of(item[name]), cleaned)
                for name in self._audio
                if name in item
            }
            if None in new.values():
                continue
            out[key] = item | {
                name: item[name] | {"file": target}
                if isinstance(item[name], dict)
                else target
                for name, target in new.items()
            }
        with open(path, "w", encoding="utf-8", **ODD_NAMES) as stream:
            stream.write(json_text(out, indent=2) + "\n")


def _path_of(value):
    if isinstance(value, dict):
        value = value.get("file")
    return value if isinstance(value, str) else None


def _type(value):
    """What JSON calls a value, with its article."""
    names = {dict: "an object", list: "an array", str: "a string", type(None): "null"}
    names |= {bool: "a boolean", int: "a number", float: "a number"}
    return names[type(value)]
