"""Reproduce a corpus from its published csv files.

They list the excerpt of noise, or the room, of each pair, but not the channel of the
noise; ``lafufu_sb.corpora.ears.replay`` finds it.
"""

import csv
import itertools
import logging
import os
from pathlib import Path

import numpy as np

from lafufu_sb.corpora.ears import benchmark, plan
from lafufu_sb.corpora.ears.benchmark import (
    COLUMNS,
    SNR_DB,
    Piece,
    Speech,
    Stretch,
)
from lafufu_sb.corpora.ears.replay import Replay
from lafufu_sb.corpora.ears.rirs import ACE_ARRAYS
from lafufu_sb.corpora.ears.sources import list_speech
from lafufu_sb.corpora.tasks import SUBSETS, WHAM
from lafufu_sb.errors import UsageError

logger = logging.getLogger(__name__)

NAMED = 20  # missing files that an error lists


def csv_files(path):
    """Map subsets to published csv files.

    Arguments
    ---------
    path : str or Path
        A folder with some of train.csv, valid.csv and test.csv, or one of them.

    Raises
    ------
    UsageError
        If there is none.
    """
    path = Path(path)
    if path.is_file() and path.stem in SUBSETS:
        return {path.stem: path}
    found = {subset: path / f"{subset}.csv" for subset in SUBSETS}
    found = {subset: file for subset, file in found.items() if file.exists()}
    if not found:
        raise UsageError(f"{path} holds none of train.csv, valid.csv, test.csv")
    return found


def read_csv(path, task):
    """Read the rows of a published csv, grouped by recording.

    Returns
    -------
    list of list of dict
        Column -> text. Consecutive rows of a recording form a group.

    Raises
    ------
    UsageError
        If columns are missing or there are no rows.
    """
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    missing = [name for name in COLUMNS[task] if name not in (reader.fieldnames or ())]
    if missing or not rows:
        raise UsageError(
            f"{path} is not a csv of {task}: it has no {', '.join(missing) or 'rows'}"
        )
    groups = itertools.groupby(rows, lambda row: (row["speaker"], row["speech_file"]))
    return [list(group) for _, group in groups]


def _check_files(paths, folder):
    missing = sorted({path for path in paths if not os.path.exists(f"{folder}/{path}")})
    if missing:
        raise UsageError(
            f"the csv names {len(missing)} files that are not in {folder}: "
            f"{', '.join(missing[:NAMED])}{' ...' if len(missing) > NAMED else ''}: "
            "download them"
        )


def read_stretches(groups, ears, subset):
    """Find the stretches of speech of a csv's rows.

    Arguments
    ---------
    groups : list of list of dict
        See ``read_csv``.
    ears : str
        The EARS download.
    subset : str

    Returns
    -------
    list of tuple
        (Stretch, rows).

    Raises
    ------
    UsageError
        If recordings are missing (the message lists them) or have other lengths.
    """
    paths = [f"{rows[0]['speaker']}/{rows[0]['speech_file']}.wav" for rows in groups]
    _check_files(paths, ears)
    found = []
    for path, rows in zip(paths, groups, strict=True):
        speech = Speech(path, benchmark.checked_header(f"{ears}/{path}", channels=1)[0])
        cuts = [(int(row["speech_start"]), int(row["speech_end"])) for row in rows]
        if subset == "test":
            for index, (cut, row) in enumerate(zip(cuts, rows, strict=True)):
                frames = Stretch(speech, cut, ()).frames
                piece = Piece(*cut, 0, frames)
                found.append(
                    (Stretch(speech, cut, (piece,), tuple(cuts[:index])), [row])
                )
            continue
        pieces = {(p.start, p.end): p for p in benchmark.cut_pieces(speech.frames)}
        strange = [cut for cut in cuts if cut not in pieces]
        if strange:
            raise UsageError(
                f"{ears}/{path} has {speech.frames} samples and no piece "
                f"{strange[0]}, which the csv lists: download it again"
            )
        found.append((Stretch(speech, None, tuple(pieces[c] for c in cuts)), rows))
    return found


def _room_path(name, data_folder):
    """Path below the data folder; ACE folders may have either of their names."""
    name = name.lstrip("/")
    if not os.path.exists(f"{data_folder}/{name}"):
        for array in ACE_ARRAYS:
            short = f"ACE-Challenge/{array}/"
            long = f"ACE-Challenge/ACE_Corpus_RIRN_{array}/"
            for old, new in ((short, long), (long, short)):
                other = name.replace(old, new, 1)
                if name.startswith(old) and os.path.exists(f"{data_folder}/{other}"):
                    return other
    return name


def _read_rooms(found, data_folder):
    draws = []
    for _, rows in found:
        row = rows[0]
        gain = float(row["gain"])
        draws.append(
            plan.RoomDraw(
                _room_path(row["rir_file"], data_folder),
                int(row["channel"]),
                float(row["rt60"]),
                gain if np.isfinite(gain) else None,
            )
        )
    _check_files([draw.path for draw in draws], data_folder)
    return draws


def _followed(replay):
    if replay.uncertain():
        logger.warning(
            "%d noises fit the csv in more than one channel: the first is used",
            replay.uncertain(),
        )
    return replay.draws()


def _follow_training(found, noises, rng, order):
    """Find the draws of a training or validation csv, None where it fails."""
    replay = Replay(noises, rng, order)
    for stretch, rows in found:
        if not replay.follow(rows[0], stretch.frames, SNR_DB):
            break
    rng.set_state(replay.ways[0].state)
    order |= replay.ways[0].order
    draws = _followed(replay)
    return draws + [None] * (len(found) - len(draws))


def _follow_test(found, noises, request, rng, order):
    entries = benchmark.read_test_list(request.test_list, request.task, request.version)
    rng.shuffle(entries)
    rows_of = {(s.speech.path, s.cut): (s, rows[0]) for s, rows in found}
    replay, bins, followed = Replay(noises, rng, order), plan.StyleBins(), []
    for path, segments in entries:
        replay.begin_recording()
        current = None
        for cut in [cut for cut in segments if (path, cut) in rows_of]:
            stretch, row = rows_of[path, cut]
            bounds = bins.next(stretch.speech.stem)
            if replay.follow(row, stretch.frames, bounds, current is None, current):
                followed.append((path, cut))
            current = noises[row["noise_file"]]
    draws = dict(zip(followed, _followed(replay), strict=True))
    return [draws.get((s.speech.path, s.cut)) for s, _ in found]


def _draw_again(found, request, subset):
    """Repeat the draws of version 2, which fixes the order of the noises."""
    generators = plan.seeded_generators()
    speech = list_speech(request, generators["test"])
    noises = plan.list_noises(request.data_folder, request.version)
    drawn = plan.draw_all_noises(speech, noises, generators)[subset]
    stretches = speech[subset]
    if subset == "test":
        stretches = [stretch for some in stretches for stretch in some]
    by_speech = {
        (stretch.speech.path, stretch.cut): draw
        for stretch, draw in zip(stretches, drawn, strict=True)
    }
    draws = []
    for stretch, rows in found:
        draw = by_speech.get((stretch.speech.path, stretch.cut))
        row = rows[0]
        start = int(row["noise_start"]) - int(row["speech_start"])
        stem = draw and draw.path.split("/")[-1][:-4]
        fits = draw and (stem, draw.start) == (row["noise_file"], start)
        draws.append(draw if fits else None)
    return draws


def _take_noises(found, draws, noises, path):
    """Fill in noises with a single channel, for which no draw has to be known."""
    taken = []
    for (_, rows), draw in zip(found, draws, strict=True):
        row = rows[0]
        noise = noises[row["noise_file"]]
        if draw is None and noise.channels > 1:
            raise UsageError(
                f"{path} does not say which of {noise.channels} channels of "
                f"{noise.path} {row['id']} has, and no draws of the benchmark's "
                "generator give this row. Give the folder of all csv files (valid.csv "
                "needs train.csv), their --version, the --test_list, and all noises"
            )
        if draw is None:
            start = int(row["noise_start"]) - int(row["speech_start"])
            draw = plan.NoiseDraw(noise.path, 0, start, float(row["snr_dB"]))
        taken.append(draw)
    return taken


def _read_noises(request, files, found):
    """Subset -> list of NoiseDraw."""
    version = request.version
    every = {
        noise.path.split("/")[-1][:-4]: noise
        for noises in plan.list_noises(request.data_folder, version).values()
        for noise in noises
    }
    names = {row["noise_file"] for some in found.values() for _, r in some for row in r}
    _check_files([f"{plan.AUDIO}/{name}.wav" for name in names], request.data_folder)
    generators, order, draws = plan.seeded_generators(), {}, {}
    for subset, some in found.items():
        if version == "v2":
            draws[subset] = _draw_again(some, request, subset)
        elif subset == "test":
            draws[subset] = _follow_test(
                some, every, request, generators[subset], order
            )
        else:
            draws[subset] = _follow_training(some, every, generators[subset], order)
        draws[subset] = _take_noises(some, draws[subset], every, files[subset])
    return draws


def read_plan(request):
    """Plan a corpus as listed in its published csv files.

    Arguments
    ---------
    request : Request
        With ``rebuild_from_csv``.

    Returns
    -------
    dict
        Subset -> list of Job, for the requested subsets.

    Raises
    ------
    UsageError
        If a csv is unreadable or lists missing files, or the channel of a noise cannot
        be found.
    """
    files = csv_files(request.rebuild_from_csv)
    beside = csv_files(Path(next(iter(files.values()))).parent)
    needed = dict(files)
    if (request.task, request.version) == (WHAM.name, "v1"):
        needed = beside | files  # validation continues the draws of training
    found = {
        subset: read_stretches(
            read_csv(needed[subset], request.task), request.ears, subset
        )
        for subset in SUBSETS
        if subset in needed
    }
    if request.task == WHAM.name:
        draws = _read_noises(request, needed, found)
    else:
        draws = {s: _read_rooms(some, request.data_folder) for s, some in found.items()}
    return {
        subset: [
            plan.Job(stretch, draw, tuple(int(row["id"]) for row in rows))
            for (stretch, rows), draw in zip(found[subset], draws[subset], strict=True)
        ]
        for subset in SUBSETS
        if subset in files and subset in request.subsets
    }
