"""Kaldi's wav.scp."""

import re

from lafufu_sb.cleaning.manifests.base import Manifest, register
from lafufu_sb.cleaning.manifests.text import ODD_NAMES, read_text


@register
class KaldiManifest(Manifest):
    """An utterance and a path per line. Commands are never run, but refused."""

    kind = "kaldi"
    endings = (".scp",)
    subtype = "PCM_16"  # Kaldi reads no other

    def read(self):
        """See ``Manifest``."""
        self._lines = []
        for number, line in enumerate(read_text(self.path).split("\n"), 1):
            if not line.strip():
                continue
            utterance, text = (line.split(None, 1) + [""])[:2]
            text = text.strip()
            self._check(utterance, text, f"line {number}")
            self._lines.append((utterance, text))
            self.add(text, f"line {number}")

    def _check(self, utterance, text, place):
        if text.endswith("|"):
            raise self.error(
                place,
                f"{utterance!r} is a command (it ends in |): write its output to a "
                "file first, for example with Kaldi's wav-copy, and list the file",
            )
        if not text or text.startswith("|") or re.search(r"\.ark:\d+$", text):
            raise self.error(
                place, f"{utterance!r} must have the path of a recording, not {text!r}"
            )

    def write(self, path, cleaned):
        """See ``Manifest``."""
        with open(path, "w", encoding="utf-8", newline="\n", **ODD_NAMES) as stream:
            for utterance, text in self._lines:
                new = self.new_path(text, cleaned)
                if new is not None:
                    stream.write(f"{utterance} {new}\n")
