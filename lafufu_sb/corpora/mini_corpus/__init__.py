"""The mini corpus that comes with the package: enough to run everything for real."""

from pathlib import Path

TASKS = ("EARS-WHAM", "EARS-Reverb")


def mini_corpus_folder(task):
    """Say where the embedded recordings of a task are.

    Parameters
    ----------
    task : {"EARS-WHAM", "EARS-Reverb"}
        Denoising or dereverberation.

    Returns
    -------
    pathlib.Path
        Folder with ``train``, ``valid`` and ``test`` in the layout of the task:
        48 kHz, mono, 16 bit.  README.md beside it tells sources and licences.

    Raises
    ------
    ValueError
        Another task.
    FileNotFoundError
        The package was installed without its recordings.

    Examples
    --------
    >>> mini_corpus_folder("EARS-WHAM").name
    'EARS-WHAM'
    """
    if task not in TASKS:
        raise ValueError(f"task is {task!r}; expected one of {', '.join(TASKS)}")
    folder = Path(__file__).resolve().parent / task
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is missing: install the package with its data, or rebuild it "
            "with recipes/EARS/make_mini_corpus.py"
        )
    return folder
