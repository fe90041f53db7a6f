"""The restored part of a long recording, from which a killed run resumes."""

import contextlib
import zlib

import torch

from lafufu_sb.cleaning.locks import locked
from lafufu_sb.errors import UsageError
from lafufu_sb.files import named_errors


class PartialResult:
    """The restored blocks of a recording, each appended to a file once computed.

    Arguments
    ---------
    path : Path
        The file: check sum and samples (float32) of each block in turn.
    channels : int
        Of the recording.
    lengths : sequence of int
        Samples of each of its blocks.

    Example
    -------
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "begun"
    >>> def make(begin):
    ...     for number in range(begin, 3):
    ...         print("makes", number)
    ...         yield torch.full((1, 2), float(number))
    >>> killed = PartialResult(path, 1, [2, 2, 2]).blocks(make)
    >>> next(killed).tolist(), next(killed).tolist()
    makes 0
    makes 1
    ([[0.0, 0.0]], [[1.0, 1.0]])
    >>> killed.close()
    >>> torch.cat(list(PartialResult(path, 1, [2, 2, 2]).blocks(make)), 1).tolist()
    makes 2
    [[0.0, 0.0, 1.0, 1.0, 2.0, 2.0]]
    """

    def __init__(self, path, channels, lengths):
        self._path, self._channels, self._lengths = path, channels, lengths
        self._found = 0

    @property
    def share_made(self):
        """Share of the blocks that were not found in the file, at least one block."""
        return max(1, len(self._lengths) - self._found) / len(self._lengths)

    def blocks(self, make):
        """All blocks: first those in the file, then new ones, which are appended.

        Arguments
        ---------
        make : callable
            ``make(begin=n)`` iterates over the blocks from number ``n`` on.

        Yields
        ------
        torch.Tensor
            (channels, samples).

        Raises
        ------
        OSError
            If the file cannot be written, as on a full disk.
        """
        self._path.parent.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                lock = locked(self._path.with_name(f"{self._path.name}.lock"), "it")
                stack.enter_context(lock)
            except UsageError:  # another process restores it: do not share the file
                yield from make(begin=0)
                return
            file = stack.enter_context(open(self._path, "a+b"))
            file.seek(0)
            end = 0
            for length in self._lengths:
                block = self._read(file, length)
                if block is None:
                    break
                self._found += 1
                end = file.tell()
                yield block
            if self._found == len(self._lengths):
                return
            file.truncate(end)  # an incomplete block
            for block in make(begin=self._found):
                data = block.float().contiguous().numpy().tobytes()
                with named_errors(self._path):
                    file.write(_sum(data) + data)
                    file.flush()  # to the system, which outlives this process
                yield block

    def _read(self, file, length):
        size = 4 * self._channels * length
        check, data = file.read(4), file.read(size)
        # After a crash of the machine, the file may hold zeros instead of samples.
        if len(data) < size or check != _sum(data):
            return None
        samples = torch.frombuffer(bytearray(data), dtype=torch.float32)
        return samples.reshape(self._channels, length)

    def remove(self):
        """Delete the file once the recording is done."""
        self._path.unlink(missing_ok=True)


def _sum(data):
    return zlib.crc32(data).to_bytes(4, "little")
