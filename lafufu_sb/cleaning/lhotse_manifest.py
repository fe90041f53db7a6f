"""Lhotse's cut and recording manifests, read and written by lhotse itself."""

import gzip
import json

from lafufu_sb.cleaning.manifests import resolve
from lafufu_sb.errors import UsageError


class LhotseManifest:
    """A JSON line per cut or recording, read one at a time.

    Arguments
    ---------
    path : Path
        .jsonl or .jsonl.gz with MonoCuts, MultiCuts, MixedCuts or Recordings.

    Raises
    ------
    ImportError
        If lhotse is missing.
    UsageError
        For what is no audio file, or was computed from the audio as it was.
    """

    kind = "lhotse"
    root = None

    def __init__(self, path):
        self.path = path
        self.name = path.name
        self.sources = {}
        for item in self._items():
            for recording in self._recordings(item):
                for source in recording.sources:
                    if source.type != "file":
                        raise UsageError(
                            f"{path}: recording {recording.id!r} is of type "
                            f"{source.type!r}: only files can be cleaned, write it to "
                            "one first (such as with lhotse's save_audios)"
                        )
                    text = str(source.source)
                    self.sources.setdefault(text, resolve(text, path))
        if not self.sources:
            raise UsageError(f"{path} names no recordings")

    def _items(self):
        try:
            from lhotse import CutSet, RecordingSet, load_manifest_lazy
        except ImportError as error:
            raise ImportError(
                f'{self.path} needs lhotse: pip install "lafufu_sb[lhotse]"'
            ) from error
        try:
            items = load_manifest_lazy(self.path)
        except (ValueError, KeyError, OSError, AssertionError) as error:
            raise UsageError(
                f"{self.path} is no manifest of lhotse: {error}"
            ) from error
        if not isinstance(items, CutSet | RecordingSet):
            raise UsageError(
                f"{self.path} holds neither cuts nor recordings, but a "
                f"{type(items).__name__}"
            )
        return items

    def _recordings(self, item):
        if hasattr(item, "sources"):
            return [item]
        cuts = [track.cut for track in item.tracks] if _mixed(item) else [item]
        for cut in cuts:
            if getattr(cut, "features", None) is not None:
                raise UsageError(
                    f"{self.path}: cut {cut.id!r} has features of the audio as it was: "
                    "leave them out first (lhotse's drop_features)"
                )
        recordings = (getattr(cut, "recording", None) for cut in cuts)
        return [recording for recording in recordings if recording is not None]

    def check_rate_change(self):
        """Refuse another sample rate for what lhotse transforms as it reads."""
        for item in self._items():
            for recording in self._recordings(item):
                if recording.transforms:
                    raise UsageError(
                        f"{self.path}: recording {recording.id!r} is transformed while "
                        "it is read, which counts on its sample rate: keep the rate"
                    )

    def write(self, path, cleaned):
        """Write the cuts or recordings all of whose audio was cleaned."""
        with open(path, "wb") as file:
            # mtime: the same content is the same file, whenever it is written.
            packed = self.name.endswith(".gz")
            stream = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if packed else file
            for item in self._items():
                new = self._replaced(item, cleaned)
                if new is not None:
                    line = json.dumps(new.to_dict(), ensure_ascii=False)
                    stream.write(line.encode("utf-8", "surrogateescape") + b"\n")
            if packed:
                stream.close()

    def _replaced(self, item, cleaned):
        """The item with new recordings, or None if one of them is missing."""
        from lhotse.utils import fastcopy

        if hasattr(item, "sources"):
            return self._replaced_recording(item, cleaned)
        if _mixed(item):
            tracks = []
            for track in item.tracks:
                cut = self._replaced(track.cut, cleaned)
                if cut is None:
                    return None
                tracks.append(fastcopy(track, cut=cut))
            return fastcopy(item, tracks=tracks)
        if getattr(item, "recording", None) is None:
            return item  # padding
        recording = self._replaced_recording(item.recording, cleaned)
        return None if recording is None else fastcopy(item, recording=recording)

    def _replaced_recording(self, recording, cleaned):
        from lhotse.utils import fastcopy

        new = [cleaned[self.sources[str(s.source)]] for s in recording.sources]
        if None in new:
            return None
        sources = [
            fastcopy(source, source=result.path)
            for source, result in zip(recording.sources, new, strict=True)
        ]
        rate = new[0].sample_rate
        if recording.transforms or rate == recording.sampling_rate:
            return fastcopy(recording, sources=sources)  # counts are right as they are
        return fastcopy(
            recording,
            sources=sources,
            sampling_rate=rate,
            num_samples=new[0].samples,
            duration=new[0].samples / rate,
        )


def _mixed(item):
    return hasattr(item, "tracks")
