"""Change the sample rate of whole signals, or of blocks with the same result."""

import math

import torch
import torchaudio

_LARGEST_KERNEL = 2**24  # elements; torchaudio tabulates its filter for every phase


def resample(wavs, from_rate, to_rate, width=6):
    """Resample the last axis with a windowed sinc filter.

    Arguments
    ---------
    wavs : torch.Tensor
        (..., time), float32 or float64.
    from_rate, to_rate : int
        Hz.
    width : int
        Zero crossings of the filter on either side. More make its edge steeper: 6
        passes images near 20 kHz when a corpus is resampled from 44.1 kHz, 32 does
        not.

    Returns
    -------
    torch.Tensor
        (..., ceil(time * to_rate / from_rate)).

    Example
    -------
    >>> resample(torch.zeros(2, 441), 44100, 48000).shape
    torch.Size([2, 480])
    """
    if from_rate == to_rate or not wavs.numel():
        return wavs
    if from_rate * to_rate <= _LARGEST_KERNEL * math.gcd(from_rate, to_rate) ** 2:
        return torchaudio.functional.resample(wavs, from_rate, to_rate, width)
    # For rates with hardly a common factor the table would take gigabytes.
    from scipy.signal import resample_poly  # takes a second to import

    out = resample_poly(wavs.cpu().numpy(), to_rate, from_rate, axis=-1)
    return torch.from_numpy(out).to(wavs)


def resample_blocks(blocks, from_rate, to_rate):
    """Resample a signal that arrives in blocks; equals resampling it whole.

    Arguments
    ---------
    blocks : iterable of torch.Tensor
        (channels, time) each, of any lengths.
    from_rate, to_rate : int
        Hz.

    Yields
    ------
    torch.Tensor
        (channels, time), as soon as enough input has arrived; the lengths differ from
        those of the input.

    Example
    -------
    >>> blocks = torch.randn(1, 100_000).split(30_000, dim=1)
    >>> sum(block.shape[1] for block in resample_blocks(blocks, 48000, 16000))
    33334
    """
    if from_rate == to_rate:
        yield from blocks
        return
    # Each group of `step` input samples gives `made` output samples; the filter's
    # phases repeat with every group.
    step, made = (rate // math.gcd(from_rate, to_rate) for rate in (from_rate, to_rate))
    reach = 12 * max(1, from_rate / to_rate)  # samples; scipy's longer filter needs 10
    margin = math.ceil(reach / step)  # groups on either side that a group depends on
    kept, done = None, 0  # input still needed, and how many of its groups are done
    for block in blocks:
        kept = block if kept is None else torch.cat([kept, block], dim=1)
        ready = kept.shape[1] // step - margin
        if ready <= done:
            continue
        out = resample(kept[:, : (ready + margin) * step], from_rate, to_rate)
        yield out[:, done * made : ready * made]
        dropped = max(0, ready - margin)
        kept, done = kept[:, dropped * step :], ready - dropped
    if kept is not None:
        yield resample(kept, from_rate, to_rate)[:, done * made :]
