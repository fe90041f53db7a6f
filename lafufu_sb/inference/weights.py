"""Weight files, and the fingerprint that binds two networks together."""

import contextlib
import logging
import os
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file

from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole
from lafufu_sb.inference.torch_files import is_torch_file, read_torch_file
from lafufu_sb.lobes.fingerprint import fingerprint

logger = logging.getLogger(__name__)

_LONGEST_HEADER = 4 * 2**20  # bytes; a thousand weights need 100 kB
_DTYPES = {  # of safetensors
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def save_weights(module, path, half=False):
    """Write a module's state as safetensors, whole or not at all.

    Arguments
    ---------
    module : torch.nn.Module
        To save.
    path : str or Path
        File to write.
    half : bool
        Store floating-point weights in half precision.
    """
    state = {}
    for name, tensor in module.state_dict().items():
        to = torch.float16 if half and tensor.is_floating_point() else tensor.dtype
        state[name] = tensor.detach().to("cpu", to, copy=True).contiguous()
    with written_whole(path) as temporary:
        temporary.touch()  # with the user's permissions, which safetensors ignores
        mode = temporary.stat().st_mode
        save_file(state, temporary)
        temporary.chmod(mode)


def read_weights(path):
    """All tensors of a file of weights, on the CPU; no code of it runs.

    Arguments
    ---------
    path : str or Path
        What ``save_weights`` wrote, or a state saved by ``torch.save``.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    FileNotFoundError, UsageError
        If there is no such file, or it holds something else.
    """
    with _explained(path):
        if is_torch_file(path):
            return read_torch_file(path)
        _check_header_length(path)
        return load_file(path)


def check_weights(module, path):
    """Refuse a file that does not hold exactly the weights of a module.

    Nothing is read but names, types and shapes. The file's size must agree with them,
    so memory for a module that passes is no more than a few times the file.

    Arguments
    ---------
    module : torch.nn.Module
        On any device, "meta" too.
    path : str or Path
        See ``read_weights``.

    Raises
    ------
    FileNotFoundError, UsageError
        Names the first differences.
    """
    with _explained(path):
        found = _described(path)
    expected = {n: (t.dtype, tuple(t.shape)) for n, t in module.state_dict().items()}
    problems = [f"missing {key}" for key in sorted(expected.keys() - found.keys())]
    problems += [f"unexpected {key}" for key in sorted(found.keys() - expected.keys())]
    for key in sorted(expected.keys() & found.keys()):
        (dtype, shape), (own_dtype, own_shape) = found[key], expected[key]
        if shape != own_shape:
            problems.append(f"{key} is {shape} instead of {own_shape}")
        elif dtype != own_dtype and not (
            dtype.is_floating_point and own_dtype.is_floating_point
        ):
            problems.append(f"{key} is {dtype} instead of {own_dtype}")
    if problems:
        shown = "; ".join(problems[:5])
        raise UsageError(
            f"{Path(path).name} does not fit the model of the YAML, {len(problems)} "
            f"differences: {shown}. Use weights and hyperparams.yaml of the same export"
        )


def load_weights(module, path):
    """Load a module's state strictly, without running code from the file.

    SpeechBrain's own loading takes missing and unexpected keys for warnings and
    leaves random weights behind.

    Arguments
    ---------
    module : torch.nn.Module
        To fill.
    path : str or Path
        See ``read_weights``.

    Raises
    ------
    FileNotFoundError, UsageError
        See ``check_weights``.
    """
    check_weights(module, path)
    module.load_state_dict(read_weights(path))


def _described(path):
    """{name: (dtype, shape)} of a file, from its header."""
    if is_torch_file(path):  # its tensors are mapped, not read
        state = read_torch_file(path)
        return {name: (t.dtype, tuple(t.shape)) for name, t in state.items()}
    _check_header_length(path)
    with safetensors.safe_open(path, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}
        return {
            name: (_DTYPES[part.get_dtype()], tuple(part.get_shape()))
            for name, part in slices.items()
        }


def _check_header_length(path):
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(_LONGEST_HEADER, os.fstat(file.fileno()).st_size - 8):
            raise ValueError("no header of safetensors")


@contextlib.contextmanager
def _explained(path):
    """Turn whatever reading a damaged or foreign file raises into a UsageError."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"weights {path} do not exist")
    try:
        yield
    except PermissionError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{path.name} is not a file of weights ({type(error).__name__}: {reason})"
        ) from error


def check_fingerprint(representation, expected):
    """Refuse a representation other than the one a score model was exported with.

    Arguments
    ---------
    representation : torch.nn.Module
        With its weights loaded.
    expected : str or None
        ``fingerprint`` that the model folder notes. Without one there is a warning.

    Raises
    ------
    UsageError
        If its fingerprint is another one.
    """
    if expected is None:
        logger.warning(
            "the model folder has no representation_fingerprint, so weights of another "
            "representation go unnoticed: export the run again"
        )
        return
    mark = fingerprint(representation)
    if mark != expected:
        raise UsageError(
            "the weights of the representation are not those that the score model was "
            f"trained with (fingerprint {mark}, expected {expected}): export the run "
            "again"
        )
