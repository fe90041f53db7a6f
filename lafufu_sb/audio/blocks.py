"""Blocks of audio, (channels, samples) each, one after the other."""

import torch


def side_by_side(stream, channels):
    """Blocks of channels, which take turns, as blocks of them all.

    Arguments
    ---------
    stream : iterable of (signal, block)
        As ``stream_windows`` yields for a tuple of signals.
    channels : int
        Their number.

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
    """Blocks without what lies beyond a length.

    Arguments
    ---------
    blocks : iterable of torch.Tensor
        (channels, samples) each.
    length : int
        Samples of all together.

    Yields
    ------
    torch.Tensor
        (channels, samples), some of which may be empty.

    Example
    -------
    >>> [block.shape[1] for block in cut_blocks([torch.zeros(1, 4)] * 2, 5)]
    [4, 1]
    """
    for block in blocks:
        yield block[:, :length]
        length -= min(length, block.shape[1])
