"""What is restored so far of a long recording, from which a killed run goes on."""

import fcntl
import zlib

import torch


class PartialResult:
    """The restored blocks of a recording in a file, each written once it is made.

    Arguments
    ---------
    path : Path
        The file: after each other the blocks' check sums and samples, float32.
    channels : int
        Of the recording.
    lengths : sequence of int
        Samples of all its blocks.

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
        """Of all blocks those that were not found in the file, one at least."""
        return max(1, len(self._lengths) - self._found) / len(self._lengths)

    def blocks(self, make):
        """All blocks: those of the file, then those that are made and added to it.

        Arguments
        ---------
        make : callable
            ``make(begin=n)``: iterable over the blocks from number ``n`` on.

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
        with open(self._path, "a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # another process makes the same: each its own
                yield from make(begin=0)
                return
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
            file.truncate(end)  # a block that was cut off
            for block in make(begin=self._found):
                data = block.float().contiguous().numpy().tobytes()
                file.write(_sum(data) + data)
                file.flush()  # to the system, which outlives this process
                yield block

    def _read(self, file, length):
        size = 4 * self._channels * length
        check, data = file.read(4), file.read(size)
        # A machine that went down may have left zeros where there should be samples.
        if len(data) < size or check != _sum(data):
            return None
        samples = torch.frombuffer(bytearray(data), dtype=torch.float32)
        return samples.reshape(self._channels, length)

    def remove(self):
        """Delete the file: the recording is done."""
        self._path.unlink(missing_ok=True)


def _sum(data):
    return zlib.crc32(data).to_bytes(4, "little")
