"""The tasks, and the names of their corpora, folders and options. The only table."""

from dataclasses import dataclass

from lafufu_sb.errors import UsageError

SUBSETS = ("train", "valid", "test")
CLEAN = "clean"


@dataclass(frozen=True)
class Task:
    """A restoration task and its corpus.

    ``name`` is the corpus, ``word`` its short form on command lines, ``degraded`` the
    folder beside ``clean``, and ``adds`` the kind of recordings that degrade the
    speech: "noise" or "rooms" (impulse responses).
    """

    name: str
    word: str
    degraded: str
    adds: str

    def label(self, value):
        """Name suffix of a degraded file: SNR in dB, or RT60 in seconds.

        Example
        -------
        >>> WHAM.label("5.3"), REVERB.label("0.84")
        ('5.3dB', '0.84')
        """
        return f"{value}dB" if self.adds == "noise" else value


WHAM = Task("EARS-WHAM", "wham", "noisy", "noise")
REVERB = Task("EARS-Reverb", "reverb", "reverberant", "rooms")
TASKS = {task.name: task for task in (WHAM, REVERB)}
WORDS = {task.word: task for task in TASKS.values()}

# Folder names that are accepted for the two sides of a user's own pairs; "reverb" and
# "anechoic" are those of the SGMSE+ loaders and of the benchmark's own scripts.
DISTORTED_FOLDERS = (*(task.degraded for task in TASKS.values()), "reverb")
CLEAN_FOLDERS = (CLEAN, "anechoic")


def find_task(name):
    """Look up a task by its name or its word.

    Arguments
    ---------
    name : str
        "EARS-WHAM" or "wham", "EARS-Reverb" or "reverb".

    Returns
    -------
    Task

    Raises
    ------
    UsageError
        If there is no such task.

    Example
    -------
    >>> find_task("wham").name, find_task("EARS-Reverb").degraded
    ('EARS-WHAM', 'reverberant')
    """
    known = TASKS | WORDS
    if name not in known:
        raise UsageError(f"task is {name!r}; expected one of {', '.join(known)}")
    return known[name]
