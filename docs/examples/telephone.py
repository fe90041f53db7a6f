"""Speech as an old telephone line transmits it.

To write the distorted side of a validation or test set:
> python telephone.py pairs/test/clean pairs/test/noisy
"""

import sys
import zlib
from pathlib import Path

import numpy as np
import soundfile
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


def convert_folder(clean, distorted):
    """Write telephone versions of the .wav files of a folder, under the same names."""
    telephone = Telephone()
    for path in Path(clean).rglob("*.wav"):
        name = path.relative_to(clean)
        rng = np.random.default_rng(zlib.crc32(name.as_posix().encode()))
        wav, sample_rate = soundfile.read(path)
        (distorted / name).parent.mkdir(parents=True, exist_ok=True)
        degraded = telephone(wav, sample_rate, rng)
        soundfile.write(distorted / name, degraded, sample_rate, subtype="FLOAT")


if __name__ == "__main__":
    convert_folder(*map(Path, sys.argv[1:]))
