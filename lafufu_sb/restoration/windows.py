"""Windows over a signal of any length, their cross-fades, and anchored noise.

Windows of one length make the cost of a file proportional to its length, its memory
flat, and its result independent of the rest of the batch: a network that normalises
over its whole input (GroupNorm) never sees a neighbour's padding.
"""

import operator

import torch

from lafufu_sb.errors import UsageError
from lafufu_sb.restoration.devices import to_device

MOST_FRAMES = 2**16  # of a window: nine minutes at 125 a second


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
            raise UsageError(
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
    UsageError
        If the nearest one has no frames.

    Example
    -------
    >>> fit_window(2.0, rate=125, grid=64)
    256
    """
    if not grid / 2 < seconds * rate < float("inf"):
        raise UsageError(
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
    UsageError
        For more than half of the window, or nothing; names the choices.

    Example
    -------
    >>> fit_overlap(0.25, rate=125, window=256, step=4)
    32
    """
    choices = [n for n in range(step, window // 2 + 1, step) if window % n == 0]
    if not choices or not 0 < seconds * rate <= window / 2:
        names = ", ".join(f"{n / rate:.3g}" for n in choices) or "none"
        raise UsageError(
            f"overlap must be above 0 and at most half of the window; for one of "
            f"{window / rate:.3g} seconds the choices are {names}, got {seconds}"
        )
    return min(choices, key=lambda frames: abs(frames - seconds * rate))


class WindowChoice:
    """Windows and overlaps that a model's networks can use.

    Arguments
    ---------
    representation : Representation
        Gives hop and grid.
    network_grid : int
        ``grid`` of the score network.
    sample_rate : int
        Hz.
    window_frames, overlap_frames : int
        The model's default.
    """

    def __init__(
        self, representation, network_grid, sample_rate, window_frames, overlap_frames
    ):
        self.representation = representation
        self.grid = representation.grid * network_grid
        self.rate = sample_rate / representation.hop_length  # frames a second
        self.default = window_frames, overlap_frames

    def fit(self, window=None, overlap=None):
        """Frames of the nearest window and overlap.

        Arguments
        ---------
        window, overlap : float, optional
            Seconds; by default those of the model. A shorter window than twice the
            model's overlap gets the largest overlap that it can have.

        Returns
        -------
        tuple of int
            Frames of the window and of the overlap.

        Raises
        ------
        UsageError
            For lengths that nothing is near to; names the choices.
        """
        frames, shared = self.default
        step = self.representation.grid
        if window is not None:
            frames = fit_window(window, self.rate, self.grid)
        if window is not None or overlap is not None:
            wanted = overlap
            if overlap is None:
                wanted = min(shared, frames / 2) / self.rate
            shared = fit_overlap(wanted, self.rate, frames, step)
        return frames, shared

    def plan(self, window_frames, overlap_frames):
        """The plan in samples.

        Raises
        ------
        UsageError
            For frames that the networks cannot use.
        """
        step = self.representation.grid
        fits = 1 <= window_frames <= MOST_FRAMES and not window_frames % self.grid
        if not fits:
            raise UsageError(
                f"window_frames must be a positive multiple of {self.grid}, which the "
                f"representation and the score model need, up to {MOST_FRAMES}, got "
                f"{window_frames}"
            )
        fits = overlap_frames > 0 and window_frames % overlap_frames == 0
        if not fits or overlap_frames % step:
            raise UsageError(
                f"overlap_frames must divide window_frames ({window_frames}) and be a "
                f"multiple of {step}, got {overlap_frames}"
            )
        hop = self.representation.hop_length
        return WindowPlan(
            window=self.representation.samples(window_frames),
            stride=(window_frames - overlap_frames) * hop,
        )


class AnchoredNoise:
    """Noise that depends on the place in the signal, not on the order of draws.

    Each chunk of columns has its own generator, seeded by the item's seed and the
    chunk's place in the item. Overlapping windows share the noise of their overlap, so
    their results agree there. An item gets the same noise alone and in any batch.

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
        """Draw the next noise for a (windows, ..., columns) tensor."""
        windows, *shape, columns = like.shape
        if self._generators is None:
            self._generators = [
                [_generator(seed, first + i) for i in range(-(-columns // self.chunk))]
                for seed, first in self._places
            ]
        shape = (*shape, self.chunk)
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
