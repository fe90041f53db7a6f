"""Writing a result: restored samples, or the original."""

import shutil
from pathlib import Path

from lafufu_sb.audio.recordings import Recording
from lafufu_sb.audio.writer import recording_writer


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


def transfer(path, source, own_rate, rate, copy=True):
    """Copy a recording; it is converted only if format or sample rate differ.

    Arguments
    ---------
    path : Path
        The copy.
    source : str or Path
        The recording.
    own_rate, rate : int
        Sample rates in Hz, of the recording and of the copy.
    copy : bool
        Whether the bytes may be copied; otherwise the samples are.

    Returns
    -------
    dict
        See ``save``.
    """
    same = Path(source).suffix.lower() == path.suffix.lower() and own_rate == rate
    if copy and same:
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
