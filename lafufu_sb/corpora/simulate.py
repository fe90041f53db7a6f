r"""Make a corpus in the layout of EARS-WHAM or EARS-Reverb from any speech and noise.

Sentences of one speaker (the file's folder) are joined to clips of several seconds.
Each clip is mixed by the rules of ``lafufu_sb.corpora.mixing`` or ``.reverberation``.
The result depends only on the files and the seed, not on where the files are or on the
number of workers.

Example::

    python -m lafufu_sb.corpora.simulate --task wham --speech my/speech \
        --noise my/noise.txt --subset train --minutes 100 --output corpora
"""

import argparse
import csv
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import joblib
import torch
from tqdm import tqdm

from lafufu_sb.corpora.babble import babble
from lafufu_sb.corpora.excerpts import read_channel, tile, write_wav
from lafufu_sb.corpora.mixing import SilentExcerptError, loudness, mix_at_snr
from lafufu_sb.corpora.pieces import assemble, clip_rng, plan_pieces
from lafufu_sb.corpora.reverberation import reverberate, rt60
from lafufu_sb.corpora.sources import TRIES, gather, scan, shares
from lafufu_sb.corpora.spectra import bandwidth, low_pass
from lafufu_sb.corpora.tasks import CLEAN, SUBSETS, WORDS, Task, find_task
from lafufu_sb.errors import UsageError
from lafufu_sb.files import temporary_folder, written_whole

logger = logging.getLogger(__name__)

FIELDS = ("id", "speaker", "speech_files", "speed", "source_file", "degradation")


@dataclass(frozen=True)
class Settings:
    """Settings of a subset.

    Arguments
    ---------
    sample_rate : int
        Hz of the corpus.
    snr_range : tuple of float
        dB, drawn uniformly and rounded to one decimal.
    untouched_share : float
        Share of clips without noise.
    babble_share : float
        Share of the noisy clips whose noise is other speakers of the same speech.
    match_bandwidth : bool
        Whether noise above the bandwidth of the speech is removed, as the content of
        the clean side is unknown there. Right for training, not for tests.
    max_rt60 : float
        Seconds; rooms with a longer reverberation time are drawn again.
    high_pass_hz : float
        Speech is high-passed here against rumble; 0 leaves it unchanged.
    piece_seconds : tuple of float
        Shortest and longest clip.
    subtype : str
        Sample format of soundfile.
    clips : int, optional
        Largest number of clips.
    speaker_weights, source_weights : dict of str to float, optional
        Glob on folder names -> probability, see ``sources.shares``.
    """

    sample_rate: int = 48000
    snr_range: tuple = (-2.5, 17.5)
    untouched_share: float = 0.0
    babble_share: float = 0.0
    match_bandwidth: bool = False
    max_rt60: float = 2.0
    high_pass_hz: float = 50.0
    piece_seconds: tuple = (4.0, 10.0)
    subtype: str = "PCM_16"
    clips: int | None = None
    speaker_weights: dict | None = None
    source_weights: dict | None = None

    def piece_options(self):
        """Options of ``plan_pieces``."""
        return {
            "piece_seconds": self.piece_seconds,
            "weights": self.speaker_weights,
            "clips": self.clips,
        }


@dataclass(frozen=True)
class _Render:
    """Writes the pairs of a subset; one instance is sent to all workers."""

    task: Task
    subset: str
    folder: Path
    seed: int
    settings: Settings
    speech: list
    sources: list
    chances: object

    def __call__(self, piece):
        """Write a pair; return its row and seconds, or None for silent speech."""
        rate, threads = self.settings.sample_rate, torch.get_num_threads()
        torch.set_num_threads(1)  # workers share the cores, and sums keep one order
        try:
            rng = clip_rng(self.seed, self.subset, piece.number, "render")
            try:
                speech = assemble(piece, rate, rng, self.settings.high_pass_hz)
                loudness(speech, rate)
            except SilentExcerptError as error:
                logger.warning("clip %05d left out: %s", piece.number, error)
                return None
            draw = self._noise if self.task.adds == "noise" else self._room
            degraded, label, source = draw(speech, rng, piece.speaker)
        finally:
            torch.set_num_threads(threads)
        name = f"{piece.number:05}"
        for side, stem, signal in (
            (CLEAN, name, speech),
            (self.task.degraded, f"{name}_{label}", degraded),
        ):
            path = self.folder / side / piece.speaker / f"{stem}.wav"
            write_wav(path, signal, rate, self.settings.subtype)
        files = "+".join(Path(path).name for path, _, _ in piece.cuts)
        source = f"{Path(source).parent.name}/{Path(source).name}"
        row = (name, piece.speaker, files, f"{piece.speed:.2f}", source, label)
        return row, speech.size / rate

    def _draw(self, rng):
        return self.sources[rng.choice(len(self.sources), p=self.chances)]

    def _noise(self, speech, rng, speaker):
        settings, rate = self.settings, self.settings.sample_rate
        snr_db = round(float(rng.uniform(*settings.snr_range)), 1)
        if settings.untouched_share and rng.random() < settings.untouched_share:
            return speech, self.task.label("inf"), "none"
        others = ()
        if settings.babble_share and rng.random() < settings.babble_share:
            others = [s for s in self.speech if s.folder != speaker]
        for _ in range(TRIES):
            try:
                if others:
                    source, noise = "babble", babble(others, speech.size, rng, rate)
                else:
                    source, noise = self._excerpt(speech.size, rng)
                if settings.match_bandwidth:
                    noise = low_pass(noise, bandwidth(speech, rate), rate)
                mixture, used = mix_at_snr(speech, noise, snr_db, rate)
            except SilentExcerptError:
                continue
            return mixture, self.task.label(f"{used:.1f}"), source
        raise UsageError(
            f"all {TRIES} excerpts of noise that were drawn are silent, the last one "
            f"from {source}: remove silent files"
        )

    def _excerpt(self, samples, rng):
        """Path and samples of a random excerpt of noise."""
        rate = self.settings.sample_rate
        seconds = samples / rate
        source = self._draw(rng)
        start = rng.uniform(0.0, max(source.seconds - seconds - 0.1, 0.0))
        noise = read_channel(source.path, rate, rng, start, seconds + 0.1)
        if noise.size < samples:
            noise = tile(noise, samples, rng, rate)
        return source.path, noise[:samples]

    def _room(self, speech, rng, _):
        rate, longest = self.settings.sample_rate, self.settings.max_rt60
        for _ in range(TRIES):
            source = self._draw(rng)
            rir = read_channel(source.path, rate, rng)
            try:
                seconds = rt60(rir, rate)
                if seconds > longest:
                    continue
                reverberant = reverberate(speech, rir, rate)
            except SilentExcerptError:
                continue
            return reverberant, self.task.label(f"{seconds:.2f}"), source.path
        raise UsageError(
            f"no room with an RT60 up to {longest} s in {TRIES} draws, the last one "
            f"was {source.path}: raise max_rt60 or add rooms"
        )


def simulate_corpus(
    task,
    speech_files,
    noise_or_rir_files,
    output_folder,
    subset,
    minutes,
    seed,
    settings=None,
    workers=1,
):
    """Write a subset, and ``simulated_<subset>.csv`` with the sources of each clip.

    Arguments
    ---------
    task : str
        "wham" (noise) or "reverb" (rooms).
    speech_files, noise_or_rir_files : iterable of str or Path
        Audio of any sample rate. A speech file's folder names its speaker. Noise is
        drawn in proportion to its length, rooms uniformly, channels uniformly.
    output_folder : str or Path
        Gets ``EARS-WHAM`` or ``EARS-Reverb``, with ``subset`` in it.
    subset : str
        "train", "valid" or "test".
    minutes : float
        Length of the subset.
    seed : int
        The same files and seed give the same output.
    settings : Settings, optional
        Sample rate, levels, lengths and weights.
    workers : int
        Processes; any number gives the same output.

    Returns
    -------
    float
        Minutes written.

    Raises
    ------
    UsageError
        For an unknown task, or files, weights or lengths that make no corpus.
    FileExistsError
        If the subset exists already.
    """
    task, settings = find_task(task), settings or Settings()
    corpus = Path(output_folder) / task.name
    if (corpus / subset).exists():
        raise FileExistsError(
            f"{corpus / subset} exists: remove it or choose another output folder"
        )
    sources = scan(noise_or_rir_files)
    amounts = [s.seconds if task.adds == "noise" else 1.0 for s in sources]
    chances = shares([s.folder for s in sources], amounts, settings.source_weights)
    speech = scan(speech_files)
    plan = plan_pieces(speech, minutes, seed, subset, **settings.piece_options())
    with temporary_folder(corpus / subset) as part:  # renamed when complete
        render = _Render(task, subset, part, seed, settings, speech, sources, chances)
        return _write(render, plan, corpus, workers)


def _write(render, plan, corpus, workers):
    subset = render.subset
    jobs = (joblib.delayed(render)(piece) for piece in plan)
    results = joblib.Parallel(n_jobs=workers, return_as="generator")(jobs)
    title = f"{render.task.word} {subset}"
    done = [r for r in tqdm(results, total=len(plan), desc=title) if r]
    if not done:
        raise UsageError(f"all speech drawn for {subset} is silent: check the files")
    listing = corpus / f"simulated_{subset}.csv"
    with written_whole(listing) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        writer.writerows(row for row, _ in done)
    os.replace(render.folder, corpus / subset)
    return sum(seconds for _, seconds in done) / 60.0


def parse_weight(text):
    """Parse ``glob=share`` of a command line to (glob, share)."""
    glob, _, value = text.rpartition("=")
    return glob, float(value)


def _read_arguments(arguments):
    own = Settings()
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--task", choices=sorted(WORDS), required=True)
    add("--speech", nargs="+", required=True, help="folders, .txt lists or files")
    add("--noise", "--rir", nargs="+", required=True, dest="sources", help="likewise")
    add("--output", required=True)
    add("--subset", choices=SUBSETS, required=True)
    add("--minutes", type=float, required=True)
    add("--clips", type=int, help="largest number of clips")
    add("--seed", type=int, default=42)
    add("--piece-seconds", type=float, nargs=2, default=own.piece_seconds)
    add("--snr-range", type=float, nargs=2, default=own.snr_range, help="dB")
    add("--untouched-share", type=float, default=0.0, help="clips without noise")
    add("--babble-share", type=float, default=0.0, help="noisy clips with babble")
    help_text = "remove noise above the bandwidth of the speech"
    add("--match-bandwidth", action="store_true", help=help_text)
    add("--max-rt60", type=float, default=own.max_rt60, help="seconds")
    add("--high-pass", type=float, default=own.high_pass_hz, help="Hz; 0 for none")
    add("--sample-rate", type=int, default=own.sample_rate)
    add("--include", nargs="+", default=["*"], help="globs on speaker/file")
    add("--exclude", nargs="+", default=[], help="globs on speaker/file")
    help_text = "probability of these folders, e.g. 'actor*=0.4'"
    add("--speaker-weight", nargs="+", type=parse_weight, default=[], help=help_text)
    add("--source-weight", nargs="+", type=parse_weight, default=[], help=help_text)
    add("--workers", type=int, default=os.cpu_count(), help="processes")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Run the command; see ``python -m lafufu_sb.corpora.simulate --help``."""
    options = _read_arguments(arguments)
    logging.basicConfig(level=logging.INFO)
    settings = Settings(
        sample_rate=options.sample_rate,
        snr_range=tuple(options.snr_range),
        untouched_share=options.untouched_share,
        babble_share=options.babble_share,
        match_bandwidth=options.match_bandwidth,
        max_rt60=options.max_rt60,
        high_pass_hz=options.high_pass,
        piece_seconds=tuple(options.piece_seconds),
        clips=options.clips,
        speaker_weights=dict(options.speaker_weight),
        source_weights=dict(options.source_weight),
    )
    try:
        minutes = simulate_corpus(
            options.task,
            gather(options.speech, options.include, options.exclude),
            gather(options.sources),
            options.output,
            options.subset,
            options.minutes,
            options.seed,
            settings,
            options.workers,
        )
    except (UsageError, OSError) as error:
        sys.exit(f"simulate: error: {error}")
    logger.info("%s %s: %.1f minutes", options.task, options.subset, minutes)


if __name__ == "__main__":
    main()
