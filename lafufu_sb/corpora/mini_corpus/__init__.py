"""The mini corpus inside the package: enough recordings to run everything."""

from pathlib import Path

from lafufu_sb.corpora.tasks import find_task


def mini_corpus_folder(task):
    """Return the folder with the embedded recordings of a task.

    Arguments
    ---------
    task : str
        "EARS-WHAM" or "EARS-Reverb".

    Returns
    -------
    pathlib.Path
        Folder with ``train``, ``valid`` and ``test`` in the layout of the task:
        48 kHz, mono, 16 bit. README.md in this folder lists sources and licences.

    Raises
    ------
    UsageError
        For another task.
    FileNotFoundError
        If the package was installed without its recordings.

    Example
    -------
    >>> mini_corpus_folder("EARS-WHAM").name
    'EARS-WHAM'
    """
    folder = Path(__file__).resolve().parent / find_task(task).name
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is missing: install the package with its data, or rebuild it "
            "with recipes/EARS/make_mini_corpus.py"
        )
    return folder
