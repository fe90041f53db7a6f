"""Decoded recordings, kept in memory."""

import numpy as np

from lafufu_sb.audio.recordings import read_header
from lafufu_sb.corpora.excerpts import read_channel


class SourceMemory:
    """Reads recordings and keeps the first of them decoded.

    Arguments
    ---------
    minutes : float
        Limit of the memory in every worker; 93 minutes at 48 kHz take a gigabyte.
    """

    def __init__(self, minutes):
        self.minutes = minutes
        self._kept, self._seconds = {}, 0.0

    def __getstate__(self):
        return {"minutes": self.minutes, "_kept": {}, "_seconds": 0.0}

    def read(self, path, sample_rate):
        """Read all channels of a recording.

        Arguments
        ---------
        path : str
            Audio file.
        sample_rate : int
            Hz of the result.

        Returns
        -------
        numpy.ndarray
            (channels, samples), float32; shared with later calls.
        """
        key = path, sample_rate
        if key in self._kept:
            return self._kept[key]
        channels = range(read_header(path).channels)
        decoded = np.stack([read_channel(path, sample_rate, c) for c in channels])
        seconds = decoded.size / sample_rate
        if self._seconds + seconds <= 60.0 * self.minutes:
            self._seconds += seconds
            self._kept[key] = decoded
        return decoded
