"""Generate EARS-WHAM and EARS-Reverb, and write their manifests for training.

To generate a corpus (see ``--help`` for the options):
> python ears_prepare.py EARS-WHAM --data_folder=/path/to/downloads

The corpora are described in Richter et al. 2024, "EARS: An Anechoic Fullband Speech
Dataset Benchmarked for Speech Enhancement and Dereverberation". recipes/EARS/README.md
lists the downloads.

Authors
 * the lafufu_sb contributors, 2026
"""

from pathlib import Path

from speechbrain.utils.logger import get_logger

from lafufu_sb.corpora.ears.generate import main
from lafufu_sb.corpora.manifests import copy_manifest, write_manifest
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.corpora.tasks import SUBSETS
from lafufu_sb.errors import UsageError

logger = get_logger(__name__)


def prepare_ears(data_folder, save_folder, task, skip_prep=False):
    """Write train.json, valid.json and test.json.

    Arguments
    ---------
    data_folder : str
        Folder with train, valid and test, each with noisy (or reverberant, reverb) and
        clean (or anechoic): EARS-WHAM, EARS-Reverb, or your own pairs; or a folder of
        ``lafufu pairs``; or "embedded" for the mini corpus of the package, which is too
        small to learn from.
    save_folder : str or Path
        Where the manifests are written.
    task : str
        "EARS-WHAM" or "EARS-Reverb".
    skip_prep : bool
        Keep existing manifests.

    Raises
    ------
    FileNotFoundError
        If the folder does not have this layout.
    UsageError
        If recordings lack a partner or cannot be used; the message lists all of them.

    Example
    -------
    >>> folder = getfixture("tmpdir")
    >>> prepare_ears("embedded", str(folder), "EARS-WHAM")
    >>> (folder / "train.json").exists()
    True
    """
    if skip_prep:
        return
    if data_folder == "embedded":
        data_folder = mini_corpus_folder(task)
        _warn_about_mini_corpus(task)
    folder = Path(data_folder)
    listed = all((folder / f"{name}.json").is_file() for name in SUBSETS)
    missing = [name for name in SUBSETS if not (folder / name).is_dir()]
    if missing and not listed:
        raise FileNotFoundError(
            f"data_folder {folder} has no {', '.join(missing)}: it must hold {task} or "
            "your own pairs in train, valid and test (see recipes/EARS/README.md), be "
            "what `lafufu pairs` wrote, or 'embedded' for the mini corpus"
        )
    problems = []
    for name in SUBSETS:
        manifest = Path(save_folder) / f"{name}.json"
        try:
            if listed:
                pairs = copy_manifest(folder / f"{name}.json", manifest)
            else:
                pairs = write_manifest(folder / name, manifest)
        except UsageError as error:
            problems.append(str(error))
        else:
            logger.info("%s: %d pairs", name, pairs)
    if problems:
        raise UsageError("\n".join(problems))


def _warn_about_mini_corpus(task):
    line = "!" * 78
    logger.warning(
        "\n%s\nTRAINING ON THE EMBEDDED MINI CORPUS: less than a minute of speech, "
        "enough to\ntest the recipe, not enough to learn from. For the real "
        "benchmark:\n    --data_folder=/path/to/%s\n%s",
        line,
        task,
        line,
    )


if __name__ == "__main__":
    main()
