"""SpeechBrain's CSV manifests."""

import csv
import io
import itertools
import re

from lafufu_sb.cleaning.manifests.base import Manifest, register
from lafufu_sb.cleaning.manifests.text import ODD_NAMES, choose_columns, read_text
from lafufu_sb.errors import UsageError

_END = "\x1eend of file"  # added line; becomes part of a quotation left open


@register
class CsvManifest(Manifest):
    """A header line, then one row per item; ``$name`` is a placeholder."""

    kind = "csv"
    endings = (".csv",)
    has_columns = True
    placeholder = re.compile(r"\$([\w.]+)")

    def read(self):
        """See ``Manifest``; the values of the audio columns are the paths."""
        rows = list(self._numbered_rows())
        if len(rows) < 2:
            raise UsageError(f"{self.path} names no recordings: it has no rows")
        (_, self._header), *self._rows = rows
        for line, row in self._rows:
            if len(row) != len(self._header):
                raise self.error(
                    f"line {line}",
                    f"{len(row)} fields instead of {len(self._header)}: check commas "
                    "and quotation marks",
                )
        self.fields = frozenset(self._header)
        values = {
            name: [row[i] for _, row in self._rows]
            for i, name in enumerate(self._header)
        }
        chosen = choose_columns(values, self.columns, self.path)
        for name in chosen:
            if self._header.count(name) > 1:
                raise self.error("line 1", f"two columns named {name!r}: rename one")
        self._audio = [self._header.index(name) for name in chosen]
        for line, row in self._rows:
            seconds = dict(zip(self._header, row, strict=True)).get("duration")
            for column in self._audio:
                if row[column]:
                    self.add(row[column], f"line {line}", seconds)

    def _numbered_rows(self):
        """Rows with the number of the line in which they start."""
        lines = io.StringIO(read_text(self.path), newline="")
        reader = csv.reader(itertools.chain(lines, [_END]), skipinitialspace=True)
        start = 1
        try:
            for row in reader:
                if row == [_END]:
                    return
                if row and row[-1].endswith(_END):
                    raise self.error(
                        f"line {start}",
                        "a quotation mark is never closed: close it, or double it if "
                        "it is part of a quoted field",
                    )
                if row:
                    yield start, row
                start = reader.line_num + 1
        except csv.Error as error:
            raise self.error(
                f"line {start}", f"not CSV ({error}): check the quotation marks"
            ) from error

    def write(self, path, cleaned):
        """See ``Manifest``."""
        with open(path, "w", encoding="utf-8", newline="", **ODD_NAMES) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(self._header)
            for _, row in self._rows:
                row = list(row)
                for column in self._audio:
                    if row[column]:
                        row[column] = self.new_path(row[column], cleaned)
                if None not in row:
                    writer.writerow(row)
