"""TSV manifests, such as those of Common Voice."""

import os

from lafufu_sb.cleaning.manifests.base import register
from lafufu_sb.cleaning.manifests.table import TableManifest
from lafufu_sb.cleaning.manifests.text import read_text

_CLIPS = "clips"  # folder beside the table that Common Voice's paths start at


@register
class TsvManifest(TableManifest):
    """Fields between tabs. Quotation marks are part of the text."""

    kind = "tsv"
    endings = (".tsv", ".tsv.gz")

    def rows(self):
        """See ``TableManifest``."""
        for number, line in enumerate(read_text(self.path).split("\n"), 1):
            line = line.removesuffix("\r")
            if line:
                yield number, line.split("\t")

    def write_rows(self, stream, rows):
        """See ``TableManifest``."""
        stream.writelines("\t".join(row) + "\n" for row in rows)

    def _resolved(self, text, place):
        found = super()._resolved(text, place)
        clip = os.path.abspath(self.path.parent / _CLIPS / text)
        return clip if not os.path.exists(found) and os.path.exists(clip) else found
