"""What EARS-WHAM and EARS-Reverb consist of: speakers, styles, pieces, test segments.

Source: the benchmark's two versions, Richter et al. 2024, "EARS: An Anechoic Fullband
Speech Dataset Benchmarked for Speech Enhancement and Dereverberation"; version 2 (April
2025) also splits the noises and the rooms between the subsets.
"""

import json
import os
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import soundfile

from lafufu_sb.errors import UsageError

TASKS = ("EARS-WHAM", "EARS-Reverb")
VERSIONS = ("v1", "v2")
SUBSETS = ("train", "valid", "test")
SAMPLE_RATE = 48000  # Hz, of every source
SEED = 42
DEGRADED = {"EARS-WHAM": "noisy", "EARS-Reverb": "reverberant"}
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
SHORTEST = 4 * SAMPLE_RATE  # samples of speech for training and validation
PIECE = 10 * SAMPLE_RATE  # samples; recordings of PIECE + SHORTEST and more are cut
LONGEST_TEST = 29 * SAMPLE_RATE  # samples; longer test segments are left out
FADE = 480  # samples, ramps of the test files

SNR_DB = (-2.5, 17.5)
SNR_BINS = 12  # the files of a style take these equal parts of the range in turn
# The first of these words that a test file's name holds is its style: order matters.
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

    ``start`` and ``end`` are what the benchmark's csv says of them (-1: to the end).
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
    """A stretch of a recording that is mixed with one noise or put into one room.

    ``cut`` is the slice of the recording (None: all of it), ``pieces`` what is written
    of the mixture. ``faded`` are the segments of the same test recording before this
    one: the benchmark fades its test segments in place, so that a later segment that
    overlaps sees their ramps.
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
        Under 14 s one of all samples. From 14 s on pieces of 10 s, the last of them
        with the 4 to 14 s that are left, less its last sample.

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


def read_header(path, channels=None):
    """Frames and channels of a 48-kHz recording.

    Raises
    ------
    UsageError
        Not audio, of another rate, or with other than ``channels`` channels.
    """
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise UsageError(f"{path} is not audio that can be read: {error}") from error
    if info.samplerate != SAMPLE_RATE:
        raise UsageError(
            f"{path} has {info.samplerate} Hz; the benchmark is made of recordings at "
            f"{SAMPLE_RATE} Hz: download it again, or resample it"
        )
    if channels is not None and info.channels != channels:
        raise UsageError(f"{path} has {info.channels} channels; expected {channels}")
    return info.frames, info.channels


def speakers_of(ears, subset):
    """Speakers of a subset that are there, in the benchmark's order."""
    held_out = VALID_SPEAKERS + TEST_SPEAKERS
    if subset == "train":
        found = sorted(name for name in os.listdir(ears) if name not in held_out)
    else:
        found = VALID_SPEAKERS if subset == "valid" else TEST_SPEAKERS
    return [name for name in found if os.path.isdir(os.path.join(ears, name))]


def training_stretches(ears, subset):
    """Whole recordings of a training or validation subset.

    Arguments
    ---------
    ears : str or Path
        The EARS download, with a folder per speaker.
    subset : {"train", "valid"}

    Returns
    -------
    list of Stretch
        In the order of speakers and names, without the held-out styles and without
        what is shorter than 4 s.

    Raises
    ------
    UsageError
        A recording is unreadable, not mono or not at 48 kHz.
    """
    stretches = []
    for speaker in speakers_of(ears, subset):
        names = glob("*.wav", root_dir=os.path.join(ears, speaker))
        for name in sorted(names):
            if name.split("_")[0] in HELD_OUT_STYLES:
                continue
            path = f"{speaker}/{name}"
            frames, _ = read_header(os.path.join(ears, path), channels=1)
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
        EARS-WHAM v1 takes the speakers p102 to p107 in this order, the others as the
        list has them.

    Returns
    -------
    list of tuple
        (path below EARS, list of (start, end)).

    Raises
    ------
    UsageError
        Not such a file.
    """
    try:
        table = json.loads(Path(path).read_text())
        speakers = list(table)
        if task == "EARS-WHAM" and version == "v1":
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
            f"take test_files.json of the benchmark ({error})"
        ) from error


def test_stretches(ears, entries):
    """Test recordings with their segments.

    Arguments
    ---------
    ears : str or Path
        The EARS download.
    entries : list of tuple
        See ``read_test_list``.

    Returns
    -------
    list of list of Stretch
        Per recording, in the order of ``entries``; without segments over 29 s, so that
        a recording's list may be empty.

    Raises
    ------
    UsageError
        Recordings are missing (all are named) or unreadable.
    """
    missing = [path for path, _ in entries if not os.path.exists(f"{ears}/{path}")]
    if missing:
        raise UsageError(
            f"{ears} lacks {len(missing)} recordings of the test list: "
            f"{', '.join(missing[:20])}{' ...' if len(missing) > 20 else ''}"
        )
    recordings = []
    for path, segments in entries:
        speech = Speech(path, read_header(os.path.join(ears, path), channels=1)[0])
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
    """Emotion or speaking style of a recording, None if its name tells none.

    Example
    -------
    >>> style_of("emo_Interest_sentences"), style_of("freeform_speech_01")
    ('interest', None)
    """
    return next((style for style in STYLES if style in stem.lower()), None)
