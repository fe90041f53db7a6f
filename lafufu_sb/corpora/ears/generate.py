"""Generate EARS-WHAM and EARS-Reverb from EARS, WHAM!48kHz and room responses.

The pairs are those of the benchmark's own generators, version 1 or 2, for any number of
workers. An interrupted run can be resumed: files appear only when they are complete,
and so does the csv of a subset.

Example::

    python recipes/EARS/ears_prepare.py EARS-WHAM --data_folder=/data
"""

import argparse
import dataclasses
import logging
import os
import shutil
import sys
from pathlib import Path

import joblib
from tqdm import tqdm

from lafufu_sb.corpora.ears import benchmark, plan, rebuild, render, rirs
from lafufu_sb.corpora.ears.benchmark import SAMPLE_RATE
from lafufu_sb.corpora.ears.journal import Journal
from lafufu_sb.corpora.ears.sources import (
    Request,
    check_sources,
    list_rirs,
    list_speech,
    needed_rirs,
)
from lafufu_sb.corpora.tasks import SUBSETS, TASKS, WHAM
from lafufu_sb.errors import UsageError

logger = logging.getLogger(__name__)

BYTES = 4  # per sample
SPARE_BYTES = 200e6  # left on the disk


def _parallel(function, jobs, workers, title):
    """Iterate over the results in the order of the jobs, with a progress bar."""
    calls = (joblib.delayed(function)(*job) for job in jobs)
    results = joblib.Parallel(n_jobs=workers, return_as="generator")(calls)
    return tqdm(results, total=len(jobs), desc=title, unit="file")


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
    """Map stretches to the result of ``render.measure_speech``, where it is needed."""
    if request.task == WHAM.name and request.version == "v1":
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
    """Make all random draws.

    Arguments
    ---------
    request : Request

    Returns
    -------
    dict
        Subset -> list of Job, for the requested subsets.

    Raises
    ------
    UsageError
        If sources are missing or unusable.
    """
    if request.rebuild_from_csv:
        return rebuild.read_plan(request)
    listing = list_rirs(request)
    check_sources(request, listing)
    if listing:
        found = ", ".join(f"{name} {len(files)}" for name, files in listing.items())
        logger.info("room responses: %s", found)
    generators = plan.seeded_generators()
    speech = list_speech(request, generators["test"])
    stretches = {
        subset: [s for some in found for s in some] if subset == "test" else found
        for subset, found in speech.items()
    }
    measured = _measure(request, stretches)
    if request.task == WHAM.name:
        noises = plan.list_noises(request.data_folder, request.version)
        draws = plan.draw_all_noises(speech, noises, generators)
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


def check_space(request, left):
    """Refuse to start if the disk space does not suffice.

    Arguments
    ---------
    request : Request
    left : dict
        Subset -> remaining jobs.

    Raises
    ------
    UsageError
    """
    pieces = [
        piece for jobs in left.values() for job in jobs for piece in job.stretch.pieces
    ]
    frames = sum(piece.frames for piece in pieces) * request.sample_rate / SAMPLE_RATE
    needed = 2 * BYTES * frames
    free = shutil.disk_usage(request.folder).free
    if pieces and needed + SPARE_BYTES > free:
        raise UsageError(
            f"{request.folder} needs {needed / 1e9:.2f} GB for {len(pieces)} more "
            f"pairs, the disk has {free / 1e9:.2f} GB: free space, or choose another "
            "--output or fewer --subsets"
        )


def write_corpus(request, jobs):
    """Mix and write all pairs that do not exist yet.

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
    UsageError
        If disk space is short, audio is unreadable, or the folder holds files of other
        settings.
    """
    request.folder.mkdir(parents=True, exist_ok=True)
    journals = {subset: Journal(request, subset) for subset in jobs}
    left = {}
    for subset, journal in journals.items():
        journal.read()
        left[subset] = [job for job in jobs[subset] if not journal.has(job)]
        done = len(jobs[subset]) - len(left[subset])
        if done:
            logger.info("%s: %d recordings exist already", subset, done)
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
    """Generate EARS-WHAM or EARS-Reverb, or resume an interrupted run.

    Arguments
    ---------
    request : Request

    Returns
    -------
    dict
        Subset -> number of pairs.

    Raises
    ------
    UsageError
        See ``make_plan`` and ``write_corpus``.
    """
    return write_corpus(request, make_plan(request))


def read_arguments(arguments):
    """Parse the command line to a Request; see ``--help``."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="The data folder holds EARS, WHAM48kHz and the room responses in the "
        "layout of the download scripts. Repeat the command to resume.",
    )
    add = parser.add_argument
    add("task", choices=list(TASKS))
    add("--data_folder", "--data_dir", required=True, help="folder of the downloads")
    add("--output", help="where to write the corpus (default: the data folder)")
    add("--version", choices=benchmark.VERSIONS, default="v1")
    add("--16k", action="store_true", dest="low", help="write 16 kHz (version 2)")
    add("--subsets", nargs="+", choices=SUBSETS, default=list(SUBSETS))
    add(
        "--test_list",
        help="the benchmark's test_files.json, whose licence does not allow us to "
        "ship it (default: test_files.json in the data folder)",
    )
    add(
        "--rirs",
        nargs="+",
        choices=rirs.CORPORA,
        default=list(rirs.CORPORA),
        help="use only these room responses",
    )
    add(
        "--ace",
        choices=("any", "official"),
        default="any",
        help="official: version 1 finds no ACE room in the folders of the download "
        "script, like the original; any: it finds them",
    )
    add(
        "--rebuild_from_csv",
        help="reproduce published csv files: their folder, or one of them",
    )
    add("--workers", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args(arguments)
    given = Path(options.data_folder)
    if options.rebuild_from_csv:
        found = rebuild.csv_files(options.rebuild_from_csv)
        options.subsets = [name for name in options.subsets if name in found]
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
        rebuild_from_csv=options.rebuild_from_csv,
        workers=options.workers,
    )


def main(arguments=None):
    """Run the command; a UsageError ends in a message instead of a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        request = read_arguments(arguments)
        count = generate_corpus(request)
    except (UsageError, OSError) as error:
        sys.exit(
            f"ears_prepare.py: error: {error}\nFinished files are kept: repeat the "
            "command to resume."
        )
    for subset, pairs in count.items():
        logger.info("%s: %d pairs in %s", subset, pairs, request.folder / subset)


if __name__ == "__main__":
    main()
