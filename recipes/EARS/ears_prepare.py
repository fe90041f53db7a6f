"""EARS-WHAM and EARS-Reverb: generate them, and their manifests for training.

To generate (``--help`` tells the options):
> python ears_prepare.py EARS-WHAM --data_folder=/path/to/downloads

The corpora are described in Richter et al. 2024, "EARS: An Anechoic Fullband Speech
Dataset Benchmarked for Speech Enhancement and Dereverberation"; recipes/EARS/README.md
says how to get what they are made of.

Authors
 * the lafufu_sb contributors, 2026
"""

from pathlib import Path

from speechbrain.utils.logger import get_logger

from lafufu_sb.corpora.ears.generate import main
from lafufu_sb.corpora.manifests import SUBSETS, write_manifest
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder

logger = get_logger(__name__)


def prepare_ears(data_folder, save_folder, task, skip_prep=False):
    """Write train.json, valid.json and test.json.

    Arguments
    ---------
    data_folder : str
        Folder with train, valid and test, and noisy (or reverberant, reverb) and clean
        (or anechoic) in each: EARS-WHAM, EARS-Reverb, or pairs of one's own; or
        "embedded" for the mini corpus of the package, which shows that everything runs
        and trains nothing of use.
    save_folder : str
        Where the manifests go.
    task : str
        "EARS-WHAM" or "EARS-Reverb".
    skip_prep : bool
        Keep the manifests that are there.

    Raises
    ------
    FileNotFoundError
        If the folder has not the expected layout.
    ValueError
        If recordings lack a partner or cannot be used; names all of them.

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
        logger.warning(
            "\n%s\nTRAINING ON THE EMBEDDED MINI CORPUS: less than a minute of speech, "
            "enough to\nsee everything run, not enough to learn from. For the real "
            "benchmark:\n    --data_folder=/path/to/%s\n%s",
            "!" * 78,
            task,
            "!" * 78,
        )
    folder = Path(data_folder)
    missing = [name for name in SUBSETS if not (folder / name).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"data_folder {folder} has no {', '.join(missing)}: it must hold {task} or "
            "pairs of your own in train, valid and test (recipes/EARS/README.md says "
            "how to generate and to arrange them), or be 'embedded' for the mini corpus"
        )
    problems = []
    for name in SUBSETS:
        try:
            pairs = write_manifest(folder / name, Path(save_folder) / f"{name}.json")
        except ValueError as error:
            problems.append(str(error))
        else:
            logger.info("%s: %d pairs", name, pairs)
    if problems:
        raise ValueError("\n".join(problems))


if __name__ == "__main__":
    main()
