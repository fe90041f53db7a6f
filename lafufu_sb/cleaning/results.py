"""What ends up under a result's name: restored samples, or the original."""

import shutil
from pathlib import Path

from lafufu_sb.audio.files import recording_writer
from lafufu_sb.audio.recordings import Recording


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
    return _write(path, [wavs], rate, *wavs.shape)


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
    with Recording(source, rate) as recording:
        shape = recording.channels, recording.samples
        return _write(path, recording.blocks(), rate, *shape)


def _write(path, blocks, rate, channels, samples):
    with recording_writer(path, rate, channels, samples) as write:
        for block in blocks:
            write(block)
    return {"gain_db": write.gain_db} if write.gain_db else {}
