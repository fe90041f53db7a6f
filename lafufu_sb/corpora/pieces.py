"""Join sentences of one speaker to clips of several seconds."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lafufu_sb.corpora.excerpts import high_pass, random_speed, read_channel
from lafufu_sb.corpora.mixing import SilentExcerptError, ramp
from lafufu_sb.corpora.sources import shares
from lafufu_sb.errors import UsageError

PAUSE_SECONDS = (0.15, 0.5)  # between two sentences
FADE_SECONDS = 0.01  # at the edges of each sentence: short, but avoids a click
PEAK_DBFS = (-20.0, -1.0)  # level of a clip: uniform in dB
SPEED_PROBABILITY, SPEED_PERCENT = 0.2, 5


@dataclass(frozen=True)
class Piece:
    """The plan of a clean clip.

    ``cuts`` are (path, start, seconds) of its sentences, ``pauses`` the seconds of
    silence before each of them.
    """

    number: int
    speaker: str
    cuts: tuple
    pauses: tuple
    speed: float


def clip_rng(seed, subset, number, stage):
    """Return the generator of a clip for one stage, independent of all other clips.

    Arguments
    ---------
    seed, number : int
        Of the corpus and of the clip.
    subset, stage : str
        Subset and processing stage.

    Returns
    -------
    numpy.random.Generator
    """
    stream = zlib.crc32(f"{subset}/{stage}".encode())
    return np.random.default_rng([seed, stream, number])


def plan_pieces(
    sources, minutes, seed, subset, piece_seconds, weights=None, clips=None
):
    """Plan clips until their total length or number is reached.

    Each speaker's sentences are dealt from a shuffled bag: all are used before one is
    used again.

    Arguments
    ---------
    sources : list of Source
        Sentences; the folder is the speaker.
    minutes : float
        Total length.
    seed : int
        Seed of all draws.
    subset : str
        Name of the subset, which changes the draws.
    piece_seconds : tuple of float
        Shortest and longest clip.
    weights : dict of str to float, optional
        Shares of speakers, see ``shares``.
    clips : int, optional
        Largest number of clips.

    Returns
    -------
    list of Piece

    Raises
    ------
    UsageError
        If the range of lengths is too narrow or no speaker has enough speech.
    """
    shortest, longest = piece_seconds
    if longest < shortest + 1.0:
        raise UsageError(
            f"piece_seconds {piece_seconds} must span at least 1 s: raise the second"
        )
    by_speaker = {}
    for source in sources:
        by_speaker.setdefault(source.folder, []).append(source)
    seconds = {s: sum(x.seconds for x in files) for s, files in by_speaker.items()}
    speakers = [s for s in by_speaker if seconds[s] >= shortest]
    if not speakers:
        raise UsageError(f"no speaker folder holds {shortest} s of speech: add speech")
    chances = shares(speakers, [seconds[s] for s in speakers], weights)
    bags = {s: [] for s in speakers}
    pieces, total = [], 0.0
    while total < 60.0 * minutes and (clips is None or len(pieces) < clips):
        rng = clip_rng(seed, subset, len(pieces), "plan")
        speaker = speakers[rng.choice(len(speakers), p=chances)]
        piece, length = _plan_piece(
            rng, len(pieces), speaker, by_speaker[speaker], bags[speaker], piece_seconds
        )
        pieces.append(piece)
        total += length
    return pieces


def _plan_piece(rng, number, speaker, sentences, bag, piece_seconds):
    shortest, longest = piece_seconds
    target, speed = rng.uniform(shortest, longest), 1.0
    if rng.random() < SPEED_PROBABILITY:
        speed = random_speed(SPEED_PERCENT, rng)
    cuts, pauses, total = [], [], 0.0
    while total < target:
        if not bag:
            bag.extend(sentences[i] for i in rng.permutation(len(sentences)))
        pause = rng.uniform(*PAUSE_SECONDS) if cuts else 0.0
        left = longest - total - pause
        seconds, start = bag[-1].seconds / speed, 0.0
        if seconds > left:
            if total >= shortest:
                break  # the sentence stays in the bag for the next piece
            whole, seconds = seconds, min(max(target - total - pause, 0.5), left)
            start = rng.uniform(0.0, whole - seconds) * speed
        cuts.append((bag.pop().path, start, seconds * speed))
        pauses.append(pause)
        total += pause + seconds
    return Piece(number, speaker, tuple(cuts), tuple(pauses), float(speed)), total


def assemble(piece, sample_rate, rng, high_pass_hz=0.0):
    """Render a planned clip with a random peak level.

    Arguments
    ---------
    piece : Piece
        The plan.
    sample_rate : int
        Hz.
    rng : numpy.random.Generator
        Draws the level.
    high_pass_hz : float
        See ``high_pass``.

    Returns
    -------
    numpy.ndarray
        (samples,), float64.

    Raises
    ------
    SilentExcerptError
        If the sentences are silent.
    """
    fade = round(FADE_SECONDS * sample_rate)
    parts = []
    for (path, start, seconds), pause in zip(piece.cuts, piece.pauses, strict=True):
        sentence = read_channel(path, sample_rate, 0, start, seconds, piece.speed)
        sentence = high_pass(sentence, sample_rate, high_pass_hz)
        parts.append(np.zeros(round(pause * sample_rate)))
        parts.append(ramp(sentence, min(fade, sentence.size // 2)))
    speech = np.concatenate(parts)
    peak = np.abs(speech).max()
    if peak == 0.0:
        names = [Path(path).name for path, _, _ in piece.cuts]
        raise SilentExcerptError(f"speech files {names} are silent")
    return speech * 10.0 ** (rng.uniform(*PEAK_DBFS) / 20.0) / peak
