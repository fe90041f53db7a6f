"""Files of weights that hold something else than the weights of a module."""

import json
import pickle
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.weights import (
    check_weights,
    load_weights,
    read_weights,
    save_weights,
)

SHAPES = {"weight": (2, 3), "bias": (2,)}


def module():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def state(**changes):
    return {name: torch.ones(shape) for name, shape in SHAPES.items()} | changes


def header(path, content, data=b""):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def described(dtype="F32", weight=(2, 3)):
    """A header for 32 bytes."""
    weight = {"dtype": dtype, "shape": list(weight), "data_offsets": [0, 24]}
    return {
        "weight": weight,
        "bias": {"dtype": "F32", "shape": [2], "data_offsets": [24, 32]},
    }


def zipped(path, change):
    """An archive of ``torch.save``, written again with changed records."""
    torch.save(state(), path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        change(archive, records)


def compressed(archive, records):
    for name, content in records.items():
        archive.writestr(name, content + bytes(10**6), zipfile.ZIP_DEFLATED)


def with_pickle(content):
    def change(archive, records):
        for name, old in records.items():
            archive.writestr(name, content if name.endswith("data.pkl") else old)

    return change


def twice(archive, records):
    for name, content in records.items():
        archive.writestr(name, content)
    with pytest.warns(UserWarning):
        archive.writestr(next(iter(records)), b"")


class Bomb:
    """Asks for a hundred gigabytes, without any code that is not allowed."""

    def __reduce__(self):
        return bytearray, (10**11,)


BYTES = {
    "empty": lambda p: p.write_bytes(b""),
    "short": lambda p: p.write_bytes(b"\x08\0\0"),
    "no header": lambda p: header(p, b""),
    "long header": lambda p: p.write_bytes(struct.pack("<Q", 2**60) + b"{}"),
    "header beyond the file": lambda p: p.write_bytes(struct.pack("<Q", 900) + b"{}"),
    "not JSON": lambda p: header(p, b"{" * 100),
    "list": lambda p: header(p, [1, 2]),
    "shapes beyond the file": lambda p: header(p, described(), bytes(8)),
    "shape unlike its bytes": lambda p: header(
        p, described(weight=(200000, 300000)), bytes(32)
    ),
    "negative shape": lambda p: header(p, described(weight=(-2, -3)), bytes(32)),
    "bytes beyond the shapes": lambda p: header(p, described(), bytes(4096)),
    "unknown type": lambda p: header(p, described(dtype="X9"), bytes(32)),
    "old pickle": lambda p: torch.save(
        state(), p, _use_new_zipfile_serialization=False
    ),
    "compressed": lambda p: zipped(p, compressed),
    "a record twice": lambda p: zipped(p, twice),
    "bomb": lambda p: zipped(p, with_pickle(pickle.dumps({"weight": Bomb()}, 2))),
    "sparse": lambda p: torch.save(state(weight=torch.ones(2, 3).to_sparse()), p),
    "parameter": lambda p: torch.save(state(weight=nn.Parameter(torch.ones(2, 3))), p),
    "number": lambda p: torch.save(3, p),
    "list of tensors": lambda p: torch.save([torch.ones(2)], p),
    "numbers": lambda p: torch.save({"weight": 1.0, "bias": 2.0}, p),
    "numbered": lambda p: torch.save({1: torch.ones(2)}, p),
}


@pytest.mark.parametrize("kind", BYTES)
def test_files_of_something_else_are_refused(tmp_path, kind):
    path = tmp_path / "part.weights"
    BYTES[kind](path)
    for read in (read_weights, lambda file: check_weights(module(), file)):
        with pytest.raises(UsageError, match="part.weights is not a file of weights"):
            read(path)


@pytest.mark.parametrize("write", [save_file, torch.save], ids=["safetensors", "torch"])
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"weight": torch.ones(2, 4)}, r"weight is \(2, 4\) instead of \(2, 3\)"),
        ({"weight": torch.ones(6)}, r"weight is \(6,\) instead of"),
        ({"weight": torch.ones(2, 3, dtype=torch.int64)}, "weight is torch.int64"),
        ({"weight": torch.ones(2, 3, dtype=torch.bool)}, "weight is torch.bool"),
        ({"extra": torch.ones(1)}, "unexpected extra"),
    ],
)
def test_weights_of_another_form_are_refused(tmp_path, write, changes, problem):
    own, path = module(), tmp_path / "part.weights"
    before = own.weight.clone()
    write(state(**changes), path)
    with pytest.raises(UsageError, match=f"does not fit .* 1 differences: {problem}"):
        load_weights(own, path)
    assert torch.equal(own.weight, before)


def test_complex_weights_are_refused(tmp_path):
    path = tmp_path / "part.weights"
    torch.save(state(weight=torch.ones(2, 3, dtype=torch.complex64)), path)
    with pytest.raises(UsageError, match="part.weights"):
        load_weights(module(), path)


def test_whole_numbers_are_for_buffers_of_whole_numbers(tmp_path):
    norm, path = nn.BatchNorm1d(2), tmp_path / "part.weights"
    norm.num_batches_tracked += 70001
    save_weights(norm, path, half=True)
    other = nn.BatchNorm1d(2)
    load_weights(other, path)
    assert int(other.num_batches_tracked) == 70001
    wrong = norm.state_dict() | {"num_batches_tracked": torch.ones(())}
    save_file(wrong, path)
    with pytest.raises(UsageError, match="num_batches_tracked is torch.float32"):
        load_weights(other, path)


def test_tensors_larger_than_their_storage_take_no_memory(tmp_path):
    """``torch.save`` keeps strides: a view of one number may claim any shape."""
    path = tmp_path / "part.weights"
    torch.save(state(weight=torch.ones(1).expand(10**9, 10**3)), path)
    with pytest.raises(UsageError, match=r"weight is \(1000000000, 1000\) instead"):
        load_weights(module(), path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("write", [save_file, torch.save], ids=["safetensors", "torch"])
def test_all_floats_fit_and_keep_the_modules_type(tmp_path, dtype, write):
    own, path = module(), tmp_path / "part.weights"
    write({name: tensor.to(dtype) for name, tensor in state().items()}, path)
    load_weights(own, path)
    assert own.weight.dtype == torch.float32 and torch.equal(own.bias, torch.ones(2))


def test_meta_modules_are_checked_without_memory(tmp_path):
    path = tmp_path / "part.weights"
    save_file(state(), path)
    with torch.device("meta"):
        check_weights(nn.Linear(3, 2), path)
        with pytest.raises(UsageError, match="does not fit"):
            check_weights(nn.Linear(3 * 10**6, 2 * 10**6), path)


def test_saved_weights_have_the_permissions_of_other_files(tmp_path):
    (tmp_path / "other").write_text("")
    save_weights(module(), tmp_path / "part.weights")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_tied_and_transposed_weights_are_saved(tmp_path):
    own = nn.Linear(2, 2, bias=False)
    both = nn.ModuleList([own, own]).to(memory_format=torch.contiguous_format)
    own.weight.data = own.weight.data.T
    save_weights(both, tmp_path / "part.weights")
    assert torch.equal(read_weights(tmp_path / "part.weights")["1.weight"], own.weight)
