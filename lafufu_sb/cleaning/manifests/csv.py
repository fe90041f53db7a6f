"""SpeechBrain's CSV manifests."""

import csv
import io
import itertools
import re

from lafufu_sb.cleaning.manifests.base import register
from lafufu_sb.cleaning.manifests.table import TableManifest
from lafufu_sb.cleaning.manifests.text import read_text

_END = "\x1eend of file"  # added line; becomes part of a quotation left open


@register
class CsvManifest(TableManifest):
    """Fields between commas, quoted where needed; ``$name`` is a placeholder."""

    kind = "csv"
    endings = (".csv", ".csv.gz")
    placeholder = re.compile(r"\$([\w.]+)")
    unique = ("ID",)

    def rows(self):
        """See ``TableManifest``; the number is of the line in which a row starts."""
        text = io.StringIO(read_text(self.path), newline="")
        lines, count, width = [], 0, None  # lines of the row that is read

        def noted():
            for line in itertools.chain(text, [_END]):
                lines.append(line)
                yield line

        # Lenient reading would take a stray quotation mark as the start of a field
        # that swallows all rows up to the next one.
        reader = csv.reader(noted(), skipinitialspace=True, strict=True)
        try:
            for row in reader:
                start, count = count + 1, count + len(lines)
                if row == [_END]:
                    return
                if row:
                    self._check_lines(lines, width, start)
                    width = width or len(row)
                    yield start, row
                lines.clear()
        except csv.Error as error:
            place = f"line {count + 1}"
            if lines and lines[-1] == _END:
                raise self.error(
                    place,
                    "a quotation mark is never closed: close it, or double it if it "
                    "is part of a quoted field",
                ) from error
            raise self.error(
                place, f"not CSV ({error}): check the quotation marks"
            ) from error

    def _check_lines(self, lines, width, start):
        """Refuse a quotation that looks as if it had swallowed whole rows."""
        for number, line in enumerate(lines[1:], start + 1):
            if width is not None and line.count(",") + 1 == width:
                raise self.error(
                    f"line {start}",
                    f"a quotation goes on into line {number}, which looks like a row "
                    "of its own: close the quotation mark, or remove the line break",
                )

    def write_rows(self, stream, rows):
        """See ``TableManifest``."""
        csv.writer(stream, lineterminator="\n").writerows(rows)
