"""Recordings of users: read whatever is sound, write without clipping or loss."""

from pathlib import Path

import numpy
import soundfile
import torch
import torchaudio

from .files import written_whole

# RAW has no header: nobody knows its rate, and cameras use the suffix for photos.
AUDIO_SUFFIXES = tuple(
    f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW"
)


def read_recording(path):
    """Read all channels of a recording at its own rate.

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
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If it is no audio, holds no samples, or samples that are not finite.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a recording")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes)")
    try:
        wavs, sample_rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{path} is not audio that can be read ({error.error_string})"
        ) from error
    if len(wavs) == 0:
        raise ValueError(f"{path} holds no samples")
    if not numpy.isfinite(wavs).all():
        raise ValueError(f"{path} has NaN or infinite samples: repair it first")
    return torch.from_numpy(wavs.T.copy()), sample_rate


def write_recording(path, wavs, sample_rate):
    """Write channels to a file, which appears whole or not at all.

    24 bits; WAV changes to 32-bit float when the peak is above full scale, so nothing
    clips.

    Arguments
    ---------
    path : str or Path
        The suffix chooses the format.
    wavs : torch.Tensor
        (channels, time) or (time,).
    sample_rate : int
        Hz.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ValueError
        If the suffix is of no format, or the format would clip.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {path.parent} does not exist")
    kind = path.suffix[1:].upper()
    if kind not in soundfile.available_formats():
        raise ValueError(
            f"{path}: cannot write {path.suffix or 'a file without suffix'}, use .wav "
            "or .flac"
        )
    samples = wavs.detach().cpu().float().numpy().T
    subtype = "PCM_24" if soundfile.check_format(kind, "PCM_24") else None
    if numpy.abs(samples).max(initial=0.0) > 1.0:
        if kind != "WAV":
            raise ValueError(f"{path}: peak above full scale would clip, use .wav")
        subtype = "FLOAT"
    with written_whole(path) as temporary:
        soundfile.write(
            str(temporary), samples, sample_rate, format=kind, subtype=subtype
        )


def resample(wavs, from_rate, to_rate):
    """Resample the last axis; (..., ceil(time * to / from)) samples come out."""
    return torchaudio.functional.resample(wavs, from_rate, to_rate)


def find_recordings(folder):
    """Audio files below a folder, sorted.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = sorted(
        path
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    )
    if not found:
        raise ValueError(f"{folder} holds no audio files")
    return found
