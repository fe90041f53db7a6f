"""Whole recordings: read, and process from file to file.

``recordings.Recording`` reads piece by piece; ``writer.recording_writer`` writes so.
"""

import logging

import torch

from lafufu_sb.audio.blocks import cut_blocks
from lafufu_sb.audio.recordings import Recording
from lafufu_sb.audio.resampling import resample_blocks
from lafufu_sb.audio.writer import recording_writer

logger = logging.getLogger(__name__)


def read_recording(path):
    """Read and check a whole recording at its own sample rate.

    Arguments
    ---------
    path : str or Path
        Any format of libsndfile.

    Returns
    -------
    wavs : torch.Tensor
        (channels, time), float32.
    sample_rate : int
        Hz.

    Raises
    ------
    UsageError, OSError
        See ``Recording``.
    """
    recording = Recording(path)
    return torch.cat(list(recording.blocks()), dim=1), recording.sample_rate


def at_file_rate(recording, blocks):
    """Resample blocks to the sample rate and length of the file they came from.

    Arguments
    ---------
    recording : Recording
        The file.
    blocks : iterable of torch.Tensor
        (channels, samples) each, at ``recording.sample_rate``.

    Yields
    ------
    torch.Tensor
        (channels, samples).
    """
    blocks = resample_blocks(blocks, recording.sample_rate, recording.file_rate)
    return cut_blocks(blocks, recording.frames)


def write_blocks(recording, blocks, filename, keep_sample_rate=False, subtype=None):
    """Write the result of processing a recording; missing folders are created.

    Arguments
    ---------
    recording : Recording
        The input; see the source of ``recording_writer``.
    blocks : iterable of torch.Tensor
        (channels, samples) each, at ``recording.sample_rate``.
    filename : Path
        See ``recording_writer``.
    keep_sample_rate : bool
        Write at the input file's rate instead.
    subtype : str, optional
        See ``recording_writer``.

    Raises
    ------
    UsageError, OSError
        See ``recording_writer``.
    """
    rate, length = recording.sample_rate, recording.samples
    if keep_sample_rate:
        rate, length = recording.file_rate, recording.frames
        blocks = at_file_rate(recording, blocks)
    filename.parent.mkdir(parents=True, exist_ok=True)
    with recording_writer(
        filename, rate, recording.channels, length, subtype, recording.path
    ) as write:
        for block in blocks:
            write(block)
    if write.gain_db:
        logger.warning(
            "%s cannot hold samples above full scale: turned down by %.1f dB, which "
            "%s does not need",
            filename,
            -write.gain_db,
            "--subtype float" if subtype else "a .wav file",
        )
