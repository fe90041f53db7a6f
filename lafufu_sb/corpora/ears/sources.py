"""A request for a corpus, and whether its sources are there."""

import os
from dataclasses import dataclass
from pathlib import Path

from lafufu_sb.corpora.ears import benchmark, plan, render, rirs
from lafufu_sb.corpora.ears.benchmark import SAMPLE_RATE, SUBSETS
from lafufu_sb.errors import UsageError


@dataclass(frozen=True)
class Request:
    """What is to be generated; see the command line for the fields."""

    task: str
    data_folder: str
    output_folder: str
    version: str = "v1"
    subsets: tuple = SUBSETS
    test_list: str | None = None
    sample_rate: int = SAMPLE_RATE
    rirs: tuple = rirs.CORPORA
    ace: str = "any"
    rebuild_from_csv: str | None = None
    workers: int = 1

    def __post_init__(self):
        if self.sample_rate != SAMPLE_RATE and self.version == "v1":
            raise UsageError("only version 2 has a 16-kHz mode: add --version=v2")

    @property
    def folder(self):
        """Of the generated corpus."""
        name = benchmark.corpus_name(self.task, self.version, self.sample_rate)
        return Path(self.output_folder) / name

    @property
    def ears(self):
        """Of the EARS download."""
        return os.path.join(self.data_folder, "EARS")

    def settings(self, subset):
        """What the workers need to know of a subset."""
        return render.Settings(
            task=self.task,
            version=self.version,
            data_folder=str(self.data_folder),
            folder=str(self.folder / subset),
            subset=subset,
            sample_rate=self.sample_rate,
        )


def needed_rirs(request, subset):
    """Room corpora that a subset draws from, as far as they are asked for."""
    own = rirs.SPLIT_V2[subset] if request.version == "v2" else rirs.CORPORA
    return [corpus for corpus in own if corpus in request.rirs]


def missing_sources(request, listing):
    """What keeps each subset from being made.

    Arguments
    ---------
    request : Request
    listing : dict
        Room corpus -> files.

    Returns
    -------
    dict
        Subset -> list of str, empty if it can be made.
    """
    reasons = {subset: [] for subset in SUBSETS}
    for subset, found in reasons.items():
        if not os.path.isdir(request.ears):
            found.append(f"{request.ears}")
        elif not benchmark.speakers_of(request.ears, subset):
            found.append(f"{request.ears}/p...: speakers of {subset}")
        if request.task == "EARS-WHAM":
            folder = os.path.join(request.data_folder, plan.AUDIO)
            if not os.path.isdir(folder):
                found.append(folder)
            metadata = os.path.join(request.data_folder, plan.METADATA)
            if request.version == "v2" and not os.path.exists(metadata):
                found.append(metadata)
        else:
            needed = needed_rirs(request, subset)
            found += [f"room responses {name}" for name in needed if not listing[name]]
            if not needed:
                found.append("room responses: none asked for")
    if not (request.test_list and os.path.exists(request.test_list)):
        found = request.test_list or "--test_list=.../test_files.json"
        reasons["test"].append(f"{found} (the benchmark's list of test segments)")
    return reasons


def check_sources(request, listing):
    """Refuse a request whose sources are missing, saying what can be made without.

    Raises
    ------
    UsageError
    """
    reasons = missing_sources(request, listing)
    if not any(reasons[subset] for subset in request.subsets):
        return
    lines = [
        f"  {subset}: {'; '.join(found)}"
        for subset, found in reasons.items()
        if found and subset in request.subsets
    ]
    possible = [subset for subset, found in reasons.items() if not found]
    way_out = (
        f"can be made without: --subsets {' '.join(possible)}"
        if possible
        else "no subset can be made without"
    )
    found = [name for name, files in listing.items() if files]
    if request.task == "EARS-Reverb" and found and len(found) < len(rirs.CORPORA):
        way_out += (
            f"; with other rooms than the benchmark's: --rirs {' '.join(found)} "
            "(its numbers are then not comparable)"
        )
    raise UsageError(
        f"sources of {request.task} {request.version} are missing in "
        f"{request.data_folder}:\n" + "\n".join(lines) + f"\n{way_out}"
    )


def list_rirs(request):
    """Room corpus -> files, empty for noise."""
    if request.task == "EARS-WHAM":
        return {}
    return {
        corpus: rirs.list_corpus(
            request.data_folder, corpus, request.version, request.ace
        )
        for corpus in request.rirs
    }


def list_speech(request, rng):
    """Stretches of speech of the subsets whose draws are needed, in their order.

    Validation goes on with the draws where training ended, so it needs those too.

    Arguments
    ---------
    request : Request
    rng : numpy.random.RandomState
        Of the test set; shuffles its recordings.

    Returns
    -------
    dict
        Subset -> list of Stretch; for test a list of such lists.
    """
    speech = {}
    wanted = request.subsets
    if "train" in wanted or "valid" in wanted:
        speech["train"] = benchmark.training_stretches(request.ears, "train")
    if "valid" in wanted:
        speech["valid"] = benchmark.training_stretches(request.ears, "valid")
    if "test" in wanted:
        entries = benchmark.read_test_list(
            request.test_list, request.task, request.version
        )
        rng.shuffle(entries)
        speech["test"] = benchmark.test_stretches(request.ears, entries)
    return speech
