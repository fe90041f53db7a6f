"""A request for a corpus, and a check that its sources exist."""

import os
from dataclasses import dataclass
from pathlib import Path

from lafufu_sb.corpora.ears import benchmark, plan, render, rirs
from lafufu_sb.corpora.ears.benchmark import SAMPLE_RATE
from lafufu_sb.corpora.tasks import REVERB, SUBSETS, WHAM
from lafufu_sb.errors import UsageError


@dataclass(frozen=True)
class Request:
    """A corpus to generate; the fields are the options of the command line."""

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
            raise UsageError("--16k exists only in version 2: add --version=v2")

    @property
    def folder(self):
        """Folder of the generated corpus."""
        name = benchmark.corpus_name(self.task, self.version, self.sample_rate)
        return Path(self.output_folder) / name

    @property
    def ears(self):
        """Folder of the EARS download."""
        return os.path.join(self.data_folder, "EARS")

    def settings(self, subset):
        """Settings of a subset for the workers."""
        return render.Settings(
            task=self.task,
            version=self.version,
            data_folder=str(self.data_folder),
            folder=str(self.folder / subset),
            subset=subset,
            sample_rate=self.sample_rate,
        )


def needed_rirs(request, subset):
    """List the requested room corpora that a subset draws from."""
    own = rirs.SPLIT_V2[subset] if request.version == "v2" else rirs.CORPORA
    return [corpus for corpus in own if corpus in request.rirs]


def missing_sources(request, listing):
    """List the missing sources of each subset.

    Arguments
    ---------
    request : Request
    listing : dict
        Room corpus -> files.

    Returns
    -------
    dict
        Subset -> list of str, empty if it can be generated.
    """
    reasons = {subset: [] for subset in SUBSETS}
    for subset, found in reasons.items():
        if not os.path.isdir(request.ears):
            found.append(f"{request.ears}")
        elif not benchmark.speakers_of(request.ears, subset):
            found.append(f"{request.ears}/p...: speakers of {subset}")
        if request.task == WHAM.name:
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
                found.append("room responses: none requested")
    if not (request.test_list and os.path.exists(request.test_list)):
        found = request.test_list or "--test_list=.../test_files.json"
        reasons["test"].append(f"{found} (the benchmark's list of test segments)")
    return reasons


def check_sources(request, listing):
    """Refuse a request whose sources are missing, and list possible alternatives.

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
        f"without them, generate --subsets {' '.join(possible)}"
        if possible
        else "no subset can be generated without them: download them"
    )
    found = [name for name, files in listing.items() if files]
    if request.task == REVERB.name and found and len(found) < len(rirs.CORPORA):
        way_out += (
            f"; or use other rooms than the benchmark: --rirs {' '.join(found)} "
            "(results are then not comparable)"
        )
    raise UsageError(
        f"sources of {request.task} {request.version} are missing in "
        f"{request.data_folder}:\n" + "\n".join(lines) + f"\n{way_out}"
    )


def list_rirs(request):
    """Map room corpora to files; empty for EARS-WHAM."""
    if request.task == WHAM.name:
        return {}
    return {
        corpus: rirs.list_corpus(
            request.data_folder, corpus, request.version, request.ace
        )
        for corpus in request.rirs
    }


def list_speech(request, rng):
    """List the speech of all subsets whose draws are needed, in their order.

    Validation continues the draws of training and needs those too.

    Arguments
    ---------
    request : Request
    rng : numpy.random.RandomState
        Generator of the test set; shuffles its recordings.

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
