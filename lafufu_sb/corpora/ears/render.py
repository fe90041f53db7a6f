"""The audio side of the benchmark: measure a stretch of speech, mix it, write it."""

import functools
import os
from dataclasses import dataclass

import numpy as np
import soundfile
import torch
from scipy.io import wavfile
from torchaudio.functional import highpass_biquad
from torchaudio.transforms import Resample

from lafufu_sb.corpora import mixing
from lafufu_sb.corpora.ears.benchmark import (
    DEGRADED,
    FADE,
    HIGH_PASS_HZ,
    MIN_LUFS,
    SAMPLE_RATE,
)
from lafufu_sb.corpora.ears.rirs import read_rir
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole

# A response begins with its largest tap, so that reverberant speech is not much quieter
# than speech times this tap; within this margin of the gate it is measured.
MARGIN_DB = 15.0
GATE_LUFS = -70.0


@dataclass(frozen=True)
class Settings:
    """What all files of a generated subset share.

    ``folder`` is the subset's, ``sample_rate`` what is written, in Hz.
    """

    task: str
    version: str
    data_folder: str
    folder: str
    subset: str
    sample_rate: int = SAMPLE_RATE

    @property
    def ears(self):
        """Folder of the EARS download."""
        return os.path.join(self.data_folder, "EARS")


def read_speech(settings, stretch):
    """Read a stretch of a recording, high-passed in version 2.

    Returns
    -------
    numpy.ndarray, shape (samples,)
        float64.
    """
    path = os.path.join(settings.ears, stretch.speech.path)
    try:
        speech, _ = soundfile.read(path)
    except soundfile.LibsndfileError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if speech.ndim != 1 or speech.size != stretch.speech.frames:
        raise UsageError(
            f"{path} holds audio of shape {speech.shape}, its header promised "
            f"({stretch.speech.frames},): download it again"
        )
    if settings.version == "v2":
        signal = torch.from_numpy(speech)
        speech = highpass_biquad(signal, SAMPLE_RATE, HIGH_PASS_HZ).numpy()
    for cut in stretch.faded:
        speech[slice(*cut)] = mixing.ramp(speech[slice(*cut)], FADE)
    return speech if stretch.cut is None else speech[slice(*stretch.cut)]


def _one_thread(function):
    """Sums keep one order, and workers share the cores."""

    @functools.wraps(function)
    def wrapped(*arguments):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return function(*arguments)
        finally:
            torch.set_num_threads(threads)

    return wrapped


def _lufs(signal):
    try:
        return mixing.loudness(signal, SAMPLE_RATE)
    except mixing.SilentExcerptError:
        return -np.inf


@_one_thread
def measure_speech(settings, stretch):
    """Loudness of a stretch, and whether each of its pieces is loud enough.

    Returns
    -------
    lufs : float
        -inf for silence.
    loud : tuple of bool
        Per piece; version 1 keeps all, version 2 drops what is not above -55 LUFS
        unless it is whispered.
    """
    speech = read_speech(settings, stretch)
    kept = settings.version == "v1" or settings.subset == "test"
    if kept or "whisper" in stretch.speech.stem:
        loud = (True,) * len(stretch.pieces)
    else:
        loud = tuple(_lufs(speech[p.first : p.last]) > MIN_LUFS for p in stretch.pieces)
    return _lufs(speech), loud


@_one_thread
def has_loudness(settings, stretch, lufs, name, channel, peak):
    """Whether reverberant speech has a loudness: the benchmark draws again if not.

    Arguments
    ---------
    settings : Settings
    stretch : Stretch
    lufs : float
        Loudness of the dry speech.
    name, channel, peak : str, int, float
        The room response; what cannot be silent is not convolved.

    Returns
    -------
    bool
    """
    if not np.isfinite(lufs):
        return True  # nothing to match: no room would do
    if lufs + 20.0 * np.log10(peak) - MARGIN_DB > GATE_LUFS:
        return True
    speech = read_speech(settings, stretch)
    try:
        rir = read_rir(settings.data_folder, name, channel)
        mixing.reverberate_with_gain(speech, rir, SAMPLE_RATE)
    except mixing.SilentExcerptError:
        return False
    return True


def _add_noise(speech, draw, settings):
    path = os.path.join(settings.data_folder, draw.path)
    noise, _ = soundfile.read(
        path, frames=speech.size, start=draw.start, always_2d=True
    )
    noise = noise[:, draw.channel]
    try:
        mixture, snr_db = mixing.mix_at_snr(speech, noise, draw.snr_db, SAMPLE_RATE)
        return mixture, snr_db, None
    except mixing.FullScaleError:
        problem = "speech reaches full scale, SNR not raised against clipping"
    except mixing.SilentExcerptError:
        problem = "silent speech or noise, noise not added"
    with np.errstate(divide="ignore", over="ignore"):
        gain = mixing.noise_gain(_lufs(speech), _lufs(noise), draw.snr_db)
    gain = gain if np.isfinite(gain) else 0.0
    return speech + gain * noise, draw.snr_db, problem


def _add_room(speech, draw, settings):
    rir = read_rir(settings.data_folder, draw.path, draw.channel)
    try:
        mixture, gain = mixing.reverberate_with_gain(
            speech, rir, SAMPLE_RATE, draw.gain
        )
        return mixture, gain, None
    except mixing.SilentExcerptError:
        mixture, _ = mixing.reverberate_with_gain(speech, rir, SAMPLE_RATE, 1.0)
    # The speech is silent: a response that amplifies may have made it heard.
    gain = 1.0 if _lufs(mixture) == -np.inf else 0.0
    return gain * mixture, gain, "silent speech, no loudness to match"


def _columns(piece, draw, level):
    """What the csv says of the distortion, and the label in the file's name."""
    if not hasattr(draw, "rt60"):
        start = draw.start + piece.start
        stem = draw.path.split("/")[-1][:-4]
        cells = (stem, start, start + piece.frames, f"{level:.1f}")
        return cells, f"{level:.1f}dB"
    rt60 = f"{draw.rt60:.2f}"
    return (f"/{draw.path}", draw.channel, f"{level}", rt60), rt60


def pair_paths(settings, row, label):
    """Where the degraded and the clean file of a csv row are.

    Arguments
    ---------
    settings : Settings
    row : sequence of str
        Begins with id and speaker.
    label : str
        See ``label_of``.

    Returns
    -------
    tuple of str
    """
    number, speaker = row[:2]
    degraded = os.path.join(settings.folder, DEGRADED[settings.task], speaker)
    clean = os.path.join(settings.folder, "clean", speaker, f"{number}.wav")
    return os.path.join(degraded, f"{number}_{label}.wav"), clean


def label_of(task, row):
    """SNR or RT60 of a csv row as the file's name has it."""
    return f"{row[-1]}dB" if task == "EARS-WHAM" else row[-1]


@_one_thread
def render(settings, job):
    """Mix a stretch and write its pieces; files appear when they are whole.

    Arguments
    ---------
    settings : Settings
    job : Job

    Returns
    -------
    rows : list of tuple of str
        Of the benchmark's csv.
    problem : str or None
        What was unusual.

    Raises
    ------
    UsageError, OSError
        Unreadable recordings, a full disk.
    """
    speech = read_speech(settings, job.stretch)
    try:
        add = _add_noise if settings.task == "EARS-WHAM" else _add_room
        mixture, level, problem = add(speech, job.draw, settings)
    except soundfile.LibsndfileError as error:
        raise UsageError(f"{job.draw.path} cannot be read: {error}") from error
    if settings.subset == "test":
        mixture, speech = mixing.ramp(mixture, FADE), mixing.ramp(speech, FADE)
    rows = []
    for number, piece in zip(job.numbers, job.stretch.pieces, strict=True):
        cells, label = _columns(piece, job.draw, level)
        recording = job.stretch.speech
        row = (f"{number:05}", recording.speaker, recording.stem)
        row = tuple(map(str, (*row, piece.start, piece.end, *cells)))
        for path, signal in zip(
            pair_paths(settings, row, label), (mixture, speech), strict=True
        ):
            _write(path, signal[piece.first : piece.last], settings.sample_rate)
        rows.append(row)
    if problem:
        problem = f"{recording.path}, {job.draw.path}: {problem}"
    return rows, problem


def _write(path, signal, sample_rate):
    if sample_rate != SAMPLE_RATE:
        resample = Resample(SAMPLE_RATE, sample_rate, dtype=torch.float64)
        signal = resample(torch.from_numpy(np.ascontiguousarray(signal))).numpy()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with written_whole(path) as temporary:
        # libsndfile would write the time of day into the header of a float file
        wavfile.write(temporary, sample_rate, signal.astype(np.float32))
