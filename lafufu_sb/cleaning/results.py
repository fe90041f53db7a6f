"""Writing a result: restored samples, or the original."""

import shutil
from pathlib import Path

from lafufu_sb.audio.files import recording_writer
from lafufu_sb.audio.recordings import Recording


def save(path, wavs, rate):
    """Write a recording without clipping.

    Arguments
    ---------
    path : Path
        .wav or .flac. FLAC cannot hold samples above full scale: a recording that has
        some is attenuated.
    wavs : torch.Tensor
        (channels, time), finite.
    rate : int
        Hz.

    Returns
    -------
    dict
        ``gain_db`` if the recording was attenuated, else empty.
    """
    return _write(path, [wavs], rate, *wavs.shape)


def transfer(path, source, own_rate, rate):
    """Copy a recording; it is converted only if format or sample rate differ.

    Arguments
    ---------
    path : Path
        The copy.
    source : str or Path
        The recording.
    own_rate, rate : int
        Sample rates in Hz, of the recording and of the copy.

    Returns
    -------
    dict
        See ``save``.

    Raises
    ------
    OSError
        If the recording cannot be read, or the copy not be written.
    """
    if Path(source).suffix.lower() == path.suffix.lower() and own_rate == rate:
        shutil.copyfile(source, path)
        return {}
    with Recording(source, rate) as recording:
        shape = recording.channels, recording.samples
        return _write(path, recording.blocks(), rate, *shape)


def _write(path, blocks, rate, channels, samples):
    with recording_writer(path, rate, channels, samples) as write:
        for block in blocks:
            write(block)
    return {"gain_db": write.gain_db} if write.gain_db else {}
