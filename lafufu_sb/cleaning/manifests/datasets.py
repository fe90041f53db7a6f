"""Folders that ``save_to_disk`` of the package ``datasets`` has written."""

import contextlib
import hashlib
import json
import re

from lafufu_sb.cleaning.manifests.arrow import ROWS, ArrowManifest
from lafufu_sb.cleaning.manifests.arrow_fields import kinds, note
from lafufu_sb.cleaning.manifests.base import register
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole

_STATE, _SPLITS, _INFO = "state.json", "dataset_dict.json", "dataset_info.json"
_NAME = re.compile("[^/\\\\\0\ud800-\udfff]+")
_END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream of record batches


@register
class DatasetsManifest(ArrowManifest):
    """A ``Dataset``, or a ``DatasetDict`` with a folder for each split."""

    kind = "datasets"
    takes = ("folder",)
    part_suffix = ".arrow"

    @classmethod
    def recognises(cls, path):
        """See ``Manifest``."""
        return any((path / name).is_file() for name in (_STATE, _SPLITS))

    def find_parts(self):
        """See ``PackedManifest``: the files that ``state.json`` lists, in its order."""
        self._folders, found = [self.path], {}
        if (self.path / _SPLITS).is_file():
            names = self._json(self.path / _SPLITS, "splits", list)
            self._folders = [_child(self.path, name, _SPLITS) for name in names]
        for folder in self._folders:
            state = self._json(folder / _STATE)
            if state.get("_indices_files"):
                raise UsageError(
                    f"{folder / _STATE} selects rows by an index: save the dataset "
                    "again after flatten_indices()"
                )
            for file in self._json(folder / _STATE, "_data_files", list):
                name = file.get("filename") if isinstance(file, dict) else file
                path = _child(folder, name, _STATE)
                found[str(path.relative_to(self.path))] = path
        return found

    def _json(self, path, key=None, kind=dict):
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            value = value if key is None else value[key]
            if isinstance(value, kind):
                return value
            found = f"{key or 'it'} is not {kind.__name__}"
        except KeyError:
            found = f"{key} is missing"
        except (ValueError, TypeError, RecursionError) as error:
            found = error
        raise UsageError(f"{path} is not what save_to_disk writes ({found})")

    def schema(self, path):
        """See ``ArrowManifest``."""
        import pyarrow

        with pyarrow.memory_map(str(path)) as file:
            return pyarrow.ipc.open_stream(file).schema

    def batches(self, path, columns=None):
        """See ``ArrowManifest``."""
        import pyarrow

        with pyarrow.memory_map(str(path)) as file:
            file.seek(max(0, file.size() - len(_END)))
            if file.read() != _END:  # Arrow takes the end of the file for it
                raise UsageError(f"{path} is incomplete: copy it again")
            file.seek(0)
            for batch in pyarrow.ipc.open_stream(file):
                batch = batch if columns is None else batch.select(columns)
                for start in range(0, batch.num_rows, ROWS):
                    yield batch.slice(start, ROWS)

    @contextlib.contextmanager
    def writer(self, path, like, schema):
        """See ``ArrowManifest``."""
        import pyarrow

        with (
            pyarrow.OSFile(str(path), "wb") as file,
            pyarrow.ipc.new_stream(file, schema) as stream,
        ):
            yield stream.write_table

    def write_to(self, folder, cleaned):
        """See ``Manifest``; ``datasets`` finds its files when all are there."""
        super().write_to(folder, cleaned)
        for split in self._folders:
            new = folder / split.relative_to(self.path)
            for path in split.glob("*.json"):
                if path.name == _INFO:
                    info = self._json(path)
                    note(info, kinds(self.columns, cleaned))
                    _write(new / _INFO, json.dumps(info, indent=2).encode())
                elif path.name not in (_STATE, _SPLITS):
                    _write(new / path.name, path.read_bytes())
            state = self._json(split / _STATE)
            # `datasets` finds its caches by this name of the content.
            state["_fingerprint"] = _hash(sorted(new.glob(f"*{self.part_suffix}")))
            _write(new / _STATE, json.dumps(state, indent=2).encode())
        if (self.path / _SPLITS).is_file():
            _write(folder / _SPLITS, (self.path / _SPLITS).read_bytes())


def _hash(paths):
    found = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while data := file.read(2**20):
                found.update(data)
    return found.hexdigest()[:16]


def _child(folder, name, where):
    """Path of a file or folder that a file beside it names."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in (".", ".."):
        raise UsageError(f"{folder / where}: {name!r} is no name in its folder")
    return folder / name


def _write(path, data):
    with written_whole(path) as temporary:
        temporary.write_bytes(data)
