"""Spectrogram figures: distorted, restored and clean speech side by side.

matplotlib is imported on first use and draws on its Agg canvas. Its global state
(backend, rcParams, pyplot's list of figures) stays untouched: safe on a server, in a
notebook and inside a training.
"""

import pathlib

import numpy as np
import torch

from lafufu_sb.errors import MissingPackageError, UsageError, printable
from lafufu_sb.files import written_whole

_N_FFT = 2048  # samples: 43 ms and 23 Hz at 48 kHz, which still resolves harmonics
_MAX_FRAMES = 2000  # more columns than pixels only cost memory
_RANGE_DB = 80.0
_FLOOR = 1e-10  # keeps the level of digital silence finite


def new_figure(width, height):
    """An empty figure with an Agg canvas; sizes in inches."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        message = "figures need matplotlib: pip install matplotlib"
        raise MissingPackageError(message) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain_title(text):
    """Text that matplotlib draws as it is: a dollar sign would begin a formula."""
    return printable(text).replace("$", r"\$")


def save_png(figure, path, dpi=160):
    """Write a figure to a PNG file, whole or not at all; returns the path."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)
    return path


def spectrogram_figure(signals, sample_rate, title=None):
    """Draw one spectrogram per signal on a shared scale.

    Levels are relative to the loudest point of all panels and shown down to -80 dB,
    so a quieter panel looks quieter. Frequency reaches up to half the sample rate.

    Arguments
    ---------
    signals : dict of str to array or torch.Tensor
        Panel title and signal, (time,), from left to right; lengths may differ.
    sample_rate : int
        Hz.
    title : str, optional
        Title above the panels.

    Returns
    -------
    matplotlib.figure.Figure
        One row of panels and a colour bar.

    Raises
    ------
    MissingPackageError
        If matplotlib is missing.
    UsageError
        If there is no signal, or one is not 1-D, empty or not finite.

    Example
    -------
    >>> noise = torch.randn(48000, generator=torch.Generator().manual_seed(0))
    >>> figure = spectrogram_figure({"loud": noise, "soft": noise / 10}, 48000)
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['loud', 'soft']
    """
    if not signals:
        raise UsageError("signals is empty: pass at least one {title: signal}.")
    signals = {name: _signal(name, values) for name, values in signals.items()}
    magnitudes = {name: _magnitude(signal) for name, signal in signals.items()}
    loudest = max(_FLOOR, *(float(panel.max()) for panel in magnitudes.values()))
    figure = new_figure(3.0 * len(signals) + 1.0, 3.0)
    row = figure.subplots(1, len(signals), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, magnitude) in zip(row, magnitudes.items(), strict=True):
        level = 20.0 * np.log10(np.maximum(magnitude, loudest * _FLOOR) / loudest)
        extent = (0.0, len(signals[name]) / sample_rate, 0.0, sample_rate / 2000)
        image = _draw_panel(axes, name, level, extent)
    # imshow sets the limits of all shared axes to the panel drawn last.
    row[0].set_xlim(0.0, max(map(len, signals.values())) / sample_rate)
    row[0].set_ylabel("Frequency (kHz)", fontsize=9)
    ticks = np.arange(-_RANGE_DB, 1.0, 20.0)
    bar = figure.colorbar(image, ax=list(row), ticks=ticks, pad=0.015, aspect=28)
    bar.set_label("Level (dB re maximum)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    if title:
        figure.suptitle(plain_title(title), fontsize=11)
    return figure


def _draw_panel(axes, name, level, extent):
    """One spectrogram in dB; ``extent`` in seconds and kHz. Returns the image."""
    image = axes.imshow(
        level,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=-_RANGE_DB,
        vmax=0.0,
    )
    axes.set_title(plain_title(name), fontsize=10)
    axes.set_xlabel("Time (s)", fontsize=9)
    axes.tick_params(labelsize=8)
    return image


def save_spectrogram_png(path, signals, sample_rate, title=None, dpi=200):
    """Write ``spectrogram_figure`` to a .png file; returns the path.

    Same arguments and errors; UsageError for another suffix. A panel is about 3 inches
    square, at ``dpi`` pixels per inch.
    """
    if pathlib.Path(path).suffix.lower() != ".png":
        raise UsageError(f"path is {path}: a PNG file must end in .png.")
    return save_png(spectrogram_figure(signals, sample_rate, title), path, dpi)


def _signal(name, values):
    """Check one signal; a single-precision tensor, (time,), on the CPU."""
    signal = torch.as_tensor(values).detach().cpu().float()
    if signal.ndim != 1 or len(signal) == 0:
        raise UsageError(
            f"Signal '{name}' has shape {tuple(signal.shape)}: pass one non-empty "
            "signal, (time,)."
        )
    if not signal.isfinite().all():
        raise UsageError(f"Signal '{name}' has samples that are not finite.")
    return signal


def _magnitude(signal):
    """Hann magnitude spectrogram of (time,); an array, (frequency, frames)."""
    spectrum = torch.stft(
        signal,
        n_fft=_N_FFT,
        hop_length=max(_N_FFT // 8, len(signal) // _MAX_FRAMES),
        window=torch.hann_window(_N_FFT),
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.abs().numpy()
