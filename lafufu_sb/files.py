"""Files that appear when they are complete, and names that stay in their folder."""

import contextlib
import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
import zlib
from pathlib import Path

from lafufu_sb.errors import UsageError

_LONGEST_NAME = 255  # bytes, the limit of most file systems


@contextlib.contextmanager
def written_whole(path):
    """Write to a temporary file beside ``path`` and rename it on success.

    Arguments
    ---------
    path : str or Path
        The final name; an existing file is replaced.

    Yields
    ------
    Path
        Where to write, see ``temporary_file``. Removed if the block raises.
    """
    with temporary_file(path) as temporary, named_errors(path):
        yield temporary
        os.replace(temporary, path)


@contextlib.contextmanager
def named_errors(path):
    """Context that names ``path`` in file errors without a name, as of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def temporary_file(path):
    """Reserve a temporary name beside ``path``; its file is removed at the end.

    The name is hidden, ends in ``.part`` and is unique: two writers of one file never
    share a temporary file. Temporary files of writers that were killed are removed by
    the next writer of the same file on the same machine (not on Windows).

    Arguments
    ---------
    path : str or Path
        The final name.

    Yields
    ------
    Path
        A name in the same folder. The file does not exist yet.
    """
    path = checked_path(path)
    stem = _stem(path.name)
    _remove_leftovers(path.parent, stem)
    temporary = path.with_name(f"{stem}{_tag()}.part")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(path):
    """Make a folder with a temporary name beside ``path``; it is removed at the end.

    Named like the files of ``temporary_file``. Folders of writers that were killed are
    left: they may hold hours of work.

    Arguments
    ---------
    path : str or Path
        The final name, to which the caller may rename the folder.

    Yields
    ------
    Path
        An empty folder in the same folder.
    """
    path = checked_path(path)
    temporary = path.with_name(f"{_stem(path.name)}{_tag()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.mkdir()  # an error if it exists: only this one is removed
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def inside(folder, name):
    """Path of a file or folder that a document names, inside the document's folder.

    Arguments
    ---------
    folder : str or Path
        Where it must be.
    name : str
        Relative, "." for the folder itself.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If it is absolute or leads out of the folder, through links too.
    """
    path = checked_path(Path(folder) / str(name))
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise UsageError(f"{name} leads out of the folder {folder}: it is not read")
    return path


def file_stem(text):
    """A file name from any text: letters, digits, dots, hyphens and underscores.

    Texts with other characters get a hash, so that different texts give different
    names.

    Example
    -------
    >>> file_stem("denoising_EARS-WHAM_v2"), file_stem("../../x")
    ('denoising_EARS-WHAM_v2', 'x_422533a8')
    """
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("._")[:100]
    if plain == text:
        return plain
    return f"{plain}_{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"


def checked_path(path):
    """The path as a Path; UsageError if it holds a null byte, as no file name can."""
    if "\0" in str(path):
        raise UsageError(f"{str(path)!r} holds a null byte: give another file name")
    return Path(path)


def _stem(name):
    """Beginning of a file's temporary names; hashed where they would be too long."""
    stem = f".{name}."
    if len(os.fsencode(stem)) <= _LONGEST_NAME - 48:
        return stem
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}."


@functools.cache
def _machine():
    """A short name of the machine, or of a container with its own process ids."""
    container = ""
    with contextlib.suppress(OSError):
        container = os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32((platform.node() + container).encode()):08x}"


def _tag():
    return f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"


def _remove_leftovers(folder, stem):
    start = f"{stem}{_machine()}-"
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        leftovers = [entry for entry in entries if entry.name.startswith(start)]
        for entry in leftovers:
            pid = entry.name.removeprefix(start).partition("-")[0]
            dead = pid.isdigit() and not _is_running(int(pid))
            if dead and not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)


def _is_running(pid):
    if os.name == "nt":  # signal 0 would be Ctrl+C there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def refuse_same_file(source, target):
    """UsageError if writing ``target`` would overwrite ``source``, links included."""
    source, target = Path(source), Path(target)
    if source.exists() and target.exists() and source.samefile(target):
        raise UsageError(f"{target} would overwrite its input: choose another output")


def refuse_nested(folder, output):
    """UsageError if results would be inside the folder that is restored.

    Links are resolved.
    """
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(folder)):
        raise UsageError(
            f"output {output} is inside {folder}, the folder to restore: the next run "
            "would restore the results again, so choose another output folder"
        )


def refuse_sources_inside(sources, output):
    """UsageError if a recording is inside the folder of the results, links resolved."""
    start = os.path.join(os.path.realpath(output), "")
    for source in sources:
        if os.path.realpath(source).startswith(start):
            raise UsageError(
                f"{source} is inside the output folder {output}: the next run may "
                "restore results again, so choose another output folder"
            )
