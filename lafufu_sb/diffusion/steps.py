"""Where on the time axis samplers take their steps, and what they take along."""

import math

import torch

SPACINGS = ("uniform", "quadratic", "log_sigma")


def check_choice(name, value, choices):
    """Raise ValueError, naming the option and the choice, for a value outside it."""
    if value not in choices:
        *others, last = map(repr, choices)
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, got {value!r}")


def time_grid(sde, count, *, spacing="uniform", t_start=None, device=None):
    """Times of the reverse process, falling from ``t_start`` to ``sde.t_eps``.

    Arguments
    ---------
    sde : OUVESDE or SchroedingerBridge
        The process: gives both ends and the noise level.
    count : int
        How many, both ends among them; of one, it is the start.
    spacing : str
        What is equally spaced: "uniform" the times, as published; "quadratic" their
        square roots (Song et al. 2021, DDIM); "log_sigma" the logarithms of
        ``sde.noise_level``. The latter two take smaller steps near the clean end.
    t_start : float, optional
        Begin here instead of at ``sde.t_max``.
    device : torch.device, optional
        Of the result.

    Returns
    -------
    torch.Tensor
        (count,), float32.

    Raises
    ------
    ValueError
        For another spacing, or a start that is not above ``t_eps`` and up to
        ``t_max``.

    Example
    -------
    >>> from lafufu_sb.diffusion.sde import OUVESDE
    >>> time_grid(OUVESDE(), 3, spacing="log_sigma", t_start=0.5)
    tensor([0.5000, 0.1637, 0.0300])
    """
    check_choice("spacing", spacing, SPACINGS)
    t_start = sde.t_max if t_start is None else t_start
    number = isinstance(t_start, int | float) and not isinstance(t_start, bool)
    if not number or not sde.t_eps < t_start <= sde.t_max:
        raise ValueError(
            f"t_start lies above {sde.t_eps} and up to {sde.t_max}, got {t_start!r}"
        )
    if spacing == "uniform":
        return torch.linspace(t_start, sde.t_eps, count, device=device)
    # In double precision on the CPU: as accurate and the same on every device.
    ends = torch.tensor([t_start, sde.t_eps], dtype=torch.float64)
    if spacing == "quadratic":
        first, last = ends.sqrt().tolist()
        times = torch.linspace(first, last, count, dtype=torch.float64).square()
    else:
        first, last = sde.noise_level(ends).log().tolist()
        levels = torch.linspace(first, last, count, dtype=torch.float64).exp()
        times = _times_of(sde, levels)
    times[-1], times[0] = sde.t_eps, t_start
    return times.to(device, torch.float32)


def _times_of(sde, levels):
    """Times in [0, t_max] at which the noise level, rising with time, is ``levels``."""
    low, high = torch.zeros_like(levels), torch.full_like(levels, sde.t_max)
    for _ in range(math.ceil(-math.log2(torch.finfo(levels.dtype).eps))):  # bisection
        middle = (low + high) / 2
        above = sde.noise_level(middle) > levels
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2


def extrapolate(sde, x0_hat, now, following, last):
    """Estimate of ``x_0`` for the middle of the coming step (DPM-Solver++(2M)).

    Linear in the half log-SNR through this estimate and the last one.

    Arguments
    ---------
    sde : OUVESDE or SchroedingerBridge
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
    done = sde.half_log_snr(now) - sde.half_log_snr(before)
    coming = sde.half_log_snr(following) - sde.half_log_snr(now)
    return x0_hat + coming / (2 * done) * (x0_hat - x0_before)
