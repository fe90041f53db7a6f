"""Devices and precisions that the machine has, and copies to a device."""

import contextlib
import functools
import logging
import os
import platform
import sys
from pathlib import Path

import torch

from lafufu_sb.errors import UsageError

logger = logging.getLogger(__name__)

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def fall_back(problem, instead, fallback):
    """Warn once per process that something else is done, or refuse.

    Arguments
    ---------
    problem : str
        What cannot be done, and why.
    instead : str
        What is done instead.
    fallback : bool
        Whether to continue.

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
    """The device, or the CPU if the machine lacks it.

    Arguments
    ---------
    device : str or torch.device
        Such as "cuda" or "cuda:1".
    fallback : bool
        Whether the CPU replaces a missing device, with a warning.

    Returns
    -------
    str

    Raises
    ------
    UsageError
        If no device has this name, or it is missing and there is no fallback.

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
        fall_back(problem, "computing on the CPU", fallback)
        return "cpu"
    return str(device)


def usable_dtype(precision, device, fallback=True):
    """The dtype of a precision, or float32 if the device does not compute it fast.

    Arguments
    ---------
    precision : str
        One of ``PRECISIONS``.
    device : torch.device
        Device of the computation.
    fallback : bool
        Whether float32 replaces a missing precision, with a warning.

    Returns
    -------
    torch.dtype

    Raises
    ------
    UsageError
        If the device lacks it and there is no fallback.

    Example
    -------
    >>> usable_dtype("fp32", torch.device("cpu"))
    torch.float32
    """
    dtype = _DTYPES[precision]
    if dtype == torch.float32 or _has_arithmetic(dtype, device):
        return dtype
    problem = f"device {str(device)!r} has no {precision} arithmetic"
    fall_back(problem, "computing in fp32", fallback)
    return torch.float32


def _has_arithmetic(dtype, device):
    """Whether the device computes convolutions of the type natively."""
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
    """Copy to a device without blocking on a CUDA queue.

    Arguments
    ---------
    tensor : torch.Tensor
        On any device.
    device : str or torch.device
        Target.

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
    """Wait until the device has finished its queue."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


def peak_rss():
    """Largest resident memory of this process so far, bytes."""
    # Not ru_maxrss on Linux: there a child starts with the value of its parent.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_memory(device):
    """Peak bytes of a CUDA device's allocator, on others of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_rss()
