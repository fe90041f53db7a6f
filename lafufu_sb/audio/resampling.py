"""Another sample rate, for a whole signal or block by block with the same result."""

import math

import scipy.signal
import torch
import torchaudio

_LARGEST_KERNEL = 2**24  # elements; torchaudio tabulates its filter for every phase


def resample(wavs, from_rate, to_rate):
    """Resample the last axis.

    Arguments
    ---------
    wavs : torch.Tensor
        (..., time), float32.
    from_rate, to_rate : int
        Hz.

    Returns
    -------
    torch.Tensor
        (..., ceil(time * to_rate / from_rate)).

    Example
    -------
    >>> resample(torch.zeros(2, 441), 44100, 48000).shape
    torch.Size([2, 480])
    """
    if from_rate * to_rate <= _LARGEST_KERNEL * math.gcd(from_rate, to_rate) ** 2:
        return torchaudio.functional.resample(wavs, from_rate, to_rate)
    # Rates with next to no common factor, for which the table would take gigabytes.
    out = scipy.signal.resample_poly(wavs.cpu().numpy(), to_rate, from_rate, axis=-1)
    return torch.from_numpy(out).to(wavs)


def resample_blocks(blocks, from_rate, to_rate):
    """Resample a signal that comes in blocks, as if it were resampled whole.

    Arguments
    ---------
    blocks : iterable of torch.Tensor
        (channels, time) each, of any lengths.
    from_rate, to_rate : int
        Hz.

    Yields
    ------
    torch.Tensor
        (channels, time), when enough of the input is there; lengths differ from those
        that came in.

    Example
    -------
    >>> blocks = torch.randn(1, 100_000).split(30_000, dim=1)
    >>> sum(block.shape[1] for block in resample_blocks(blocks, 48000, 16000))
    33334
    """
    if from_rate == to_rate:
        yield from blocks
        return
    # The filters begin anew with every group of `step` samples, which become `made`.
    step, made = (rate // math.gcd(from_rate, to_rate) for rate in (from_rate, to_rate))
    reach = 12 * max(1, from_rate / to_rate)  # samples; that of the longer filter is 10
    margin = math.ceil(reach / step)  # groups on either side that a group depends on
    kept, before = None, 0  # input that is still needed, its groups that are done
    for block in blocks:
        kept = block if kept is None else torch.cat([kept, block], dim=1)
        ready = kept.shape[1] // step - margin
        if ready <= before:
            continue
        out = resample(kept[:, : (ready + margin) * step], from_rate, to_rate)
        yield out[:, before * made : ready * made]
        dropped = max(0, ready - margin)
        kept, before = kept[:, dropped * step :], ready - dropped
    if kept is not None:
        yield resample(kept, from_rate, to_rate)[:, before * made :]
