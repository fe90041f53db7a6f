"""SpeechBrain's JSON manifests."""

import json
import re

from lafufu_sb.cleaning.manifests.base import Manifest, register
from lafufu_sb.cleaning.manifests.text import (
    choose_columns,
    json_text,
    json_type,
    parse_json,
    read_text,
    stated_seconds,
    text_writer,
)
from lafufu_sb.errors import UsageError


@register
class JsonManifest(Manifest):
    """An object of items, each an object; ``{name}`` is a placeholder.

    A field that holds audio is a path, or an object with the path as its "file".
    """

    kind = "json"
    endings = (".json", ".json.gz")
    has_columns = adds_fields = True
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
            self._add(item, f"item {key!r}")

    def _add(self, item, place):
        try:
            number = isinstance(item.get("duration"), int | float)
            seconds = stated_seconds(item["duration"]) if number else None
        except ValueError as error:
            raise self.error(place, str(error)) from error
        for name in self._audio:
            if name not in item:
                continue
            text = _path_of(item[name])
            if text is None:
                raise self.error(
                    place,
                    f"{name!r} must be a path or an object with a path as "
                    f'"file", not {json_type(item[name])}',
                )
            self.add(text, place, seconds)

    def _parsed(self):
        text = read_text(self.path)
        try:
            items = parse_json(text)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise self.error(place, f"not JSON ({error.msg}): fix it") from error
        except ValueError as error:
            raise UsageError(f"{self.path} cannot be used: {error}") from error
        form = 'SpeechBrain reads {"utterance": {"wav": "path", ...}, ...}'
        if not isinstance(items, dict):
            raise UsageError(f"{self.path} holds {json_type(items)}, no items: {form}")
        for key, item in items.items():
            if not isinstance(item, dict):
                raise self.error(
                    f"item {key!r}", f"{json_type(item)} instead of an object: {form}"
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
            texts = {name: _path_of(item.get(name)) for name in self._audio}
            out[key] |= self.added(texts, cleaned)
        with text_writer(path, self.path.name.lower().endswith(".gz")) as stream:
            stream.write(json_text(out, indent=2) + "\n")


def _path_of(value):
    if isinstance(value, dict):
        value = value.get("file")
    return value if isinstance(value, str) else None
