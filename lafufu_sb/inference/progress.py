"""A progress bar over restored blocks."""

import sys

from tqdm import tqdm


def with_progress(stream, total, sample_rate, show):
    """Pass a stream through, with a bar on the standard error stream.

    Arguments
    ---------
    stream : iterable of (signal, block)
        As ``Restorer.stream`` yields.
    total : int
        Samples of all signals together.
    sample_rate : int
        Hz.
    show : bool
        Whether there is a bar.
    """
    with tqdm(
        total=total,
        unit_scale=1 / sample_rate,
        file=sys.stderr,
        disable=not show,
        bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} s [{elapsed}<{remaining}]",
    ) as bar:
        for signal, block in stream:
            yield signal, block
            bar.update(len(block))
