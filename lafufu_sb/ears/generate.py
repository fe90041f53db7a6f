"""EARS-WHAM and EARS-Reverb from the downloaded EARS, WHAM!48kHz and room responses.

The same pairs as the benchmark's own generators make, version 1 or 2, for any number
of workers. An interrupted run goes on where it was: files appear when they are whole,
and a subset's csv when the subset is.

Example::

    python recipes/EARS/ears_prepare.py EARS-WHAM --data_folder=/data
"""

import argparse
import csv
import dataclasses
import logging
import os
import shutil
import sys
from pathlib import Path

import joblib
import numpy as np
import soundfile
from tqdm import tqdm

from lafufu_sb.ears import benchmark, plan, render, rirs
from lafufu_sb.ears.benchmark import COLUMNS, SAMPLE_RATE, SEED, SUBSETS
from lafufu_sb.errors import WrongUse
from lafufu_sb.files import written_whole

logger = logging.getLogger(__name__)

BYTES = 4  # per sample
SPARE_BYTES = 200e6  # left on the disk
NAMED = 20  # names in an error


@dataclasses.dataclass(frozen=True)
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
    workers: int = 1

    def __post_init__(self):
        if self.sample_rate != SAMPLE_RATE and self.version == "v1":
            raise WrongUse("only version 2 has a 16-kHz mode: add --version=v2")

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


def _parallel(function, jobs, workers, title):
    """Results in the order of the jobs, as they come."""
    calls = (joblib.delayed(function)(*job) for job in jobs)
    results = joblib.Parallel(n_jobs=workers, return_as="generator")(calls)
    return tqdm(results, total=len(jobs), desc=title, unit="file")


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
    WrongUse
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
    raise WrongUse(
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


def _plan_noises(request, speech, generators):
    noises = plan.list_noises(request.data_folder, request.version)
    draws = {}
    for subset, stretches in speech.items():
        draw = plan.draw_test_noises if subset == "test" else plan.draw_noises
        draws[subset] = draw(stretches, noises[subset], generators[subset])
    return draws


def _plan_rooms(request, stretches, listing, generators, measured):
    pool = rirs.pool_rirs(listing, generators["train"])
    draws = {}
    for subset, some in stretches.items():
        settings = request.settings(subset)
        names = [n for corpus in needed_rirs(request, subset) for n in pool[corpus]]

        def audible(stretch, name, channel, peak, settings=settings):
            lufs = measured[stretch][0]
            return render.has_loudness(settings, stretch, lufs, name, channel, peak)

        def measure(name, channel):
            return rirs.measure_rir(request.data_folder, name, channel)

        def channels(name):
            return rirs.count_channels(request.data_folder, name)

        draws[subset] = plan.draw_rooms(
            tqdm(some, desc=f"{subset}: rooms", unit="file"),
            names,
            generators[subset],
            channels,
            measure,
            audible,
        )
        draws[subset] = list(draws[subset])
    return draws


def _measure(request, stretches):
    """Stretch -> what ``render.measure_speech`` says, for all that need it."""
    if request.task == "EARS-WHAM" and request.version == "v1":
        return {}
    measured = {}
    for subset, some in stretches.items():
        jobs = [(request.settings(subset), stretch) for stretch in some]
        found = _parallel(
            render.measure_speech, jobs, request.workers, f"{subset}: loudness"
        )
        measured |= zip(some, found, strict=True)
    return measured


def make_plan(request):
    """Draw everything that is random.

    Arguments
    ---------
    request : Request

    Returns
    -------
    dict
        Subset -> list of Job, for the subsets asked for.

    Raises
    ------
    WrongUse
        Sources are missing or unusable.
    """
    listing = list_rirs(request)
    check_sources(request, listing)
    first, again = (np.random.RandomState(SEED) for _ in range(2))
    generators = {"train": first, "valid": first, "test": again}
    speech = list_speech(request, again)
    stretches = {
        subset: [s for some in found for s in some] if subset == "test" else found
        for subset, found in speech.items()
    }
    measured = _measure(request, stretches)
    if request.task == "EARS-WHAM":
        draws = _plan_noises(request, speech, generators)
    else:
        draws = _plan_rooms(request, stretches, listing, generators, measured)
    kept = {
        subset: [_loud_pieces(stretch, measured) for stretch in some]
        for subset, some in stretches.items()
    }
    return {
        subset: plan.number_jobs(kept[subset], draws[subset])
        for subset in SUBSETS
        if subset in request.subsets
    }


def _loud_pieces(stretch, measured):
    if stretch not in measured:
        return stretch
    flags = measured[stretch][1]
    pieces = [p for p, loud in zip(stretch.pieces, flags, strict=True) if loud]
    return dataclasses.replace(stretch, pieces=tuple(pieces))


class Journal:
    """The rows of a subset: beside the files while it grows, a csv when it is whole."""

    def __init__(self, request, subset):
        self.task, self.settings = request.task, request.settings(subset)
        self.final = request.folder / f"{subset}.csv"
        self.growing = request.folder / f".{subset}.csv.part"
        self.rows = {}

    def read(self):
        """Read what an earlier run noted; the last line may be torn."""
        for path in (self.final, self.growing):
            if path.exists():
                with open(path, newline="") as file:
                    for row in csv.reader(file):
                        if len(row) == len(COLUMNS[self.task]) and row[0] != "id":
                            self.rows[row[0]] = tuple(row)
        if self.growing.exists():  # without the torn line
            with written_whole(self.growing) as temporary:
                with open(temporary, "w", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows(self.rows.values())

    def has(self, job):
        """Whether all files of a job are there and whole.

        Raises
        ------
        WrongUse
            The rows noted are those of other draws.
        """
        whole = True
        pieces = job.stretch.pieces
        for number, piece in zip(job.numbers, pieces, strict=True):
            row = self.rows.get(f"{number:05}")
            if row is None:
                return False
            start, source = str(piece.start), Path(job.draw.path)
            fits = row[2:4] == (job.stretch.speech.stem, start)
            if not fits or Path(row[5]).name not in (source.name, source.stem):
                raise WrongUse(
                    f"{self.settings.folder} holds {','.join(row)}, made of other "
                    f"sources or settings than now ({job.stretch.speech.path}, "
                    f"{job.draw.path}): remove the folder or give another --output"
                )
            frames = -(-piece.frames * self.settings.sample_rate // SAMPLE_RATE)
            label = render.label_of(self.task, row)
            for path in render.pair_paths(self.settings, row, label):
                whole = whole and _has_frames(path, frames)
        return whole

    def add(self, rows):
        """Note the rows of a job that is written."""
        self.rows |= {row[0]: row for row in rows}
        with open(self.growing, "a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def finish(self, jobs):
        """Write the subset's csv; returns the number of rows."""
        numbers = [f"{number:05}" for job in jobs for number in job.numbers]
        with written_whole(self.final) as temporary:
            with open(temporary, "w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS[self.task])
                writer.writerows(self.rows[number] for number in numbers)
        self.growing.unlink(missing_ok=True)
        return len(numbers)


def _has_frames(path, frames):
    try:
        return soundfile.info(path).frames == frames
    except (OSError, soundfile.LibsndfileError):
        return False


def check_space(request, left):
    """Refuse to begin what the disk cannot hold.

    Arguments
    ---------
    request : Request
    left : dict
        Subset -> jobs still to do.

    Raises
    ------
    WrongUse
    """
    pieces = [
        piece for jobs in left.values() for job in jobs for piece in job.stretch.pieces
    ]
    frames = sum(piece.frames for piece in pieces) * request.sample_rate / SAMPLE_RATE
    needed = 2 * BYTES * frames
    free = shutil.disk_usage(request.folder).free
    if pieces and needed + SPARE_BYTES > free:
        raise WrongUse(
            f"{request.folder} needs {needed / 1e9:.2f} GB for {len(pieces)} more "
            f"pairs, the disk has {free / 1e9:.2f} GB: free some, give another "
            "--output, or fewer --subsets"
        )


def write_corpus(request, jobs):
    """Mix and write all that is not there yet.

    Arguments
    ---------
    request : Request
    jobs : dict
        Subset -> list of Job.

    Returns
    -------
    dict
        Subset -> number of pairs.

    Raises
    ------
    WrongUse
        Not enough disk space, files of other settings in the folder, unreadable audio.
    """
    request.folder.mkdir(parents=True, exist_ok=True)
    journals = {subset: Journal(request, subset) for subset in jobs}
    left = {}
    for subset, journal in journals.items():
        journal.read()
        left[subset] = [job for job in jobs[subset] if not journal.has(job)]
        done = len(jobs[subset]) - len(left[subset])
        if done:
            logger.info("%s: %d recordings are there already", subset, done)
    check_space(request, left)
    count = {}
    for subset, journal in journals.items():
        tasks = [(journal.settings, job) for job in left[subset]]
        for rows, problem in _parallel(render.render, tasks, request.workers, subset):
            journal.add(rows)
            if problem:
                logger.warning("%s", problem)
        count[subset] = journal.finish(jobs[subset])
    return count


def generate_corpus(request):
    """Generate EARS-WHAM or EARS-Reverb, or what is left of it.

    Arguments
    ---------
    request : Request

    Returns
    -------
    dict
        Subset -> number of pairs.

    Raises
    ------
    WrongUse
        See ``make_plan`` and ``write_corpus``.
    """
    return write_corpus(request, make_plan(request))


def read_arguments(arguments):
    """Read the command line; see ``--help``."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="EARS, WHAM48kHz and the room responses as their download scripts "
        "leave them; an interrupted run goes on where it was.",
    )
    add = parser.add_argument
    add("task", choices=benchmark.TASKS)
    add("--data_folder", "--data_dir", required=True, help="holds the downloads")
    add("--output", help="where the corpus goes (default: the data folder)")
    add("--version", choices=benchmark.VERSIONS, default="v1")
    add("--16k", action="store_true", dest="low", help="write 16 kHz (version 2)")
    add("--subsets", nargs="+", choices=SUBSETS, default=list(SUBSETS))
    add(
        "--test_list",
        help="the benchmark's test_files.json, which is not ours to ship "
        "(default: test_files.json in the data folder)",
    )
    add(
        "--rirs",
        nargs="+",
        choices=rirs.CORPORA,
        default=list(rirs.CORPORA),
        help="only these room responses",
    )
    add(
        "--ace",
        choices=("any", "official"),
        default="any",
        help="official: version 1 finds no ACE room in the folders that the download "
        "script makes, as the original; any: it finds them",
    )
    add("--workers", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args(arguments)
    given = Path(options.data_folder)
    return Request(
        task=options.task,
        data_folder=str(given),
        output_folder=options.output or str(given),
        version=options.version,
        subsets=tuple(name for name in SUBSETS if name in options.subsets),
        test_list=options.test_list or str(given / "test_files.json"),
        sample_rate=16000 if options.low else SAMPLE_RATE,
        rirs=tuple(name for name in rirs.CORPORA if name in options.rirs),
        ace=options.ace,
        workers=options.workers,
    )


def main(arguments=None):
    """Command line; wrong use ends in a message, not in a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        request = read_arguments(arguments)
        count = generate_corpus(request)
    except (WrongUse, OSError) as error:
        sys.exit(
            f"ears_prepare.py: error: {error}\nFinished files are kept: the same "
            "command goes on."
        )
    for subset, pairs in count.items():
        logger.info("%s: %d pairs in %s", subset, pairs, request.folder / subset)


if __name__ == "__main__":
    main()
