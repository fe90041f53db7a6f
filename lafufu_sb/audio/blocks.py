"""Regroup and cut streams of audio blocks, (channels, samples) each."""

import torch


def side_by_side(stream, channels):
    """Stack blocks of single channels, which arrive in turns, to multichannel blocks.

    Arguments
    ---------
    stream : iterable of (signal, block)
        Blocks (samples,) of channel 0, 1, ... in turn, as ``stream_windows`` yields
        them for a tuple of signals.
    channels : int
        Number of channels.

    Yields
    ------
    torch.Tensor
        (channels, samples).
    """
    row = []
    for _, block in stream:
        row.append(block)
        if len(row) == channels:
            yield torch.stack(row)
            row = []


def cut_blocks(blocks, length):
    """Drop all samples of a stream beyond a total length.

    Arguments
    ---------
    blocks : iterable of torch.Tensor
        (channels, samples) each.
    length : int
        Total number of samples to keep.

    Yields
    ------
    torch.Tensor
        (channels, samples); some may be empty.

    Example
    -------
    >>> [block.shape[1] for block in cut_blocks([torch.zeros(1, 4)] * 2, 5)]
    [4, 1]
    """
    for block in blocks:
        yield block[:, :length]
        length -= min(length, block.shape[1])
