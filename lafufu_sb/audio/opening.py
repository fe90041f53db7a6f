"""Open audio files with the library that reads them."""

from pathlib import Path

from lafufu_sb.audio.headers import check_header
from lafufu_sb.audio.libsndfile import IncompleteError, SoundFile
from lafufu_sb.audio.suffixes import CONTAINER_SUFFIXES
from lafufu_sb.errors import MissingPackageError, UsageError


def open_audio(path):
    """Open an audio file for reading.

    Arguments
    ---------
    path : str or Path
        Any format of libsndfile, except headerless .raw files; with the extra "av",
        also what has one of ``CONTAINER_SUFFIXES``.

    Returns
    -------
    SoundFile or ContainerSound
        With the part of the interface of ``soundfile.SoundFile`` that both have.
        ``frames`` is what the header states, which may be wrong or ``UNKNOWN``.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If the file does not exist or may not be read.
    UsageError
        If it is empty, not a regular file, not audio, or has a sample rate or number of
        channels that no recording has.
    """
    path = Path(path)
    check_readable(path)
    if path.suffix.lower() in CONTAINER_SUFFIXES:
        return _open_container(path)
    try:
        return _checked(SoundFile(path), path)
    except IncompleteError as error:
        return open_otherwise(path, error)


def _open_container(path):
    from lafufu_sb.audio.containers import open_container

    return _checked(open_container(path), path)


def open_otherwise(path, error):
    """Open with PyAV what libsndfile cannot read.

    Arguments
    ---------
    path : str or Path
        An existing file.
    error : IncompleteError
        Of libsndfile; raised if PyAV cannot read the file either.

    Returns
    -------
    ContainerSound
    """
    try:
        return _open_container(path)
    except MissingPackageError:
        hint = '; PyAV may read it: pip install "lafufu_sb[av]"'
        raise MissingPackageError(f"{error}{hint}") from error
    except UsageError:
        raise error from None


def _checked(file, path):
    try:
        check_header(path, file.samplerate, file.channels, file.frames)
    except UsageError:
        file.close()
        raise
    return file


def check_readable(path):
    """Refuse what is no file, empty or headerless, without waiting for a pipe.

    Raises
    ------
    UsageError, OSError
        See ``open_audio``.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a recording")
    if not path.exists():
        what = "is a broken link" if path.is_symlink() else "does not exist"
        raise FileNotFoundError(f"{path} {what}")
    if not path.is_file():
        raise UsageError(
            f"{path} is not a regular file: save the audio to a file, which can be "
            "read more than once"
        )
    with open(path, "rb"):  # libsndfile does not report the cause
        pass
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty (0 bytes)")
    if path.suffix.lower() == ".raw":
        raise UsageError(
            f"{path} has no header, so its sample rate is unknown: convert it to .wav"
        )
