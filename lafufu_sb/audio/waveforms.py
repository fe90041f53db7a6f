"""Check waveforms and sample rates that users pass."""

import numpy
import torch

from lafufu_sb.errors import UsageError

SHORT = 480  # samples, 10 ms at 48 kHz
_NO_SAMPLES = " cannot hold samples: use floating-point numbers or signed integers"


def as_waveforms(noisy):
    """Convert a waveform to a tensor.

    Arguments
    ---------
    noisy : torch.Tensor or array
        Floating-point or signed integers, any shape.

    Returns
    -------
    torch.Tensor
        Arrays and lists become float32 on the CPU. A tensor is only detached.

    Raises
    ------
    UsageError
        If it is not an array of numbers or has another type. Unsigned integers are
        refused because their zero is not silence.

    Example
    -------
    >>> as_waveforms([0.5, -1]).dtype
    torch.float32
    """
    if not torch.is_tensor(noisy):
        try:
            array = numpy.asarray(noisy)
        except ValueError as error:
            raise UsageError(
                f"the waveform is not an array of numbers ({error})"
            ) from error
        if array.dtype.kind not in "fi":
            raise UsageError(f"the waveform's type {array.dtype}{_NO_SAMPLES}")
        with numpy.errstate(over="ignore"):  # infinite then, and refused as such
            noisy = torch.from_numpy(array.astype(numpy.float32))
    signed = noisy.dtype in (torch.int8, torch.int16, torch.int32, torch.int64)
    if not (noisy.is_floating_point() or signed):
        raise UsageError(f"the waveform's type {noisy.dtype}{_NO_SAMPLES}")
    return noisy.detach()


def check_batch(wavs):
    """Check that a tensor is a batch of waveforms.

    Arguments
    ---------
    wavs : torch.Tensor
        (batch, time). Each channel of a recording is an item.

    Raises
    ------
    UsageError
        For another shape, for items without samples, and for more items than samples
        of less than 10 ms (480 samples): such an array is (time, channels).
    """
    shape = tuple(wavs.shape)
    if wavs.dim() != 2 or shape[1] == 0:
        hint = ": make each channel an item" if wavs.dim() == 3 else ""
        raise UsageError(
            f"expected waveforms of shape (batch, time), got {shape}{hint}"
        )
    items, samples = shape
    if samples < min(items, SHORT):
        raise UsageError(
            f"{items} waveforms of {samples} samples: if the shape {shape} is (time, "
            "channels), transpose it to (channels, time)"
        )


def as_rate(sample_rate):
    """Return a sample rate as an int; raise UsageError if it is not one.

    Example
    -------
    >>> as_rate(16000.0)
    16000
    """
    try:
        whole = int(sample_rate)
    except (TypeError, ValueError, OverflowError):
        whole = 0
    if whole < 1 or whole != sample_rate:
        raise UsageError(
            f"sample_rate is a whole number of Hz, at least 1, got {sample_rate!r}"
        )
    return whole
