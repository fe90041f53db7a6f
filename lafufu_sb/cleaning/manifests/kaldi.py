"""Kaldi's wav.scp."""

import re

from lafufu_sb.cleaning.manifests.base import Manifest, register
from lafufu_sb.cleaning.manifests.text import read_text, text_writer
from lafufu_sb.errors import UsageError

_SEGMENTS = "segments"


@register
class KaldiManifest(Manifest):
    """A recording's name and path per line. Commands are never run, but refused."""

    kind = "kaldi"
    endings = (".scp",)
    subtype = "PCM_16"  # Kaldi reads no other

    @classmethod
    def recognises(cls, path):
        """See ``Manifest``; it takes ``segments`` to say what to do with them."""
        return path.name == _SEGMENTS and path.is_file()

    def read(self):
        """See ``Manifest``."""
        if self.path.name == _SEGMENTS:
            raise UsageError(
                f"{self.path} names parts of the recordings in wav.scp: clean wav.scp. "
                "The results have the same lengths, so copy segments as it is"
            )
        self._lines = {}
        for number, line in enumerate(read_text(self.path).split("\n"), 1):
            if not line.strip():
                continue
            utterance, text = (line.split(None, 1) + [""])[:2]
            text = text.strip()
            self._check(utterance, text, f"line {number}")
            self._lines[utterance] = text
            self.add(text, f"line {number}")

    def _check(self, utterance, text, place):
        if utterance in self._lines:
            raise self.error(place, f"{utterance!r} is there twice: rename one")
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
        with text_writer(path) as stream:
            for utterance, text in self._lines.items():
                new = self.new_path(text, cleaned)
                if new is not None:
                    stream.write(f"{utterance} {new}\n")
