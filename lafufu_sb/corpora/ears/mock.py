r"""Arrange any speech, noise and rooms in the layout of the benchmark's downloads.

The benchmark's generation can then run on other recordings, e.g. at a smaller scale.
Sentences of one speaker (the file's folder) are joined to recordings of several seconds
under ``EARS/p001`` and so on. Noise is written to ``WHAM48kHz`` with its metadata, and
rooms to the corpora that version 2 uses for the subset. Use version 2: version 1 shares
noises and rooms between the subsets. Example for one subset::

    python -m lafufu_sb.corpora.ears.mock --output mock --subset test --minutes 10 \
        --speech speech_test.txt --noise noise_test.txt --rir rir_test.txt
    python recipes/EARS/ears_prepare.py EARS-WHAM --version v2 --data_folder=mock
    python recipes/EARS/ears_prepare.py EARS-Reverb --version v2 --data_folder=mock \
        --rirs ACE AIR Palimpsest
"""

import argparse
import csv
import json
import logging
import os
import sys
from pathlib import Path

import joblib
import numpy as np
import torch
from tqdm import tqdm

from lafufu_sb.audio.recordings import read_header
from lafufu_sb.corpora.ears import benchmark
from lafufu_sb.corpora.ears.benchmark import SAMPLE_RATE
from lafufu_sb.corpora.ears.plan import AUDIO, METADATA
from lafufu_sb.corpora.excerpts import read_channel, tile, write_wav
from lafufu_sb.corpora.mixing import SilentExcerptError
from lafufu_sb.corpora.pieces import assemble, clip_rng, plan_pieces
from lafufu_sb.corpora.simulate import parse_weight
from lafufu_sb.corpora.sources import gather, scan
from lafufu_sb.corpora.tasks import SUBSETS
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole

logger = logging.getLogger(__name__)

TRAIN_SPEAKERS = tuple(f"p{number:03}" for number in range(1, 100))
SPEAKERS = {
    "train": TRAIN_SPEAKERS,
    "valid": benchmark.VALID_SPEAKERS,
    "test": benchmark.TEST_SPEAKERS,
}
ROOMS = {  # subset -> path of a room response
    "train": "Palimpsest/mock/{}.wav",
    "valid": "AIR/AIR_1_4/AIR_wav_files/{}.wav",
    "test": "ACE-Challenge/ACE_Corpus_RIRN_Single/{}_RIR.wav",
}
COLUMNS = ("Filename", "File Length (sec)", "WHAM! Split")


def _mapped(speakers, subset):
    """Map speakers to numbers of EARS; several may share a number outside train."""
    numbers = SPEAKERS[subset]
    if subset == "train" and len(speakers) > len(numbers):
        raise UsageError(
            f"{len(speakers)} training speakers, but EARS has {len(numbers)}: leave "
            "some out"
        )
    return {
        name: numbers[index % len(numbers)]
        for index, name in enumerate(sorted(speakers))
    }


def _write_speech(piece, path, seed, subset):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rng = clip_rng(seed, subset, piece.number, "render")
        speech = assemble(piece, SAMPLE_RATE, rng)
    except SilentExcerptError as error:
        logger.warning("%s left out: %s", path, error)
        return False
    finally:
        torch.set_num_threads(threads)
    write_wav(Path(path), speech, SAMPLE_RATE, "PCM_24")
    return True


def mock_speech(folder, files, subset, minutes, seed, seconds, weights, workers):
    """Write recordings of a subset under ``EARS``, for test with the segment list.

    Arguments
    ---------
    folder : Path
        Folder of the mock downloads.
    files : list of Path
        Sentences.
    subset : str
    minutes : float
        Total length.
    seed : int
    seconds : tuple of float
        Shortest and longest recording, under 29 for test.
    weights : dict
        Glob on speaker folders -> share, see ``sources.shares``.
    workers : int

    Returns
    -------
    int
        Number of recordings.
    """
    plan = plan_pieces(scan(files), minutes, seed, subset, seconds, weights, None)
    speakers = _mapped({piece.speaker for piece in plan}, subset)
    count, jobs = {}, []
    for piece in plan:
        number = speakers[piece.speaker]
        count[number] = count.get(number, 0) + 1
        name = f"{number}/sentences_{count[number]:02}_regular.wav"
        jobs.append((piece, str(folder / "EARS" / name), seed, subset))
    calls = (joblib.delayed(_write_speech)(*job) for job in jobs)
    results = joblib.Parallel(n_jobs=workers, return_as="generator")(calls)
    written = list(tqdm(results, total=len(jobs), desc=f"speech {subset}"))
    if subset == "test":
        table = {}
        for (_, path, *_), there in zip(jobs, written, strict=True):
            if there:
                table.setdefault(Path(path).parent.name, {})[Path(path).stem] = [
                    [0, -1]
                ]
        (folder / "test_files.json").write_text(json.dumps(table, indent=1))
    return sum(written)


def _unique_name(path):
    return f"{path.parent.name}_{path.stem}".replace(" ", "_")


def mock_noises(folder, files, subset, seed, seconds):
    """Write noise of a subset under ``WHAM48kHz``, short clips repeated.

    Arguments
    ---------
    folder : Path
        Folder of the mock downloads.
    files : list of Path
        Noise; the first channel of each is used.
    subset : str
    seed : int
    seconds : float
        Shortest length of a noise; the longest speech needs it.

    Returns
    -------
    int
        Number of recordings.
    """
    rows = []
    for number, path in enumerate(tqdm(sorted(files), desc=f"noise {subset}")):
        noise = read_channel(path, SAMPLE_RATE, 0)
        samples = round(seconds * SAMPLE_RATE)
        if noise.size < samples:
            rng = clip_rng(seed, subset, number, "noise")
            try:
                noise = tile(noise, samples, rng, SAMPLE_RATE)
            except SilentExcerptError as error:
                logger.warning("%s left out: %s", path, error)
                continue
        name = f"{subset}_{_unique_name(path)}.wav"
        write_wav(folder / AUDIO / name, noise, SAMPLE_RATE, "PCM_16")
        rows.append((name, f"{noise.size / SAMPLE_RATE:.2f}", subset.capitalize()))
    others = []
    if (folder / METADATA).exists():
        with open(folder / METADATA, newline="") as file:
            others = [r for r in csv.reader(file) if r[2] != subset.capitalize()][1:]
    with written_whole(folder / METADATA) as temporary:
        with open(temporary, "w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *others, *rows])
    return len(rows)


def mock_rooms(folder, files, subset):
    """Write the room responses of a subset to where version 2 looks for them.

    Arguments
    ---------
    folder : Path
        Folder of the mock downloads.
    files : list of Path
        Room responses with all their channels.
    subset : str

    Returns
    -------
    int
        Number of responses.
    """
    for path in tqdm(sorted(files), desc=f"rooms {subset}"):
        channels = range(read_header(path).channels)
        rir = [read_channel(path, SAMPLE_RATE, channel) for channel in channels]
        name = ROOMS[subset].format(_unique_name(path))
        rir = np.stack(rir, 1)
        rir = rir * min(1.0, 0.9 / np.abs(rir).max())
        write_wav(folder / name, rir, SAMPLE_RATE, "PCM_24")
    return len(files)


def main(arguments=None):
    """Run the command; see ``python -m lafufu_sb.corpora.ears.mock --help``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--output", type=Path, required=True, help="folder of the mock downloads")
    add("--subset", choices=SUBSETS, required=True)
    add("--speech", nargs="+", required=True, help="folders, .txt lists or files")
    add("--noise", nargs="+", default=[], help="the same")
    add("--rir", nargs="+", default=[], help="the same")
    add("--minutes", type=float, required=True, help="of speech in all")
    add(
        "--seconds",
        type=float,
        nargs=2,
        default=(4.5, 16.0),
        help="length of a recording",
    )
    add("--speaker-weight", nargs="+", type=parse_weight, default=[])
    add("--seed", type=int, default=42)
    add("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO)
    try:
        counts = _arrange(options)
    except (UsageError, OSError) as error:
        sys.exit(f"mock: error: {error}")
    logger.info("%s: %d recordings, %d noises, %d rooms", options.subset, *counts)


def _arrange(options):
    """Write what was asked for; numbers of recordings, noises and rooms."""
    shortest, longest = options.seconds
    if not 4.0 <= shortest < longest < 29.0:
        raise UsageError(
            f"--seconds {shortest:g} {longest:g}: the benchmark uses recordings from "
            "4 to 29 s"
        )
    output, subset, seed = options.output, options.subset, options.seed
    speech = mock_speech(
        output,
        gather(options.speech),
        subset,
        options.minutes,
        seed,
        (shortest, longest),
        dict(options.speaker_weight),
        options.workers,
    )
    noises = rooms = 0
    if options.noise:
        files = gather(options.noise)
        noises = mock_noises(output, files, subset, seed, longest + 2.0)
    if options.rir:
        rooms = mock_rooms(output, gather(options.rir), subset)
    return speech, noises, rooms


if __name__ == "__main__":
    main()
