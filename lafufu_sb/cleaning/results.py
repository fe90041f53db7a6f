"""What ends up under a result's name: restored samples, or the original."""

import math
import shutil
from pathlib import Path

from ..audio import read_recording, resample, write_recording


def save(path, wavs, rate):
    """Write a recording; nothing clips.

    Arguments
    ---------
    path : Path
        .wav or .flac. FLAC cannot hold samples above full scale: there a recording is
        turned down until they fit.
    wavs : torch.Tensor
        (channels, time), finite.
    rate : int
        Hz.

    Returns
    -------
    dict
        ``gain_db`` if it was turned down.
    """
    peak = float(wavs.abs().max())
    if peak <= 1.0 or path.suffix.lower() == ".wav":
        write_recording(path, wavs, rate)
        return {}
    write_recording(path, wavs / peak, rate)
    return {"gain_db": -20.0 * math.log10(peak)}


def transfer(path, source, own_rate, rate):
    """Write what a file holds: its bytes, or converted where format or rate differ.

    Arguments
    ---------
    path : Path
        To write.
    source : str or Path
        The file.
    own_rate, rate : int
        Hz: that of the file, and the one wanted.

    Returns
    -------
    dict
        See ``save``.
    """
    if Path(source).suffix.lower() == path.suffix.lower() and own_rate == rate:
        shutil.copyfile(source, path)
        return {}
    wavs, own_rate = read_recording(source)
    return save(path, resample(wavs, own_rate, rate), rate)
