"""Transcripts of Multilingual LibriSpeech, whose recordings lie at fixed places."""

import os

from lafufu_sb.cleaning.manifests.base import Manifest, register
from lafufu_sb.cleaning.manifests.text import read_text, text_writer

_NAME, _FOLDER = "transcripts.txt", "audio"
_SUFFIXES = (".flac", ".opus", ".wav")  # as distributed, and as restored


@register
class MlsManifest(Manifest):
    """A line per recording: SPEAKER_BOOK_NUMBER, a tab, and the words.

    The recording is audio/SPEAKER/BOOK/SPEAKER_BOOK_NUMBER.flac. The results have the
    same places, so that the new transcripts describe them.
    """

    kind = "mls"

    @classmethod
    def recognises(cls, path):
        """See ``Manifest``: by the name, and the folder of the recordings beside it."""
        return path.name == _NAME and (path.parent / _FOLDER).is_dir()

    def read(self):
        """See ``Manifest``; the path follows from the identifier."""
        self.root, self._lines = os.path.abspath(self.path.parent), {}
        for number, line in enumerate(read_text(self.path).split("\n"), 1):
            if not line.strip():
                continue
            name, place = line.partition("\t")[0], f"line {number}"
            parts = name.split("_")
            if "\t" not in line or len(parts) != 3 or not all(map(str.isalnum, parts)):
                raise self.error(
                    place, f"{name[:40]!r} must be SPEAKER_BOOK_NUMBER before a tab"
                )
            if name in self._lines:
                raise self.error(place, f"{name!r} is there twice: remove one")
            self._lines[name] = line
            self.add(name, place)

    def _resolved(self, text, place):
        speaker, book, _ = text.split("_")
        stem = os.path.join(self.root, _FOLDER, speaker, book, text)
        found = (stem + suffix for suffix in _SUFFIXES if os.path.exists(stem + suffix))
        return next(found, stem + _SUFFIXES[0])

    def write(self, path, cleaned):
        """See ``Manifest``."""
        with text_writer(path) as stream:
            for name, line in self._lines.items():
                if self.new_path(name, cleaned) is not None:
                    stream.write(line.removesuffix("\r") + "\n")
