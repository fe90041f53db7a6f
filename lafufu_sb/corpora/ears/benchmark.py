"""Contents of EARS-WHAM and EARS-Reverb: speakers, styles, pieces, test segments.

Source: both versions of the benchmark, Richter et al. 2024, "EARS: An Anechoic Fullband
Speech Dataset Benchmarked for Speech Enhancement and Dereverberation"; version 2 (April
2025) also splits noises and rooms between the subsets.
"""

import json
import os
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from lafufu_sb.audio.recordings import read_header
from lafufu_sb.corpora.tasks import WHAM
from lafufu_sb.errors import UsageError

VERSIONS = ("v1", "v2")
SAMPLE_RATE = 48000  # Hz, of every source
SEED = 42
COLUMNS = {
    "EARS-WHAM": (
        "id,speaker,speech_file,speech_start,speech_end,"
        "noise_file,noise_start,noise_end,snr_dB"
    ).split(","),
    "EARS-Reverb": (
        "id,speaker,speech_file,speech_start,speech_end,rir_file,channel,gain,rt60"
    ).split(","),
}

VALID_SPEAKERS = ("p100", "p101")
TEST_SPEAKERS = ("p102", "p103", "p104", "p105", "p106", "p107")
HELD_OUT_STYLES = ("interjection", "melodic", "nonverbal", "vegetative")
SHORTEST = 4 * SAMPLE_RATE  # samples, of speech for training and validation
PIECE = 10 * SAMPLE_RATE  # samples; recordings of PIECE + SHORTEST and more are cut
LONGEST_TEST = 29 * SAMPLE_RATE  # samples; longer test segments are left out
FADE = 480  # samples, ramps of the test files

SNR_DB = (-2.5, 17.5)
SNR_BINS = 12  # the files of a style take these equal parts of the range in turn
# A test file's style is the first of these words in its name; the order matters.
STYLES = (
    "adoration amazement amusement anger confusion contentment cuteness desire "
    "disappointment disgust distress embarassment extasy fast fear guilt highpitch "
    "interest loud lowpitch neutral pain pride realization relief regular sadness "
    "serenity slow whisper"
).split()

MAX_RT60 = 2.0  # seconds
HIGH_PASS_HZ = 75.0  # of the speech, version 2
MIN_LUFS = -55.0  # quieter pieces are dropped unless whispered, version 2


@dataclass(frozen=True)
class Speech:
    """A recording of EARS: its path below EARS and its length in samples."""

    path: str
    frames: int

    @property
    def speaker(self):
        """Folder, as p001."""
        return self.path.split("/")[0]

    @property
    def stem(self):
        """File name without .wav."""
        return self.path.split("/")[-1][:-4]


@dataclass(frozen=True)
class Piece:
    """Samples ``first`` to ``last`` of a mixture, written as one pair of files.

    ``start`` and ``end`` are their bounds in the benchmark's csv (-1: the end).
    """

    start: int
    end: int
    first: int
    last: int

    @property
    def frames(self):
        """Length in samples at 48 kHz."""
        return self.last - self.first


@dataclass(frozen=True)
class Stretch:
    """A stretch of a recording that is mixed with one noise or one room.

    ``cut`` is its slice of the recording (None: all), ``pieces`` are the parts of the
    mixture that are written. ``faded`` are the earlier segments of the same test
    recording: the benchmark fades test segments in place, so a later segment that
    overlaps them contains their ramps.
    """

    speech: Speech
    cut: tuple | None
    pieces: tuple
    faded: tuple = ()

    @property
    def frames(self):
        """Length in samples at 48 kHz."""
        if self.cut is None:
            return self.speech.frames
        return len(range(*slice(*self.cut).indices(self.speech.frames)))


def corpus_name(task, version, sample_rate=SAMPLE_RATE):
    """Folder name of a generated corpus.

    Example
    -------
    >>> corpus_name("EARS-WHAM", "v1"), corpus_name("EARS-Reverb", "v2", 16000)
    ('EARS-WHAM', 'EARS-Reverb_v2_16k')
    """
    rate = "" if sample_rate == SAMPLE_RATE else f"_{sample_rate // 1000}k"
    return task + ("" if version == "v1" else f"_{version}{rate}")


def cut_pieces(frames):
    """Cut a recording for training or validation.

    Arguments
    ---------
    frames : int
        Samples at 48 kHz.

    Returns
    -------
    tuple of Piece
        One piece with all samples below 14 s. From 14 s on pieces of 10 s; the last
        one has the remaining 4 to 14 s without the very last sample.

    Example
    -------
    >>> [piece.frames / 48000 for piece in cut_pieces(35 * 48000 + 1)]
    [10.0, 10.0, 10.0, 5.0]
    """
    if frames < PIECE + SHORTEST:
        return (Piece(0, -1, 0, frames),)
    count = (frames - SHORTEST) // PIECE
    full = [
        Piece(i * PIECE, (i + 1) * PIECE, i * PIECE, (i + 1) * PIECE)
        for i in range(count)
    ]
    return (*full, Piece(count * PIECE, -1, count * PIECE, frames - 1))


def checked_header(path, channels=None):
    """Read frames and channels of a 48-kHz recording.

    Raises
    ------
    UsageError
        If it is not audio, has another sample rate, or not ``channels`` channels.
    """
    header = read_header(path)
    if header.sample_rate != SAMPLE_RATE:
        raise UsageError(
            f"{path} has {header.sample_rate} Hz; the benchmark uses recordings at "
            f"{SAMPLE_RATE} Hz: download it again, or resample it"
        )
    if channels is not None and header.channels != channels:
        raise UsageError(
            f"{path} has {header.channels} channels instead of {channels}: download it "
            "again"
        )
    return header.frames, header.channels


def speakers_of(ears, subset):
    """List a subset's speakers that were downloaded, in the benchmark's order."""
    held_out = VALID_SPEAKERS + TEST_SPEAKERS
    if subset == "train":
        found = sorted(name for name in os.listdir(ears) if name not in held_out)
    else:
        found = VALID_SPEAKERS if subset == "valid" else TEST_SPEAKERS
    return [name for name in found if os.path.isdir(os.path.join(ears, name))]


def training_stretches(ears, subset):
    """List the recordings of the training or validation subset.

    Arguments
    ---------
    ears : str or Path
        The EARS download, with a folder per speaker.
    subset : {"train", "valid"}

    Returns
    -------
    list of Stretch
        Sorted by speaker and name, without held-out styles and recordings under 4 s.

    Raises
    ------
    UsageError
        If a recording is unreadable, not mono or not at 48 kHz.
    """
    stretches = []
    for speaker in speakers_of(ears, subset):
        names = glob("*.wav", root_dir=os.path.join(ears, speaker))
        for name in sorted(names):
            if name.split("_")[0] in HELD_OUT_STYLES:
                continue
            path = f"{speaker}/{name}"
            frames, _ = checked_header(os.path.join(ears, path), channels=1)
            if frames >= SHORTEST:
                speech = Speech(path, frames)
                stretches.append(Stretch(speech, None, cut_pieces(frames)))
    return stretches


def read_test_list(path, task, version):
    """Read the benchmark's list of test segments.

    Arguments
    ---------
    path : str or Path
        ``{speaker: {file stem: [[start, end], ...]}}`` in samples, the benchmark's
        ``test_files.json``.
    task, version : str
        EARS-WHAM v1 takes speakers in the order p102 to p107, the others in the order
        of the list.

    Returns
    -------
    list of tuple
        (path below EARS, list of (start, end)).

    Raises
    ------
    UsageError
        If it is not such a file.
    """
    try:
        table = json.loads(Path(path).read_text())
        speakers = list(table)
        if task == WHAM.name and version == "v1":
            speakers = [name for name in TEST_SPEAKERS if name in table]
        return [
            (f"{name}/{stem}.wav", [(int(start), int(end)) for start, end in segments])
            for name in speakers
            for stem, segments in table[name].items()
        ]
    except OSError as error:
        raise UsageError(f"the test list {path} cannot be read: {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} lists no test segments {{speaker: {{file: [[start, end]]}}}}: "
            f"use test_files.json of the benchmark ({error})"
        ) from error


def test_stretches(ears, entries):
    """List the test recordings with their segments.

    Arguments
    ---------
    ears : str or Path
        The EARS download.
    entries : list of tuple
        See ``read_test_list``.

    Returns
    -------
    list of list of Stretch
        One list per recording, in the order of ``entries``. Segments over 29 s are left
        out, so a list may be empty.

    Raises
    ------
    UsageError
        If recordings are missing (the message lists them) or unreadable.
    """
    missing = [path for path, _ in entries if not os.path.exists(f"{ears}/{path}")]
    if missing:
        raise UsageError(
            f"{ears} lacks {len(missing)} recordings of the test list: "
            f"{', '.join(missing[:20])}{' ...' if len(missing) > 20 else ''}: download "
            "EARS again"
        )
    recordings = []
    for path, segments in entries:
        speech = Speech(path, checked_header(os.path.join(ears, path), channels=1)[0])
        stretches = []
        for cut in segments:
            frames = Stretch(speech, cut, ()).frames
            if frames <= LONGEST_TEST:
                faded = tuple(stretch.cut for stretch in stretches)
                piece = Piece(*cut, 0, frames)
                stretches.append(Stretch(speech, cut, (piece,), faded))
        recordings.append(stretches)
    return recordings


def style_of(stem):
    """Emotion or speaking style in a recording's name, or None.

    Example
    -------
    >>> style_of("emo_Interest_sentences"), style_of("freeform_speech_01")
    ('interest', None)
    """
    return next((style for style in STYLES if style in stem.lower()), None)
