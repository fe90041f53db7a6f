"""Speech as an old telephone line transmits it."""

import numpy as np
from scipy.signal import butter, sosfiltfilt

from lafufu_sb.corpora.degradations import Degradation

MU = 255.0
LEVELS = 127  # on either side of zero


class Telephone(Degradation):
    """A narrow band and 8-bit mu-law quantisation.

    Arguments
    ---------
    low, high : sequence of float
        Hz, two numbers each. The edges of the band are drawn uniformly between them.
    """

    def __init__(self, low=(100.0, 400.0), high=(2800.0, 3800.0)):
        self.low, self.high = low, high

    def __call__(self, wav, sample_rate, rng):
        """See ``Degradation``."""
        band = rng.uniform(*self.low), rng.uniform(*self.high)
        sections = butter(4, band, "bandpass", fs=sample_rate, output="sos")
        # Forwards and backwards: no delay, so that pairs stay aligned.
        narrow = sosfiltfilt(sections, wav)
        peak = np.abs(narrow).max()
        return peak * quantised(narrow / peak) if peak else narrow


def quantised(wav):
    """Round a waveform of full scale 1 to the levels of 8-bit mu-law."""
    scale = np.log1p(MU)
    coded = np.round(LEVELS * np.log1p(MU * np.abs(wav)) / scale) / LEVELS
    return np.sign(wav) * np.expm1(scale * coded) / MU
