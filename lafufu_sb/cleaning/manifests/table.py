"""What CSV and TSV manifests share: a header line, then one row per item."""

from abc import abstractmethod

from lafufu_sb.cleaning.manifests.base import Manifest
from lafufu_sb.cleaning.manifests.text import (
    choose_columns,
    stated_seconds,
    text_writer,
)
from lafufu_sb.errors import UsageError

_LENGTH = "duration"  # column with the length in seconds


class TableManifest(Manifest):
    """Rows of as many fields as the header has.

    Class attributes
    ----------------
    unique : tuple of str
        Names of columns whose values may not repeat.
    """

    has_columns = adds_fields = True
    unique = ()

    @abstractmethod
    def rows(self):
        """Iterate over (line number, fields), the header first, without empty lines."""

    @abstractmethod
    def write_rows(self, stream, rows):
        """Write header and rows to a text stream."""

    def read(self):
        """See ``Manifest``; the values of the audio columns are the paths."""
        rows = list(self.rows())
        if len(rows) < 2:
            raise UsageError(f"{self.path} names no recordings: it has no rows")
        (first, self._header), *self._rows = rows
        header = self._header
        self._check(first)
        self.fields = frozenset(header)
        values = {n: [row[i] for _, row in self._rows] for i, n in enumerate(header)}
        chosen = choose_columns(values, self.columns, self.path)
        self._audio = [header.index(name) for name in chosen]
        length = header.index(_LENGTH) if _LENGTH in header else None
        for line, row in self._rows:
            place = f"line {line}"
            try:
                seconds = None if length is None else stated_seconds(row[length])
            except ValueError as error:
                raise self.error(place, str(error)) from error
            for column in self._audio:
                if row[column]:
                    self._check_one_line(row[column], place)
                    self.add(row[column], place, seconds)

    def _check(self, first):
        """Refuse rows of other lengths than the header, and repeated names."""
        header = self._header
        for name in header:
            if name and header.count(name) > 1:
                raise self.error(
                    f"line {first}", f"two columns named {name!r}: rename one"
                )
        unique = [(i, n, {}) for i, n in enumerate(header) if n in self.unique]
        for line, row in self._rows:
            place = f"line {line}"
            if len(row) != len(header):
                raise self.error(
                    place,
                    f"{len(row)} fields instead of {len(header)}: check separators "
                    "and quotation marks",
                )
            for index, name, seen in unique:
                self._check_one_line(row[index], place)
                other = seen.setdefault(row[index], line)
                if other != line:
                    raise self.error(
                        place,
                        f"{name} {row[index]!r} is also in line {other}: rename one",
                    )

    def _check_one_line(self, text, place):
        if "\n" in text or "\r" in text:
            raise self.error(
                place,
                f"a line break in {text[:40]!r}: close the quotation before it",
            )

    def write(self, path, cleaned):
        """See ``Manifest``."""
        with text_writer(path, self.path.name.lower().endswith(".gz")) as stream:
            self.write_rows(stream, self._new_rows(cleaned))

    def _new_rows(self, cleaned):
        """The header and the rows, with the columns of the results at the end."""
        added = [
            self.added({self._header[i]: row[i] for i in self._audio}, cleaned)
            for _, row in self._rows
        ]
        names = list(dict.fromkeys(name for fields in added for name in fields))
        kept = [i for i, name in enumerate(self._header) if name not in names]
        yield [self._header[i] for i in kept] + names
        for (_, row), fields in zip(self._rows, added, strict=True):
            row = list(row)
            for column in self._audio:
                if row[column]:
                    row[column] = self.new_path(row[column], cleaned)
            if None not in row:
                yield [row[i] for i in kept] + [_cell(fields.get(n)) for n in names]


def _cell(value):
    """A value in one cell of one line."""
    return "" if value is None else " ".join(str(value).split())
