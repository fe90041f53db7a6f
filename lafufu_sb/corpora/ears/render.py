"""Audio of the benchmark: measure a stretch of speech, mix it, write it."""

import functools
import os
from dataclasses import dataclass

import numpy as np
import torch
from scipy.io import wavfile
from torchaudio.functional import highpass_biquad

from lafufu_sb.audio.recordings import read
from lafufu_sb.audio.resampling import resample
from lafufu_sb.corpora import mixing, reverberation
from lafufu_sb.corpora.ears.benchmark import (
    FADE,
    HIGH_PASS_HZ,
    MIN_LUFS,
    SAMPLE_RATE,
)
from lafufu_sb.corpora.ears.plan import NoiseDraw
from lafufu_sb.corpora.ears.rirs import read_rir
from lafufu_sb.corpora.tasks import CLEAN, find_task
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole

# A response starts with its largest tap, so reverberant speech is hardly quieter than
# the speech times this tap. Its loudness is only measured within this margin.
MARGIN_DB = 15.0
GATE_LUFS = -70.0


@dataclass(frozen=True)
class Settings:
    """Settings of a generated subset.

    ``folder`` is the output folder of the subset, ``sample_rate`` its rate in Hz.
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
    samples, _ = read(path, dtype="float64")
    if samples.shape != (1, stretch.speech.frames):
        raise UsageError(
            f"{path} holds audio of shape {tuple(samples.shape)}, expected "
            f"(1, {stretch.speech.frames}): download it again"
        )
    speech = samples[0].numpy()
    if settings.version == "v2":
        signal = torch.from_numpy(speech)
        speech = highpass_biquad(signal, SAMPLE_RATE, HIGH_PASS_HZ).numpy()
    for cut in stretch.faded:
        speech[slice(*cut)] = mixing.ramp(speech[slice(*cut)], FADE)
    return speech if stretch.cut is None else speech[slice(*stretch.cut)]


def _one_thread(function):
    """Run on one thread: sums keep one order, and workers share the cores."""

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
    """Measure the loudness of a stretch, and which of its pieces are loud enough.

    Returns
    -------
    lufs : float
        -inf for silence.
    loud : tuple of bool
        For each piece. Version 1 keeps all; version 2 drops pieces of at most -55 LUFS
        unless they are whispered.
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
    """Tell whether reverberant speech has a loudness; if not, the room is drawn again.

    Arguments
    ---------
    settings : Settings
    stretch : Stretch
    lufs : float
        Loudness of the dry speech.
    name, channel, peak : str, int, float
        The room response. It is only convolved if the result may be silent.

    Returns
    -------
    bool
    """
    if not np.isfinite(lufs):
        return True  # silent speech has no loudness in any room
    if lufs + 20.0 * np.log10(peak) - MARGIN_DB > GATE_LUFS:
        return True
    speech = read_speech(settings, stretch)
    try:
        rir = read_rir(settings.data_folder, name, channel)
        reverberation.reverberate_with_gain(speech, rir, SAMPLE_RATE)
    except mixing.SilentExcerptError:
        return False
    return True


def _add_noise(speech, draw, settings):
    path = os.path.join(settings.data_folder, draw.path)
    samples, _ = read(path, draw.start, speech.size, dtype="float64")
    noise = samples[draw.channel].numpy()
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
        mixture, gain = reverberation.reverberate_with_gain(
            speech, rir, SAMPLE_RATE, draw.gain
        )
        return mixture, gain, None
    except mixing.SilentExcerptError:
        mixture, _ = reverberation.reverberate_with_gain(speech, rir, SAMPLE_RATE, 1.0)
    # The speech is below the gate; the response may have amplified it above.
    gain = 1.0 if _lufs(mixture) == -np.inf else 0.0
    return gain * mixture, gain, "silent speech, no loudness to match"


def _columns(piece, draw, level):
    """Return the csv's columns of the degradation, and the label in the file's name."""
    if isinstance(draw, NoiseDraw):
        start = draw.start + piece.start
        stem = draw.path.split("/")[-1][:-4]
        cells = (stem, start, start + piece.frames, f"{level:.1f}")
        return cells, f"{level:.1f}dB"
    rt60 = f"{draw.rt60:.2f}"
    return (f"/{draw.path}", draw.channel, f"{level}", rt60), rt60


def pair_paths(settings, row, label):
    """Return the paths of the degraded and the clean file of a csv row.

    Arguments
    ---------
    settings : Settings
    row : sequence of str
        Starts with id and speaker.
    label : str
        See ``label_of``.

    Returns
    -------
    tuple of str
    """
    number, speaker = row[:2]
    sides = find_task(settings.task).degraded, CLEAN
    names = f"{number}_{label}.wav", f"{number}.wav"
    return tuple(
        os.path.join(settings.folder, side, speaker, name)
        for side, name in zip(sides, names, strict=True)
    )


def label_of(task, row):
    """SNR or RT60 of a csv row as it is in the file's name."""
    return find_task(task).label(row[-1])


@_one_thread
def render(settings, job):
    """Mix a stretch and write its pieces; files appear only when they are complete.

    Arguments
    ---------
    settings : Settings
    job : Job

    Returns
    -------
    rows : list of tuple of str
        Rows of the benchmark's csv.
    problem : str or None
        A message about unusual audio.

    Raises
    ------
    UsageError, OSError
        If recordings are unreadable or the disk is full.
    """
    speech = read_speech(settings, job.stretch)
    add = _add_noise if isinstance(job.draw, NoiseDraw) else _add_room
    mixture, level, problem = add(speech, job.draw, settings)
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
        signal = torch.from_numpy(np.ascontiguousarray(signal))
        signal = resample(signal, SAMPLE_RATE, sample_rate).numpy()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with written_whole(path) as temporary:
        # libsndfile would write the time of day into the header of a float file
        wavfile.write(temporary, sample_rate, signal.astype(np.float32))
