"""Fixed windows over a signal of any length, and noise that follows them.

Windows of one fixed length make the cost of a file proportional to its length, its
memory flat, and its result independent of whatever else is in the batch: a network
that normalises over all of its input (GroupNorm) never sees a neighbour's padding.
"""

import operator

import torch

from lafufu_sb.restoration.devices import to_device


class WindowPlan:
    """Where windows start and how their outputs are cross-faded.

    Arguments
    ---------
    window : int
        Samples of a window.
    stride : int
        Samples between the starts of neighbours, at least half of ``window``.

    Example
    -------
    >>> plan = WindowPlan(window=10, stride=8)
    >>> plan.starts(25)
    [0, 8, 16]
    >>> plan.starts(3)
    [0]
    """

    def __init__(self, window, stride):
        if not window <= 2 * stride <= 2 * window:
            raise ValueError(
                f"stride must lie between half of the window and the window "
                f"({window // 2} to {window} samples), got {stride}"
            )
        self.window = window
        self.stride = stride

    @property
    def overlap(self):
        """Samples that neighbours share."""
        return self.window - self.stride

    def starts(self, length):
        """First sample of each window that a signal of ``length`` samples needs."""
        count = 1 + max(0, -(-(length - self.window) // self.stride))
        return [i * self.stride for i in range(count)]

    def blocks(self, length):
        """Samples that each window of a signal adds to the result.

        Example
        -------
        >>> WindowPlan(window=10, stride=8).blocks(25)
        [8, 8, 9]
        """
        *_, last = starts = self.starts(length)
        return [self.stride] * (len(starts) - 1) + [length - last]

    def weights(self, first, last, device=None):
        """Cross-fade of one window, (window,): those of neighbours sum to one.

        Raised cosine over the overlap; a plain one at the outer ends of the signal.
        """
        weights = torch.ones(self.window, device=device)
        phase = (torch.arange(self.overlap, device=device) + 0.5) / max(self.overlap, 1)
        fade = torch.sin(0.5 * torch.pi * phase).square()
        if not first:
            weights[: self.overlap] = fade
        if not last:
            weights[self.stride :] = 1 - fade
        return weights


def fit_window(seconds, rate, grid):
    """Frames of the window that is nearest to a wanted length.

    Arguments
    ---------
    seconds : float
        Wanted.
    rate : float
        Frames a second.
    grid : int
        Windows are multiples of so many frames.

    Raises
    ------
    ValueError
        If the nearest one has no frames.

    Example
    -------
    >>> fit_window(2.0, rate=125, grid=64)
    256
    """
    if not grid / 2 < seconds * rate < float("inf"):
        raise ValueError(
            f"window must be some seconds, at least {grid / rate:.3g} and in steps of "
            f"as many, got {seconds}"
        )
    return round(seconds * rate / grid) * grid


def fit_overlap(seconds, rate, window, step):
    """Frames of the overlap that is nearest to a wanted length.

    Arguments
    ---------
    seconds : float
        Wanted, at most half of the window.
    rate : float
        Frames a second.
    window : int
        Frames of the window, which the overlap divides.
    step : int
        Overlaps are multiples of so many frames.

    Raises
    ------
    ValueError
        For more than half of the window, or nothing; names the choices.

    Example
    -------
    >>> fit_overlap(0.25, rate=125, window=256, step=4)
    32
    """
    choices = [n for n in range(step, window // 2 + 1, step) if window % n == 0]
    if not choices or not 0 < seconds * rate <= window / 2:
        names = ", ".join(f"{n / rate:.3g}" for n in choices) or "none"
        raise ValueError(
            f"overlap must be above 0 and at most half of the window; for one of "
            f"{window / rate:.3g} seconds the choices are {names}, got {seconds}"
        )
    return min(choices, key=lambda frames: abs(frames - seconds * rate))


class AnchoredNoise:
    """Noise that belongs to a place in the signal, not to an order of drawing.

    Each chunk of columns has a generator of its own, seeded by the item's seed and the
    chunk's place in the item. So two windows that overlap sample from the same
    noise where they overlap, which keeps their results together, and an item gets
    the same noise alone, in a batch, first or last.

    Arguments
    ---------
    seed : int or sequence of int
        Of all items, or for each window that of its item.
    first_columns : sequence of int
        For each window of the batch, the column of the item that it begins with; a
        multiple of ``chunk``.
    chunk : int
        Columns that share a generator.

    Example
    -------
    >>> noise = AnchoredNoise(seed=0, first_columns=[0, 2], chunk=2)
    >>> drawn = noise(torch.zeros(2, 1, 3, 4))
    >>> torch.equal(drawn[0, :, :, 2:], drawn[1, :, :, :2])
    True
    """

    def __init__(self, seed, first_columns, chunk):
        seeds = [seed] * len(first_columns) if isinstance(seed, int) else seed
        self._places = [  # (seed, chunk) at which each window begins
            (seed, column // chunk)
            for seed, column in zip(seeds, first_columns, strict=True)
        ]
        self.chunk = chunk
        self._generators = None

    def __call__(self, like):
        """Draw the next noise for a (windows, channels, height, columns) tensor."""
        windows, channels, height, columns = like.shape
        if self._generators is None:
            self._generators = [
                [_generator(seed, first + i) for i in range(-(-columns // self.chunk))]
                for seed, first in self._places
            ]
        shape = (channels, height, self.chunk)
        drawn = torch.stack(
            [
                torch.cat([torch.randn(shape, generator=g) for g in row], dim=-1)
                for row in self._generators
            ]
        )
        return to_device(drawn[..., :columns].to(like.dtype), like.device)


def _generator(seed, chunk):
    # Drawn on the CPU, so that a seed means the same on every device.
    seed = (operator.index(seed) * 1_000_003 + chunk) % 2**63
    return torch.Generator().manual_seed(seed)


class WindowSettings:
    """The part of a ``Restorer`` that chooses its windows.

    Needs the attributes ``spectrogram``, ``autoencoder``, ``score_model`` and
    ``sample_rate``.

    Attributes
    ----------
    window_frames, overlap_frames : int
        Those of a window, and those that neighbours share.
    plan : WindowPlan
        The same in samples.
    """

    def _begin_windows(self, window_frames, overlap_frames):
        self._usual_overlap = overlap_frames  # where a preset has none of its own
        self._set_frames(window_frames, overlap_frames)

    def set_windows(self, window=None, overlap=None):
        """Choose windows by length, the nearest ones that the networks can use.

        Arguments
        ---------
        window : float, optional
            Seconds of a window; by default it stays.
        overlap : float, optional
            Seconds that neighbours share, at most half of the window; by default as
            near to what it is as the window allows.

        Raises
        ------
        ValueError
            For what no window or overlap is near to; names those there are.
        """
        rate = self.sample_rate / self.spectrogram.hop_length  # frames a second
        frames, shared = self.window_frames, self.overlap_frames
        if window is not None:
            if hasattr(self.score_model, "precision"):
                raise ValueError("the window of ONNX graphs is fixed: leave window out")
            frames = fit_window(window, rate, self._grid)
        if window is not None or overlap is not None:
            wanted = shared / rate if overlap is None else overlap
            if overlap is None:
                wanted = min(wanted, 0.5 * frames / rate)
            shared = fit_overlap(wanted, rate, frames, self.autoencoder.reduction)
        if overlap is not None:
            self._usual_overlap = shared
        self._set_frames(frames, shared)

    def _share_frames(self, overlap):
        window = self.window_frames
        wanted = min(overlap or self._usual_overlap, window // 2)
        self._set_frames(
            window, fit_overlap(wanted, 1, window, self.autoencoder.reduction)
        )

    @property
    def _grid(self):
        return self.autoencoder.reduction * self.score_model.grid

    def _set_frames(self, window_frames, overlap_frames):
        reduction = self.autoencoder.reduction
        if window_frames % self._grid:
            raise ValueError(
                f"window_frames must be a multiple of {self._grid}, which the "
                f"autoencoder and the score model need, got {window_frames}"
            )
        fits = overlap_frames > 0 and window_frames % overlap_frames == 0
        if not fits or overlap_frames % reduction:
            raise ValueError(
                f"overlap_frames must divide window_frames ({window_frames}) and be a "
                f"multiple of {reduction}, got {overlap_frames}"
            )
        hop = self.spectrogram.hop_length
        self.plan = WindowPlan(
            window=self.spectrogram.samples(window_frames),
            stride=(window_frames - overlap_frames) * hop,
        )
        self.window_frames, self.overlap_frames = window_frames, overlap_frames
        self._samples_per_column = reduction * hop
        self._chunk = overlap_frames // reduction
