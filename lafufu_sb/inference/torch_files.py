"""States saved by ``torch.save``: the weights of earlier versions, and checkpoints.

``torch.load(weights_only=True)`` runs no code of a file, but unpacks compressed
records of any size and builds byte strings of any length. Such files are refused here.
"""

import pickletools
import zipfile

import torch

_LONGEST_PICKLE = 4 * 2**20  # bytes; a thousand weights need 200 kB
_GLOBALS = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2"}
_GLOBALS |= {
    f"torch {kind}Storage"
    for kind in "Double Float Half BFloat16 Long Int Short Char Byte Bool".split()
}
_OTHER_CALLS = {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"}
_OTHER_CALLS |= {"EXT1", "EXT2", "EXT4", "BYTEARRAY8"}


def is_torch_file(path):
    """Whether a file begins like the archives of ``torch.save``."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\3\4"


def read_torch_file(path):
    """Tensors of a saved state, mapped from the file instead of read.

    Arguments
    ---------
    path : str or Path
        What ``torch.save`` wrote.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    ValueError and others
        If it holds something else than tensors by name, or more than it is large.
    """
    _check_pickle(check_archive(path))
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}")
    for name, tensor in state.items():
        plain = type(tensor) is torch.Tensor and tensor.layout == torch.strided
        if not isinstance(name, str) or not plain:
            raise ValueError(f"{str(name)[:100]} is no tensor")
    return dict(state)


def check_archive(path):
    """Refuse archives whose records take more memory than the file is large.

    Returns
    -------
    bytes
        The pickle that names the tensors.

    Raises
    ------
    ValueError, zipfile.BadZipFile
        Says what is wrong.
    """
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        size = archive.fp.seek(0, 2)
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise ValueError("its records are compressed")
        if sum(max(r.file_size, r.compress_size) for r in records) > size:
            raise ValueError("its records are larger than the file")
        if len({record.filename for record in records}) != len(records):
            raise ValueError("it has a record twice")
        pickles = [r for r in records if r.filename.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1 or pickles[0].file_size > _LONGEST_PICKLE:
            raise ValueError("it has no list of weights")
        return archive.read(pickles[0])


def _check_pickle(pickle):
    for code, argument, _ in pickletools.genops(pickle):
        if code.name in _OTHER_CALLS or (
            code.name == "GLOBAL" and argument not in _GLOBALS
        ):
            raise ValueError(f"it refers to {argument or code.name}")
