"""A corpus in the layout of EARS-WHAM or EARS-Reverb out of any speech and noise.

For whoever has folders of speech, noise or room impulse responses and wants to train
or test without the EARS download.  Sentences of one speaker (the file's parent
folder) are joined to pieces of some seconds; each piece is mixed by the rules of
:mod:`lafufu_sb.corpora.mixing`.  The output depends on the files and the seed only, not
on where the files lie nor on the number of workers.

Example::

    python -m lafufu_sb.corpora.simulate --task wham --speech my/speech \
        --noise my/noise.txt --subset train --minutes 100 --output corpora
"""

import argparse
import csv
import fnmatch
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import joblib
import torch
from tqdm import tqdm

from lafufu_sb.audio.files import AUDIO_SUFFIXES
from lafufu_sb.corpora import mixing, pieces

logger = logging.getLogger(__name__)

CORPUS = {"wham": "EARS-WHAM", "reverb": "EARS-Reverb"}
DEGRADED = {"wham": "noisy", "reverb": "reverberant"}
TRIES = 200  # draws of noise or room before giving up
FIELDS = ("id", "speaker", "speech_files", "speed", "source_file", "degradation")


@dataclass(frozen=True)
class Settings:
    """What every clip of a subset shares."""

    task: str
    subset: str
    folder: str
    seed: int
    sample_rate: int
    snr_range: tuple
    max_rt60: float
    high_pass_hz: float
    subtype: str


def _draw_noise(speech, sources, chances, rng, settings):
    seconds = speech.size / settings.sample_rate
    snr_db = round(float(rng.uniform(*settings.snr_range)), 1)
    for _ in range(TRIES):
        source = sources[rng.choice(len(sources), p=chances)]
        start = rng.uniform(0.0, max(source.seconds - seconds - 0.1, 0.0))
        rate = settings.sample_rate
        noise = pieces.read_channel(source.path, rate, rng, start, seconds + 0.1)
        try:
            if noise.size < speech.size:
                noise = pieces.tile(noise, speech.size, rng, rate)
            mixture, used = mixing.mix_at_snr(
                speech, noise[: speech.size], snr_db, rate
            )
        except mixing.SilentExcerptError:
            continue
        return mixture, f"{used:.1f}dB", source.path
    raise RuntimeError(f"no noise with energy in {TRIES} draws: check the noise files")


def _draw_room(speech, sources, chances, rng, settings):
    for _ in range(TRIES):
        source = sources[rng.choice(len(sources), p=chances)]
        rir = pieces.read_channel(source.path, settings.sample_rate, rng)
        try:
            seconds = mixing.rt60(rir, settings.sample_rate)
            if seconds > settings.max_rt60:
                continue
            reverberant = mixing.reverberate(speech, rir, settings.sample_rate)
        except mixing.SilentExcerptError:
            continue
        return reverberant, f"{seconds:.2f}", source.path
    raise RuntimeError(
        f"no room with RT60 up to {settings.max_rt60} s in {TRIES} draws: "
        "raise max_rt60 or add rooms"
    )


def _render(piece, sources, chances, settings):
    """Write one pair; returns its row and seconds, or None for silent speech."""
    rate, threads = settings.sample_rate, torch.get_num_threads()
    torch.set_num_threads(1)  # workers share the cores, and sums keep one order
    try:
        rng = pieces.clip_rng(settings.seed, settings.subset, piece.number, "render")
        try:
            speech = pieces.assemble(piece, rate, rng, settings.high_pass_hz)
            mixing.loudness(speech, rate)
        except mixing.SilentExcerptError as error:
            logger.warning("clip %05d left out: %s", piece.number, error)
            return None
        draw = _draw_noise if settings.task == "wham" else _draw_room
        degraded, label, source = draw(speech, sources, chances, rng, settings)
    finally:
        torch.set_num_threads(threads)
    folder, name = Path(settings.folder), f"{piece.number:05}"
    side = folder / DEGRADED[settings.task] / piece.speaker
    clean = folder / "clean" / piece.speaker
    form = settings.sample_rate, settings.subtype
    pieces.write_wav(clean / f"{name}.wav", speech, *form)
    pieces.write_wav(side / f"{name}_{label}.wav", degraded, *form)
    files = "+".join(Path(path).name for path, _, _ in piece.cuts)
    source = f"{Path(source).parent.name}/{Path(source).name}"
    row = (name, piece.speaker, files, f"{piece.speed:.2f}", source, label)
    return row, speech.size / settings.sample_rate


def simulate_corpus(
    task,
    speech_files,
    noise_or_rir_files,
    output_folder,
    subset,
    minutes,
    seed,
    sample_rate=48000,
    snr_range=(-2.5, 17.5),
    max_rt60=2.0,
    high_pass_hz=50.0,
    piece_seconds=(4.0, 10.0),
    subtype="PCM_16",
    clips=None,
    speaker_weights=None,
    source_weights=None,
    workers=1,
):
    """Write a subset in the layout of EARS-WHAM or EARS-Reverb.

    Parameters
    ----------
    task : {"wham", "reverb"}
        Noise or rooms.
    speech_files, noise_or_rir_files : iterable of path-like
        Audio of any rate; a speech file's parent folder names its speaker.  Noise is
        drawn by its seconds, rooms each alike; of several channels one is drawn.
    output_folder : path-like
        Gets ``EARS-WHAM`` or ``EARS-Reverb`` with ``subset`` in it, and
        ``simulated_<subset>.csv``, which says what each clip is made of.
    subset : str
        "train", "valid" or "test".
    minutes : float
        Planned length of the subset.
    seed : int
        Same files and seed, same output, for any number of workers.
    sample_rate : int
        Hz of the output.
    snr_range : tuple of float
        dB, drawn uniformly with one decimal.
    max_rt60 : float
        Rooms with more seconds are drawn again.
    high_pass_hz : float
        Rumble of the speech recordings below it is taken out; 0 keeps it.
    piece_seconds : tuple of float
        Shortest and longest clip.
    subtype : str
        soundfile's sample format.
    clips : int, optional
        Stop at so many clips even if the minutes are not reached.
    speaker_weights, source_weights : dict of str to float, optional
        Glob on folder names -> probability, see :func:`~lafufu_sb.corpora.pieces.shares`.
    workers : int
        Processes.

    Returns
    -------
    float
        Minutes written.

    Raises
    ------
    ValueError
        Unknown task, or files, weights or lengths that make no corpus.
    FileExistsError
        The subset exists already.

    Notes
    -----
    Layout and mixing rules: EARS-WHAM v1 and EARS-Reverb v1, Richter et al. 2024.
    """
    if task not in CORPUS:
        raise ValueError(f"task is {task!r}; expected one of {sorted(CORPUS)}")
    corpus = Path(output_folder) / CORPUS[task]
    if (corpus / subset).exists():
        raise FileExistsError(f"{corpus / subset} exists: remove it or go elsewhere")
    sources = pieces.scan(noise_or_rir_files)
    amounts = [s.seconds if task == "wham" else 1.0 for s in sources]
    chances = pieces.shares([s.folder for s in sources], amounts, source_weights)
    speech = pieces.scan(speech_files)
    plan = pieces.plan_pieces(
        speech, minutes, seed, subset, piece_seconds, speaker_weights, clips
    )
    unfinished = corpus / f".{subset}.part"  # takes its name when all is there
    shutil.rmtree(unfinished, ignore_errors=True)
    settings = Settings(
        task=task,
        subset=subset,
        folder=str(unfinished),
        seed=seed,
        sample_rate=sample_rate,
        snr_range=tuple(snr_range),
        max_rt60=max_rt60,
        high_pass_hz=high_pass_hz,
        subtype=subtype,
    )
    jobs = (joblib.delayed(_render)(p, sources, chances, settings) for p in plan)
    results = joblib.Parallel(n_jobs=workers, return_as="generator")(jobs)
    done = [r for r in tqdm(results, total=len(plan), desc=f"{task} {subset}") if r]
    if not done:
        raise ValueError(f"all speech drawn for {subset} is silent: check the files")
    with open(corpus / f"simulated_{subset}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        writer.writerows(row for row, _ in done)
    os.replace(unfinished, corpus / subset)
    return sum(seconds for _, seconds in done) / 60.0


def gather(entries, include=("*",), exclude=()):
    """Collect audio files from folders (recursively), ``.txt`` lists and files.

    ``include`` and ``exclude`` are globs on ``parent/name``.  Returns a list of Path;
    raises FileNotFoundError for an entry that does not exist.
    """
    found = []
    for entry in map(Path, entries):
        if not entry.exists():
            raise FileNotFoundError(f"{entry} is neither a folder, a list nor a file")
        if entry.is_dir():
            found += [p for p in entry.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES]
        elif entry.suffix == ".txt":
            found += [Path(line) for line in entry.read_text().splitlines() if line]
        else:
            found.append(entry)

    def wanted(path):
        name = f"{path.parent.name}/{path.name}"
        some = any(fnmatch.fnmatch(name, glob) for glob in include)
        return some and not any(fnmatch.fnmatch(name, glob) for glob in exclude)

    return [path for path in found if wanted(path)]


def parse_weight(text):
    """``glob=share`` of a command line -> (glob, share)."""
    glob, _, value = text.rpartition("=")
    return glob, float(value)


def main(arguments=None):
    """Command line; see ``python -m lafufu_sb.corpora.simulate --help``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--task", choices=sorted(CORPUS), required=True)
    add("--speech", nargs="+", required=True, help="folders, .txt lists or files")
    add("--noise", "--rir", nargs="+", required=True, dest="sources", help="the same")
    add("--output", required=True)
    add("--subset", choices=("train", "valid", "test"), required=True)
    add("--minutes", type=float, required=True)
    add("--clips", type=int, help="stop at so many clips")
    add("--seed", type=int, default=42)
    add("--piece-seconds", type=float, nargs=2, default=(4.0, 10.0))
    add("--snr-range", type=float, nargs=2, default=(-2.5, 17.5), help="dB")
    add("--max-rt60", type=float, default=2.0, help="seconds")
    add("--high-pass", type=float, default=50.0, help="Hz, of the speech; 0: none")
    add("--sample-rate", type=int, default=48000)
    add("--include", nargs="+", default=["*"], help="globs on speaker/file")
    add("--exclude", nargs="+", default=[], help="globs on speaker/file")
    help_text = "e.g. 'actor*=0.4': this share to these folders"
    add("--speaker-weight", nargs="+", type=parse_weight, default=[], help=help_text)
    add("--source-weight", nargs="+", type=parse_weight, default=[], help=help_text)
    add("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO)
    minutes = simulate_corpus(
        options.task,
        gather(options.speech, options.include, options.exclude),
        gather(options.sources),
        options.output,
        options.subset,
        options.minutes,
        options.seed,
        sample_rate=options.sample_rate,
        snr_range=options.snr_range,
        max_rt60=options.max_rt60,
        high_pass_hz=options.high_pass,
        piece_seconds=options.piece_seconds,
        clips=options.clips,
        speaker_weights=dict(options.speaker_weight),
        source_weights=dict(options.source_weight),
        workers=options.workers,
    )
    logger.info("%s %s: %.1f minutes", options.task, options.subset, minutes)


if __name__ == "__main__":
    main()
