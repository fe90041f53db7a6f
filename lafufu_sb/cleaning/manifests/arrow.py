"""What Parquet files and saved datasets share: columns of audio in Arrow tables."""

import contextlib
import json
from abc import abstractmethod
from pathlib import Path

from lafufu_sb.cleaning.manifests.arrow_fields import extended, kinds, with_columns
from lafufu_sb.cleaning.manifests.packed import PackedManifest, new_name
from lafufu_sb.cleaning.manifests.text import choose_columns
from lafufu_sb.errors import MissingPackageError, UsageError

ROWS = 16  # that are in memory at once


class ArrowManifest(PackedManifest):
    """Tables with columns of audio, as the package ``datasets`` writes them.

    A column has ``{"bytes": ..., "path": ...}``, bytes, or paths. Audio is neither
    decoded nor encoded here. Only Arrow is needed (``pyarrow``).
    """

    adds_fields = True

    @abstractmethod
    def schema(self, path):
        """The Arrow schema of a part."""

    @abstractmethod
    def batches(self, path, columns=None):
        """Iterate over record batches of at most ``ROWS`` rows."""

    @abstractmethod
    def writer(self, path, like, schema):
        """Context of a function that writes a table, in the form of the part."""

    def read(self):
        """See ``Manifest``: finds the parts and the columns."""
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise MissingPackageError(
                f'{self.path} needs pyarrow: pip install "lafufu_sb[datasets]"'
            ) from error
        super().read()
        first, path = next(iter(self.parts.items()))
        with self._readable(first):
            schema = self.schema(path)
            self.fields = frozenset(schema.names)
        self.columns = self._choose(schema, first)
        for part, path in self.parts.items():
            with self._readable(part):
                names = self.schema(path).names
            for name in self.columns:
                if names.count(name) != 1:
                    raise UsageError(
                        f"{path} has {names.count(name)} columns {name!r} instead of "
                        f"one, unlike {first}: give it the same columns"
                    )

    def _choose(self, schema, part):
        features = _features(schema)
        audio = [n for n in schema.names if features.get(n, {}).get("_type") == "Audio"]
        audio = audio or [field.name for field in schema if _has_bytes(field.type)]
        values = {name: [".wav"] if name in audio else [None] for name in schema.names}
        if not audio and not self.columns:
            texts = [field.name for field in schema if _is_text(field.type)]
            values |= {name: [] for name in texts}
            for batch in self._batches(part, texts):
                for name in texts:
                    values[name] += batch.column(name).to_pylist()
        return choose_columns(values, self.columns, self.parts[part])

    def check_rate_change(self):
        """Refuse columns that ``datasets`` resamples while it decodes them."""
        super().check_rate_change()
        path = next(iter(self.parts.values()))
        features = _features(self.schema(path))
        for name in self.columns:
            if rate := features.get(name, {}).get("sampling_rate"):
                raise UsageError(
                    f"{path}: column {name!r} is decoded at {rate} Hz whatever is "
                    "written: use --sample-rate keep"
                )

    @contextlib.contextmanager
    def _readable(self, part):
        """Context in which whatever Arrow says of a part is a UsageError."""
        import pyarrow

        try:
            yield
        except UsageError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
            raise UsageError(
                f"{self.parts[part]} cannot be read ({error}): is it complete?"
            ) from error

    def recordings(self, part):
        """See ``PackedManifest``."""
        row = 0
        for batch in self._batches(part):  # all columns: they will be written
            for values in batch.select(self.columns).to_pylist():
                for name in self.columns:
                    place = _place(name, row)
                    data, path = self._content(part, place, values[name])
                    if data is not None or path is not None:
                        yield place, name, path or "", data
                row += 1

    def _batches(self, part, columns=None):
        with self._readable(part):
            for batch in self.batches(self.parts[part], columns):
                batch.validate(full=True)  # damaged offsets would crash the process
                yield batch

    def _content(self, part, place, value):
        """Bytes and path of a value, each or both None."""
        if isinstance(value, dict):
            data, path = value.get("bytes"), value.get("path")
        else:
            data, path = (value, None) if isinstance(value, bytes) else (None, value)
        if not isinstance(data, bytes | None) or not isinstance(path, str | None):
            raise UsageError(
                f"{self.parts[part]}, {place}: it must have bytes or a path, not "
                f"{value!r:.80}"
            )
        return data, path

    def write_part(self, part, path, cleaned):
        """See ``PackedManifest``; a row needs the results of all its recordings."""
        import pyarrow

        row, like, added = 0, self.parts[part], kinds(self.columns, cleaned)
        schema = extended(self.schema(like), added)
        with self.writer(path, like, schema) as write:
            for batch in self._batches(part):
                table = pyarrow.Table.from_batches([batch])
                keep = [True] * batch.num_rows
                for name in self.columns:
                    index = batch.schema.get_field_index(name)
                    field, values = batch.schema.field(index), batch[index].to_pylist()
                    for offset, value in enumerate(values):
                        place = _place(name, row + offset)
                        if not self.has(part, place):
                            continue
                        result = self.result(part, place, cleaned)
                        keep[offset] &= result is not None
                        if result is not None:
                            values[offset] = self._replaced(part, place, value, result)
                    column = pyarrow.array(values, field.type)
                    table = table.set_column(index, field, column)
                if added:
                    rows = range(row, row + batch.num_rows)
                    fields = [self._fields(part, number, cleaned) for number in rows]
                    table = with_columns(table, schema, added, fields)
                row += batch.num_rows
                write(table if all(keep) else table.filter(keep))

    def _fields(self, part, row, cleaned):
        """See ``Manifest.added``."""
        texts = {}
        for name in self.columns:
            place = _place(name, row)
            texts[name] = f"{part} {place}" if self.has(part, place) else None
        return self.added(texts, cleaned)

    def _replaced(self, part, place, value, result):
        data, path = self._content(part, place, value)
        if data is None:
            new = {"path": result.path}
        else:
            new = {"bytes": Path(result.path).read_bytes()}
            new |= {} if path is None else {"path": new_name(path, result)}
        return value | new if isinstance(value, dict) else next(iter(new.values()))


def _place(name, row):
    return f"row {row} of {name}"


def _features(schema):
    """What ``datasets`` notes about each column."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = noted.get("info", {}).get("features", {})
        return {n: f for n, f in features.items() if isinstance(f, dict)}
    except (ValueError, AttributeError, RecursionError):
        return {}


def _has_bytes(kind):
    import pyarrow.types as types

    return types.is_struct(kind) and any(
        field.name == "bytes" and _is_binary(field.type) for field in kind
    )


def _is_binary(kind):
    import pyarrow.types as types

    return types.is_binary(kind) or types.is_large_binary(kind)


def _is_text(kind):
    import pyarrow.types as types

    return types.is_string(kind) or types.is_large_string(kind)
