"""What the machine can do of what was asked for, and data on its way to a device."""

import functools
import logging
import os
import platform
from pathlib import Path

import torch

from lafufu_sb.errors import UsageError

logger = logging.getLogger(__name__)

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def give_way(problem, instead, fallback):
    """Go on with something else and say so, once a process, or refuse.

    Arguments
    ---------
    problem : str
        What cannot be done, and why.
    instead : str
        What is done in its place.
    fallback : bool
        Whether to go on.

    Raises
    ------
    UsageError
        Without ``fallback``.
    """
    if not fallback:
        raise UsageError(f"{problem}. Ask for something else, or allow a fallback")
    _warn_once(f"{problem}: {instead}")


@functools.cache
def _warn_once(message):
    logger.warning(message)


def usable_device(device, fallback=True):
    """The device, or the CPU where there is no such device.

    Arguments
    ---------
    device : str or torch.device
        Such as "cuda" or "cuda:1".
    fallback : bool
        Whether to do with the CPU, with a warning.

    Returns
    -------
    str

    Raises
    ------
    UsageError
        If the name is none of a device, or the device is missing and there is no
        fallback.

    Example
    -------
    >>> usable_device("cpu")
    'cpu'
    """
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"no device is called {device!r}: try cpu or cuda") from error
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition(". ")[0]  # of several sentences
        problem = f"device {str(device)!r} cannot be used ({reason})"
        give_way(problem, "computing on the CPU", fallback)
        return "cpu"
    return str(device)


def usable_dtype(precision, device, fallback=True):
    """Arithmetic that a device does fast, for the name of a precision.

    Arguments
    ---------
    precision : str
        One of ``PRECISIONS``.
    device : torch.device
        That computes.
    fallback : bool
        Whether to do with float32, with a warning.

    Returns
    -------
    torch.dtype

    Raises
    ------
    UsageError
        If the device cannot and there is no fallback.

    Example
    -------
    >>> usable_dtype("fp32", torch.device("cpu"))
    torch.float32
    """
    dtype = _DTYPES[precision]
    if dtype == torch.float32 or _has_arithmetic(dtype, device):
        return dtype
    problem = f"device {str(device)!r} has no {precision} arithmetic"
    give_way(problem, "computing in fp32", fallback)
    return torch.float32


def _has_arithmetic(dtype, device):
    """Whether convolutions of the type are computed, and not in a roundabout way."""
    if device.type == "cpu":
        query = {
            torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
            torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
        }
        return query[dtype]()
    if device.type == "cuda" and dtype == torch.bfloat16:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        x = torch.zeros(1, 1, 1, 1, dtype=dtype, device=device)
        torch.nn.functional.conv2d(x, x)
    except RuntimeError:
        return False
    return True


def to_device(tensor, device):
    """Copy to a device, without waiting for what a CUDA device has still to do.

    Arguments
    ---------
    tensor : torch.Tensor
        Anywhere.
    device : str or torch.device
        Where to.

    Returns
    -------
    torch.Tensor
    """
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu":
        # Only from page-locked memory does the copy run beside the computation.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def device_name(device):
    """Name of the processor or the accelerator."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return str(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} CPUs"


def synchronize(device):
    """Wait until the device has done what was asked of it."""
    if device.type != "cpu":
        torch.accelerator.synchronize()
