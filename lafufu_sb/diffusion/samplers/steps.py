"""Time grids of the samplers, and the extrapolation of multistep solvers."""

import math

import torch

from lafufu_sb.errors import UsageError, one_of

SPACINGS = ("uniform", "quadratic", "log_sigma")


def time_grid(process, count, *, spacing="uniform", t_start=None, device=None):
    """Times of the reverse process, falling from ``t_start`` to ``process.t_eps``.

    Arguments
    ---------
    process : Process
        The process: gives both ends and the noise level.
    count : int
        How many, both ends among them; of one, it is the start.
    spacing : str
        What is equally spaced: "uniform" the times, as published; "quadratic" their
        square roots (Song et al. 2021, DDIM); "log_sigma" the logarithms of
        ``process.noise_level``. The latter two take smaller steps near the clean end.
    t_start : float, optional
        Begin here instead of at ``process.t_max``.
    device : torch.device, optional
        Of the result.

    Returns
    -------
    torch.Tensor
        (count,), float32.

    Raises
    ------
    UsageError
        For another spacing, or a start that is not above ``t_eps`` and up to
        ``t_max``.

    Example
    -------
    >>> from lafufu_sb.diffusion.processes import OUVESDE
    >>> time_grid(OUVESDE(), 3, spacing="log_sigma", t_start=0.5)
    tensor([0.5000, 0.1637, 0.0300])
    """
    one_of("spacing", spacing, SPACINGS)
    t_start = process.t_max if t_start is None else t_start
    number = isinstance(t_start, int | float) and not isinstance(t_start, bool)
    if not number or not process.t_eps < t_start <= process.t_max:
        raise UsageError(
            f"t_start lies above {process.t_eps} and up to {process.t_max}, got "
            f"{t_start!r}"
        )
    if spacing == "uniform":
        return torch.linspace(t_start, process.t_eps, count, device=device)
    # In double precision on the CPU: as accurate and the same on every device.
    ends = torch.tensor([t_start, process.t_eps], dtype=torch.float64)
    if spacing == "quadratic":
        first, last = ends.sqrt().tolist()
        times = torch.linspace(first, last, count, dtype=torch.float64).square()
    else:
        first, last = process.noise_level(ends).log().tolist()
        levels = torch.linspace(first, last, count, dtype=torch.float64).exp()
        times = _times_of(process, levels)
    times[-1], times[0] = process.t_eps, t_start
    return times.to(device, torch.float32)


def _times_of(process, levels):
    """Times in [0, t_max] at which the noise level, rising with time, is ``levels``."""
    low, high = torch.zeros_like(levels), torch.full_like(levels, process.t_max)
    for _ in range(math.ceil(-math.log2(torch.finfo(levels.dtype).eps))):  # bisection
        middle = (low + high) / 2
        above = process.noise_level(middle) > levels
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2


def extrapolate(process, x0_hat, now, following, last):
    """Estimate of ``x_0`` for the middle of the coming step (DPM-Solver++(2M)).

    Linear in the half log-SNR through this estimate and the last one.

    Arguments
    ---------
    process : Process
        The process.
    x0_hat : torch.Tensor
        Estimate at the time ``now``, (batch, channels, height, width).
    now, following : torch.Tensor
        Beginning and end of the step, scalars.
    last : tuple or None
        Beginning and estimate of the step before; None in the first step.

    Returns
    -------
    torch.Tensor
        ``x0_hat`` itself in the first step, and in the second one of a bridge, whose
        log-SNR begins at minus infinity.
    """
    if last is None:
        return x0_hat
    before, x0_before = last
    done = process.half_log_snr(now) - process.half_log_snr(before)
    coming = process.half_log_snr(following) - process.half_log_snr(now)
    return x0_hat + coming / (2 * done) * (x0_hat - x0_before)
