"""Writing a result: restored samples, or the original."""

import shutil
from pathlib import Path

from lafufu_sb.audio.recordings import Recording
from lafufu_sb.audio.sound_files import read_metadata
from lafufu_sb.audio.writer import recording_writer


def save(path, wavs, rate, subtype, source):
    """Write a recording without clipping.

    Arguments
    ---------
    path : Path
        .wav or .flac. A recording above full scale is attenuated in FLAC, and in WAV
        if ``subtype`` is one of integers.
    wavs : torch.Tensor
        (channels, time), finite.
    rate : int
        Hz.
    subtype : str or None
        See ``recording_writer``.
    source : str or Path
        The original, see ``recording_writer``.

    Returns
    -------
    dict
        ``gain_db`` if the recording was attenuated, else empty.
    """
    return _write(path, [wavs], rate, *wavs.shape, subtype, source)


def transfer(path, source, own_rate, rate, subtype=None, copy=True):
    """Copy a recording; it is converted only if format or sample rate differ.

    Arguments
    ---------
    path : Path
        The copy.
    source : str or Path
        The recording.
    own_rate, rate : int
        Sample rates in Hz, of the recording and of the copy.
    subtype : str or None
        Sample format of the copy; None for that of the recording.
    copy : bool
        Whether the bytes may be copied; otherwise the samples are.

    Returns
    -------
    dict
        See ``save``.

    Raises
    ------
    OSError
        If the recording cannot be read, or the copy not be written.
    """
    same = Path(source).suffix.lower() == path.suffix.lower() and own_rate == rate
    if copy and same and subtype in (None, read_metadata(source).subtype):
        shutil.copyfile(source, path)
        return {}
    return convert(path, source, rate, subtype, source)


def convert(path, recording, rate, subtype, source):
    """Write a recording that is on disk; see ``save`` and ``transfer``."""
    with Recording(recording, rate) as opened:
        shape = opened.channels, opened.samples
        return _write(path, opened.blocks(), rate, *shape, subtype, source)


def _write(path, blocks, rate, channels, samples, subtype, source):
    with recording_writer(path, rate, channels, samples, subtype, source) as write:
        for block in blocks:
            write(block)
    return {"gain_db": write.gain_db} if write.gain_db else {}
