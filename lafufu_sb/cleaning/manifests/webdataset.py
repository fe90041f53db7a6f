"""WebDataset's tar shards."""

import contextlib
import copy
import io
import os
import tarfile

from lafufu_sb.cleaning.manifests.base import register
from lafufu_sb.cleaning.manifests.packed import PackedManifest, is_audio, new_name
from lafufu_sb.cleaning.manifests.text import json_text
from lafufu_sb.errors import UsageError

_BLOCK = 512  # bytes; two blocks of zeros end an archive
_ADDED = "score.json"  # extension of the fields that are added


@register
class WebDatasetManifest(PackedManifest):
    """Files of a sample follow each other and share the name up to the first dot.

    Columns are extensions: what follows that dot, such as "flac" or "noisy.wav". Fields
    are added to a sample as a file "score.json".
    """

    adds_fields = True

    kind = "webdataset"
    endings = (".tar",)
    part_suffix = ".tar"

    def read(self):
        """See ``Manifest``."""
        super().read()
        self.columns = [name.lstrip(".").lower() for name in self.columns]

    def recordings(self, part):
        """See ``PackedManifest``."""
        with self._opened(part) as tar:
            heard, members = None, list(_members(tar))
            self._check_end(part, tar)  # first: then no data are missing
            for place, sample, member in members:
                if not self._is_recording(member):
                    continue
                if not member.isreg() or member.issparse():
                    raise self._error(
                        part,
                        f"{place} {member.name!r} is a link or sparse: pack the file "
                        "itself",
                    )
                if sample == heard and not self.columns:
                    raise self._error(
                        part,
                        f"{place} {member.name!r} is another recording of its sample: "
                        "choose with --column, for example --column "
                        f"{_split(member)[1]}",
                    )
                heard = sample
                yield place, _split(member)[1], member.name, tar.extractfile(member)

    def _is_recording(self, member):
        _, extension = _split(member)
        if member.isdir() or member.name.rpartition("/")[2].startswith("._"):
            return False
        if self.columns:
            return extension in self.columns
        return is_audio(f".{extension}")

    def _check_end(self, part, tar):
        """tarfile takes a damaged header for the end."""
        tar.fileobj.seek(tar.offset)
        rest = tar.fileobj.read(_BLOCK)
        if len(rest) < _BLOCK or any(rest):
            raise self._error(
                part, f"damaged or incomplete after byte {tar.offset}: copy it again"
            )
        while rest := tar.fileobj.read(2**20):
            if rest.count(0) < len(rest):
                raise self._error(
                    part,
                    f"more data follow the end of the archive at byte {tar.offset}: "
                    "unpack it with tar --ignore-zeros, and pack it again",
                )

    @contextlib.contextmanager
    def _opened(self, part):
        try:
            with tarfile.open(self.parts[part], "r:") as tar:
                yield tar
        except (tarfile.TarError, EOFError) as error:
            raise self._error(part, f"not a whole tar file ({error})") from error

    def _error(self, part, message):
        return UsageError(f"{self.parts[part]}: {message}")

    def write_part(self, part, path, cleaned):
        """See ``PackedManifest``; a sample needs the results of all its recordings."""
        with self._opened(part) as tar, tarfile.open(path, "w") as out:
            members = list(_members(tar))
            names = {member.name for _, _, member in members}
            failed = {
                sample
                for place, sample, _ in members
                if self.has(part, place) and self.result(part, place, cleaned) is None
            }
            last = {sample: place for place, sample, _ in members}
            added = self._added(part, members, cleaned)
            for place, sample, member in members:
                if sample in failed:
                    continue
                if added and _split(member)[1] == _ADDED:
                    pass  # of an earlier run
                elif not self.has(part, place):
                    data = tar.extractfile(member) if member.isreg() else None
                    out.addfile(member, data)
                else:
                    result = self.result(part, place, cleaned)
                    with open(result.path, "rb") as data:
                        out.addfile(_replaced(member, result, names), data)
                if last[sample] == place and sample in added:
                    _add_json(out, member, added[sample])

    def _added(self, part, members, cleaned):
        """Fields of each sample, see ``Manifest.added``."""
        texts = {}
        for place, sample, member in members:
            if self.has(part, place):
                found = texts.setdefault(sample, dict.fromkeys(self.columns))
                found[_split(member)[1]] = f"{part} {place}"
        fields = {s: self.added(found, cleaned) for s, found in texts.items()}
        return {sample: values for sample, values in fields.items() if values}


def _add_json(tar, member, values):
    """Append the fields of a sample, like its last member."""
    data = (json_text(values) + "\n").encode()
    new = tarfile.TarInfo(f"{_split(member)[0]}.{_ADDED}")
    new.size, new.mtime, new.mode = len(data), member.mtime, member.mode
    tar.addfile(new, io.BytesIO(data))


def _replaced(member, result, names):
    """The header of a result: name and size change."""
    new, name = copy.copy(member), new_name(member.name, result)
    if name != member.name and name in names:
        name = member.name + os.path.splitext(result.path)[1]  # a.mp3.wav
    new.name, new.size = name, os.stat(result.path).st_size
    # tarfile prefers these to the attributes.
    new.pax_headers = {
        key: value
        for key, value in member.pax_headers.items()
        if key not in ("path", "size")
    }
    return new


def _members(tar):
    """Place, number of the sample, and header of each member."""
    sample, last = 0, None
    for number, member in enumerate(tar):
        name, _ = _split(member)
        if name != last:
            sample, last = sample + 1, name
        yield f"member {number}", sample, member


def _split(member):
    """Name of the sample, and extension in lower case."""
    folder, slash, name = member.name.rpartition("/")
    stem, _, extension = name.partition(".")
    return folder + slash + stem, extension.lower()
