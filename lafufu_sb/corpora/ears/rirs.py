"""Room impulse responses of EARS-Reverb, in the layout of its download script."""

import functools
import os
from glob import glob

import numpy as np

from lafufu_sb.audio.recordings import read, read_header
from lafufu_sb.corpora.ears.benchmark import SAMPLE_RATE
from lafufu_sb.corpora.mixing import SilentExcerptError
from lafufu_sb.corpora.reverberation import from_direct_path, rt60
from lafufu_sb.errors import MissingPackageError, UsageError

# In the benchmark's order; paths below the data folder.
PATTERNS = {
    "ACE": "ACE-Challenge/{name}/**/*RIR.wav",
    "AIR": "AIR/AIR_1_4/AIR_wav_files/*.wav",
    "ARNI": "ARNI/**/*.wav",
    "BRUDEX": "BRUDEX/rir/**/*.mat",
    "dEchorate": "dEchorate/sofa/**/*.sofa",
    "DetmoldSRIR": "DetmoldSRIR/SetA_SingleSources/Data/**/*.wav",
    "Palimpsest": "Palimpsest/**/*.wav",
}
CORPORA = tuple(PATTERNS)
SPLIT_V2 = {
    "train": ("ARNI", "BRUDEX", "dEchorate", "DetmoldSRIR", "Palimpsest"),
    "valid": ("AIR",),
    "test": ("ACE",),
}
ACE_ARRAYS = ("Chromebook", "Crucif", "EM32", "Lin8Ch", "Mobile", "Single")
# Version 1 looks for the first of these; the download script creates the second.
ACE_FOLDERS = {"v1": ("{}", "ACE_Corpus_RIRN_{}"), "v2": ("ACE_Corpus_RIRN_{}", "{}")}
ARNI_RATE = 44100  # Hz
ARNI_TAKEN = 1000
ARNI_CORRUPT = "numClosed_26-35/IR_numClosed_28_numComb_2743_mic_4_sweep_5.wav"
PEAK = (0.1, 0.7)  # responses are scaled into these bounds


def list_corpus(data_folder, corpus, version, ace="any"):
    """List the responses of one corpus, sorted as the benchmark sorts them.

    Arguments
    ---------
    data_folder : str or Path
        Holds the downloads.
    corpus : str
        One of ``CORPORA``.
    version : {"v1", "v2"}
        Decides which folder names of ACE are tried first: version 1 of the benchmark
        looks for ``ACE-Challenge/Single``, but the download script creates
        ``ACE-Challenge/ACE_Corpus_RIRN_Single``, which version 2 expects.
    ace : {"any", "official"}
        "official" tries only the names of that version. With the downloaded folders,
        version 1 then finds no ACE room, like the original script.

    Returns
    -------
    list of str
        Paths below ``data_folder``, with forward slashes.
    """
    if corpus != "ACE":
        found = sorted(_glob(data_folder, PATTERNS[corpus]))
        return [path for path in found if ARNI_CORRUPT not in path]
    files = []
    for array in ACE_ARRAYS:
        for form in ACE_FOLDERS[version][: 1 if ace == "official" else 2]:
            pattern = PATTERNS["ACE"].format(name=form.format(array))
            found = sorted(_glob(data_folder, pattern))
            if found:
                files += found
                break
    return files


def _glob(folder, pattern):
    found = glob(pattern, root_dir=folder, recursive=True)
    return [path.replace(os.sep, "/") for path in found]


def pool_rirs(listing, rng):
    """Order the responses as the benchmark does and draw the thousand of ARNI.

    Arguments
    ---------
    listing : dict
        Corpus -> paths.
    rng : numpy.random.RandomState
        Generator of the run; this is its first draw.

    Returns
    -------
    dict
        Corpus -> paths, in the benchmark's order.
    """
    pool = {corpus: listing[corpus] for corpus in CORPORA if corpus in listing}
    if pool.get("ARNI"):
        files = pool["ARNI"]
        size = min(ARNI_TAKEN, len(files))
        taken = rng.choice(len(files), size=size, replace=False)
        pool["ARNI"] = sorted(files[index] for index in taken)
    return pool


def _open_hdf5(path):
    try:
        import h5py
    except ImportError as error:
        raise MissingPackageError(
            f'reading {path} needs h5py: pip install "lafufu_sb[ears]"'
        ) from error
    return h5py.File(path, "r")


def _channels(path):
    if path.endswith(".wav"):
        return read_header(path).channels
    with _open_hdf5(path) as file:
        if path.endswith(".sofa"):  # measurements, receivers, samples
            return file["Data.IR"].shape[1]
        return file["data"].shape[0]  # MATLAB 7.3 stores arrays transposed


def _response(path, channel):
    if path.endswith(".wav"):
        samples, rate = read(path, dtype="float64")
        return samples[channel].numpy(), rate
    with _open_hdf5(path) as file:
        if path.endswith(".sofa"):
            rate = np.asarray(file["Data.SamplingRate"]).item()
            return file["Data.IR"][0, channel, :], rate
        return file["data"][channel, :], np.asarray(file["fs"]).item()


def _readable(reader, path, *arguments):
    try:
        return reader(path, *arguments)
    except (OSError, KeyError, RuntimeError) as error:
        raise UsageError(
            f"{path} is not a room response that can be read ({error!r}): download it "
            "again"
        ) from error


@functools.lru_cache(maxsize=8192)
def count_channels(data_folder, name):
    """Read the number of channels of a response."""
    return _readable(_channels, os.path.join(data_folder, name))


def read_rir(data_folder, name, channel):
    """Read and prepare one channel of a response as the benchmark does.

    Arguments
    ---------
    data_folder : str
        Holds the downloads.
    name : str
        Path below it, see ``list_corpus``: a .wav, .sofa or .mat (7.3) file at 48 kHz,
        or at 44.1 kHz for ARNI.
    channel : int
        From 0.

    Returns
    -------
    numpy.ndarray, shape (taps,)
        float64 at 48 kHz, from the direct path on, peak between 0.1 and 0.7.

    Raises
    ------
    UsageError
        If the file is unreadable or has an unexpected sample rate.
    SilentExcerptError
        If all taps are zero.
    """
    path = os.path.join(data_folder, name)
    rir, rate = _readable(_response, path, channel)
    expected = ARNI_RATE if name.startswith("ARNI/") else SAMPLE_RATE
    if rate != expected:
        raise UsageError(
            f"{path} has {rate:g} Hz; the benchmark expects {expected} Hz: download it "
            "again"
        )
    if rate == ARNI_RATE:
        rir = _resample_arni(rir)
    rir = from_direct_path(rir)
    peak = np.max(np.abs(rir))
    if peak < PEAK[0]:
        return PEAK[0] * rir / peak
    if peak > PEAK[1]:
        return PEAK[1] * rir / peak
    return rir


def _resample_arni(rir):
    try:
        import soxr
    except ImportError as error:
        raise MissingPackageError(
            'rooms of ARNI need soxr: pip install "lafufu_sb[ears]"'
        ) from error
    # The benchmark resamples with soxr, whose filter differs from ours.
    taps = -(-rir.size * SAMPLE_RATE // ARNI_RATE)
    resampled = soxr.resample(rir, ARNI_RATE, SAMPLE_RATE, quality="HQ")[:taps]
    return np.pad(resampled, (0, taps - resampled.size))


@functools.lru_cache(maxsize=8192)
def measure_rir(data_folder, name, channel):
    """Measure reverberation time in seconds (inf if silent) and peak of a response."""
    try:
        rir = read_rir(data_folder, name, channel)
        return rt60(rir, SAMPLE_RATE), float(np.abs(rir).max())
    except SilentExcerptError:
        return float("inf"), 0.0
