"""Pieces of speech: sentences of one speaker joined to clips of some seconds.

The material side of :mod:`lafufu_sb.corpora.simulate`: listing files, dealing sentences
to clips, reading and resampling excerpts, tiling short noise.
"""

import fnmatch
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from scipy.signal import butter, sosfiltfilt

from lafufu_sb.corpora import mixing
from lafufu_sb.files import written_whole

PAUSE_SECONDS = (0.15, 0.5)  # between two sentences
FADE_SECONDS = 0.01  # at the edges of each sentence: natural, but without a click
PEAK_DBFS = (-20.0, -1.0)  # level of a piece: uniform in dB
SPEED_PROBABILITY, SPEED_PERCENT = 0.2, 5
CROSSFADE_SECONDS = 0.05  # where a short noise clip is tiled
HIGH_PASS_ORDER = 4  # forwards and backwards together
SHORTEST_NOISE = 0.5  # seconds; a shorter loop would hum at its repetition rate


@dataclass(frozen=True)
class Source:
    """One audio file: where it is, its folder's name and its length in seconds."""

    path: str
    folder: str
    seconds: float


@dataclass(frozen=True)
class Piece:
    """What one clean clip is made of; ``cuts`` are (path, start, seconds) as read."""

    number: int
    speaker: str
    cuts: tuple
    pauses: tuple  # seconds before each cut
    speed: float


def scan(files):
    """List audio files with their lengths, in an order free of their location.

    Parameters
    ----------
    files : iterable of path-like
        Audio files.

    Returns
    -------
    list of Source
        Sorted by parent folder and file name.

    Raises
    ------
    ValueError
        No file was given.
    """
    sources = [
        Source(str(path), path.parent.name, seconds_of(path))
        for path in map(Path, files)
    ]
    if not sources:
        raise ValueError("no audio files given: check the folder, list and globs")
    return sorted(sources, key=lambda s: (s.folder, Path(s.path).name, s.path))


def seconds_of(path):
    """Length of an audio file in seconds, as its header tells."""
    info = soundfile.info(str(path))
    return info.frames / info.samplerate


def shares(folders, amounts, weights=None):
    """Turn amounts into probabilities, optionally fixing what groups of folders get.

    Parameters
    ----------
    folders : sequence of str
        Folder (speaker) name of each entry.
    amounts : sequence of float
        Share of each entry within its group, e.g. its seconds.
    weights : dict of str to float, optional
        Glob on the folder name -> probability of the group; an entry belongs to the
        first glob that matches, and the unmatched share what is left to 1.

    Returns
    -------
    numpy.ndarray, shape (entries,)
        Sums to 1.

    Raises
    ------
    ValueError
        Weights are negative, exceed 1 together, or name a group without a folder.

    Examples
    --------
    >>> shares(["a", "b", "b"], [1.0, 1.0, 3.0], {"a": 0.4}).round(2)
    array([0.4 , 0.15, 0.45])
    """
    weights = dict(weights or {})
    rest = 1.0 - sum(weights.values())
    if rest < -1e-9 or any(weight < 0 for weight in weights.values()):
        raise ValueError(f"weights {weights} must be positive and sum to at most 1")
    group = [next((g for g in weights if fnmatch.fnmatch(f, g)), "") for f in folders]
    missing = [g for g in weights if g not in group]
    if missing:
        raise ValueError(f"weights name {missing}, which match no folder: fix the glob")
    weights[""] = max(rest, 0.0)
    total = {
        g: sum(a for a, h in zip(amounts, group, strict=True) if h == g)
        for g in weights
    }
    parts = [weights[g] * a / total[g] for a, g in zip(amounts, group, strict=True)]
    return np.array(parts) / sum(parts)


def plan_pieces(sources, minutes, seed, subset, piece_seconds, weights, clips):
    """Choose speakers and sentences until the minutes or the clips are reached.

    Each speaker's sentences are dealt from a shuffled bag, so all are used before
    one comes again.  Returns a list of Piece.
    """
    shortest, longest = piece_seconds
    if longest < shortest + 1.0:
        raise ValueError(f"piece_seconds {piece_seconds} must span at least 1 s")
    by_speaker = {}
    for source in sources:
        by_speaker.setdefault(source.folder, []).append(source)
    seconds = {s: sum(x.seconds for x in files) for s, files in by_speaker.items()}
    speakers = [s for s in by_speaker if seconds[s] >= shortest]
    if not speakers:
        raise ValueError(f"no speaker folder holds {shortest} s of speech: add speech")
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


def clip_rng(seed, subset, number, stage):
    """Return the generator of one clip and stage, whatever ran before or beside it.

    Parameters
    ----------
    seed, number : int
        Of the corpus and of the clip.
    subset, stage : str
        Subset and step of the work.

    Returns
    -------
    numpy.random.Generator
    """
    stream = zlib.crc32(f"{subset}/{stage}".encode())
    return np.random.default_rng([seed, stream, number])


def read_channel(path, sample_rate, channel, start=0.0, seconds=None, speed=1.0):
    """Read an excerpt of one channel and bring it to a rate and a speed.

    Parameters
    ----------
    path : path-like
        Audio file of any rate and channel count.
    sample_rate : int
        Wanted rate in Hz.
    channel : int or numpy.random.Generator
        Channel index, or the generator that draws one.
    start, seconds : float
        Excerpt in seconds of the file; ``None`` reads to the end.
    speed : float
        A speed-up by resampling, in whole per cent; pitch moves along.

    Returns
    -------
    numpy.ndarray, shape (samples,)
        float32.
    """
    with soundfile.SoundFile(str(path)) as audio:
        rate = audio.samplerate
        audio.seek(min(round(start * rate), audio.frames))
        frames = -1 if seconds is None else round(seconds * rate)
        signal = audio.read(frames, dtype="float32", always_2d=True)
    if isinstance(channel, np.random.Generator):
        channel = channel.integers(signal.shape[1])
    signal = torch.from_numpy(np.ascontiguousarray(signal[:, channel]))
    # two steps: one filter for both ratios at once would take a gigabyte
    return change_speed(_resample(signal, rate, sample_rate).numpy(), speed)


def random_speed(percent, rng):
    """Draw a speed in whole per cent, up to ``percent`` of them away from 1."""
    return 1.0 + rng.integers(-percent, percent + 1) / 100.0


def change_speed(signal, speed):
    """Make a signal faster by resampling; its pitch moves along.

    Parameters
    ----------
    signal : numpy.ndarray, shape (samples,)
        float32.
    speed : float
        In whole per cent.

    Returns
    -------
    numpy.ndarray, shape (ceil(samples / speed),)

    Examples
    --------
    >>> change_speed(np.zeros(1200, np.float32), 1.2).shape
    (1000,)
    """
    return _resample(torch.from_numpy(signal), round(100 * speed), 100).numpy()


def _resample(signal, source, target):
    divisor = math.gcd(source, target)
    if source == target or not signal.numel():
        return signal
    return torchaudio.functional.resample(
        signal,
        source // divisor,
        target // divisor,
        lowpass_filter_width=32,  # the default of 6 lets images through near 20 kHz
    )


def high_pass(signal, sample_rate, cutoff_hz):
    """Take out what lies below speech, without a shift in time.

    Rumble under a recording cannot be told from noise, yet would be part of the target.

    Parameters
    ----------
    signal : numpy.ndarray, shape (samples,)
    sample_rate : int
        Hz.
    cutoff_hz : float
        Half the amplitude is left here; 0 returns the signal as it is.

    Returns
    -------
    numpy.ndarray, shape (samples,)
        float64.

    Examples
    --------
    >>> time = np.arange(48000) / 48000
    >>> hum = high_pass(np.sin(2 * np.pi * 20 * time), 48000, 50.0)
    >>> float(abs(hum[9600:-9600]).max().round(2))
    0.02
    """
    if not cutoff_hz:
        return signal
    order = HIGH_PASS_ORDER // 2
    sections = butter(order, cutoff_hz, "high", fs=sample_rate, output="sos")
    return sosfiltfilt(sections, signal)


def assemble(piece, sample_rate, rng, high_pass_hz=0.0):
    """Join a piece's sentences with pauses and give it a random peak level.

    Returns the clean clip, float64 of shape (samples,).  Raises
    ``mixing.SilentExcerptError`` when the sentences hold no energy.
    """
    fade = round(FADE_SECONDS * sample_rate)
    parts = []
    for (path, start, seconds), pause in zip(piece.cuts, piece.pauses, strict=True):
        sentence = read_channel(path, sample_rate, 0, start, seconds, piece.speed)
        sentence = high_pass(sentence, sample_rate, high_pass_hz)
        parts.append(np.zeros(round(pause * sample_rate)))
        parts.append(mixing.ramp(sentence, min(fade, sentence.size // 2)))
    speech = np.concatenate(parts)
    peak = np.abs(speech).max()
    if peak == 0.0:
        names = [Path(path).name for path, _, _ in piece.cuts]
        raise mixing.SilentExcerptError(f"speech files {names} are silent")
    return speech * 10.0 ** (rng.uniform(*PEAK_DBFS) / 20.0) / peak


def tile(noise, samples, rng, sample_rate):
    """Repeat a short noise clip with crossfades, from a random point of it on.

    Silence at the clip's ends (60 dB below its peak) is cut first, or it would pulse.

    Parameters
    ----------
    noise : numpy.ndarray, shape (length,)
        The clip.
    samples : int
        Wanted length.
    rng : numpy.random.Generator
        Draws the starting point.
    sample_rate : int
        Hz.

    Returns
    -------
    numpy.ndarray, shape (samples,)

    Raises
    ------
    mixing.SilentExcerptError
        Less than 0.5 s of sound is left.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> tile(rng.standard_normal(1000), 5000, rng, 1000).shape
    (5000,)
    """
    loud = np.flatnonzero(np.abs(noise) > 1e-3 * np.abs(noise).max())
    clip = noise[loud[0] : loud[-1] + 1] if loud.size else noise[:0]
    if clip.size < SHORTEST_NOISE * sample_rate:
        raise mixing.SilentExcerptError("noise clip has less than 0.5 s of sound")
    fade = round(CROSSFADE_SECONDS * sample_rate)
    angle = np.linspace(0.0, np.pi / 2, fade)  # equal power: the ends are unrelated
    loop = clip[:-fade].astype(np.float64)
    loop[:fade] = loop[:fade] * np.sin(angle) + clip[-fade:] * np.cos(angle)
    start = rng.integers(loop.size)
    return np.tile(loop, math.ceil((start + samples) / loop.size))[start:][:samples]


def write_wav(path, signal, sample_rate, subtype):
    """Write a wav, which appears whole or not at all; makes the folders.

    Parameters
    ----------
    path : pathlib.Path
        Final name.
    signal : numpy.ndarray, shape (samples,)
        Full scale 1.
    sample_rate : int
        Hz.
    subtype : str
        soundfile's sample format, e.g. "PCM_16".
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        soundfile.write(str(temporary), signal, sample_rate, subtype, format="WAV")
