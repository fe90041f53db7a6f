"""Lhotse's cut and recording manifests, read and written by lhotse itself."""

import math

from lafufu_sb.cleaning.manifests.base import Manifest, register
from lafufu_sb.cleaning.manifests.text import json_text, text_writer
from lafufu_sb.errors import MissingPackageError, UsageError


@register
class LhotseManifest(Manifest):
    """MonoCuts, MultiCuts, MixedCuts or Recordings, one per line of JSON.

    Items are read one at a time, so that the manifest need not fit in memory.
    """

    kind = "lhotse"
    endings = (".jsonl", ".jsonl.gz")
    adds_fields = True  # to the custom fields of cuts; recordings have none

    def read(self):
        """See ``Manifest``; the files of all recordings are the paths."""
        for _, recordings in self._items():
            for recording in recordings:
                place = f"recording {recording.id!r}"
                seconds = None if recording.transforms else recording.duration
                for source in recording.sources:
                    self.add(source.source, place, seconds)

    def _items(self):
        """All items with their recordings; what lhotse raises names the item."""
        try:
            from lhotse import CutSet, RecordingSet, load_manifest_lazy
        except ImportError as error:
            raise MissingPackageError(
                f'{self.path} needs lhotse: pip install "lafufu_sb[lhotse]"'
            ) from error
        number = 1
        try:
            items = load_manifest_lazy(self.path)
            found = type(items).__name__
            if isinstance(items, CutSet | RecordingSet):
                for item in items:
                    recordings = self._recordings(item)
                    for recording in recordings:
                        self._check(recording)
                    json_text(item.to_dict())  # as it will be written
                    yield item, recordings
                    number += 1
                return
        except UsageError:
            raise
        except Exception as error:  # any type: lhotse does not check its input
            raise self.error(
                f"item {number}",
                f"lhotse cannot read it ({type(error).__name__}: {error}): is the file "
                "complete, and of cuts or recordings?",
            ) from error
        raise UsageError(
            f"{self.path} must hold cuts or recordings, not a {found} of lhotse"
        )

    def _check(self, recording):
        place = f"recording {recording.id!r}"
        for source in recording.sources:
            if source.type != "file":
                raise self.error(
                    place,
                    f"its source is of type {source.type!r}, only files can be "
                    "cleaned: write it to a file first, for example with lhotse's "
                    "save_audios",
                )
            if not isinstance(source.source, str):
                raise self.error(
                    place, f"its source must be a path, not {source.source!r}"
                )
        if not 0 < float(recording.duration) < math.inf:
            raise self.error(
                place, f"the duration {recording.duration} is no length: correct it"
            )

    def _recordings(self, item):
        if hasattr(item, "sources"):
            return [item]
        cuts = [track.cut for track in item.tracks] if _is_mixed(item) else [item]
        for cut in cuts:
            if getattr(cut, "features", None) is not None:
                raise self.error(
                    f"cut {cut.id!r}",
                    "it has features of the original audio: remove them first, for "
                    "example with lhotse's drop_features",
                )
        recordings = (getattr(cut, "recording", None) for cut in cuts)
        return [recording for recording in recordings if recording is not None]

    def check_rate_change(self):
        """Refuse recordings with transforms, which depend on the sample rate."""
        for _, recordings in self._items():
            for recording in recordings:
                if recording.transforms:
                    raise self.error(
                        f"recording {recording.id!r}",
                        "lhotse transforms it while it is read, at its present sample "
                        "rate: use --sample-rate keep",
                    )

    def write(self, path, cleaned):
        """See ``Manifest``; a cut needs results of all its recordings."""
        with text_writer(path, self.path.name.lower().endswith(".gz")) as stream:
            for item, _ in self._items():
                new = self._replaced(item, cleaned)
                if new is not None:
                    stream.write(json_text(new.to_dict()) + "\n")

    def _replaced(self, item, cleaned):
        """The item with new recordings, or None if a result is missing."""
        from lhotse.utils import fastcopy

        if hasattr(item, "sources"):
            return self._replaced_recording(item, cleaned)
        if _is_mixed(item):
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
        if recording is None:
            return None
        texts = {str(s.source): str(s.source) for s in item.recording.sources}
        if fields := self.added(texts, cleaned):
            item = fastcopy(item, custom=(item.custom or {}) | fields)
        return fastcopy(item, recording=recording)

    def _replaced_recording(self, recording, cleaned):
        from lhotse.utils import fastcopy

        new = [cleaned[self.sources[s.source]] for s in recording.sources]
        if None in new:
            return None
        sources = [
            fastcopy(source, source=result.path)
            for source, result in zip(recording.sources, new, strict=True)
        ]
        rate = new[0].sample_rate
        if recording.transforms or rate in (None, recording.sampling_rate):
            return fastcopy(recording, sources=sources)  # all counts stay right
        return fastcopy(
            recording,
            sources=sources,
            sampling_rate=rate,
            num_samples=new[0].samples,
            duration=new[0].samples / rate,
        )


def _is_mixed(item):
    return hasattr(item, "tracks")
