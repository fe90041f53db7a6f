"""The room impulse responses of EARS-Reverb, as its download script leaves them."""

import functools
import os
from glob import glob

import numpy as np
import soundfile

from lafufu_sb.corpora import mixing
from lafufu_sb.corpora.ears.benchmark import SAMPLE_RATE
from lafufu_sb.errors import UsageError

# In the benchmark's order. Paths below the data folder, ``**`` spans folders.
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
# Version 1 looks for the first of these, the download script makes the second.
ACE_FOLDERS = {"v1": ("{}", "ACE_Corpus_RIRN_{}"), "v2": ("ACE_Corpus_RIRN_{}", "{}")}
ARNI_RATE = 44100  # Hz
ARNI_TAKEN = 1000
ARNI_CORRUPT = "numClosed_26-35/IR_numClosed_28_numComb_2743_mic_4_sweep_5.wav"
PEAK = (0.1, 0.7)  # a response's level is brought into these bounds


def list_corpus(data_folder, corpus, version, ace="any"):
    """List the responses of one corpus, sorted as the benchmark sorts them.

    Arguments
    ---------
    data_folder : str or Path
        Holds the downloads.
    corpus : str
        One of ``CORPORA``.
    version : {"v1", "v2"}
        Which folder names of ACE are looked for first: version 1 of the benchmark asks
        for ``ACE-Challenge/Single``, while the download makes
        ``ACE-Challenge/ACE_Corpus_RIRN_Single``, as version 2 expects.
    ace : {"any", "official"}
        "official": only the names of that version, which on the downloaded folders
        leaves version 1 without ACE, as the original script.

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
        The run's; this is its first draw.

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
        raise UsageError(
            f"{path} needs h5py to be read: pip install 'lafufu_sb[ears]'"
        ) from error
    return h5py.File(path, "r")


def _channels(path):
    if path.endswith(".wav"):
        return soundfile.info(path).channels
    with _open_hdf5(path) as file:
        if path.endswith(".sofa"):  # measurements, receivers, samples
            return file["Data.IR"].shape[1]
        return file["data"].shape[0]  # MATLAB 7.3 stores arrays transposed


def _response(path, channel):
    if path.endswith(".wav"):
        signal, rate = soundfile.read(path, always_2d=True)
        return signal[:, channel], rate
    with _open_hdf5(path) as file:
        if path.endswith(".sofa"):
            rate = np.asarray(file["Data.SamplingRate"]).item()
            return file["Data.IR"][0, channel, :], rate
        return file["data"][channel, :], np.asarray(file["fs"]).item()


def _readable(reader, path, *arguments):
    try:
        return reader(path, *arguments)
    except (OSError, KeyError, RuntimeError) as error:
        message = f"{path} is no room response that can be read: {error}"
        raise UsageError(message) from error


@functools.lru_cache(maxsize=8192)
def count_channels(data_folder, name):
    """Number of channels of a response, from its header."""
    return _readable(_channels, os.path.join(data_folder, name))


def read_rir(data_folder, name, channel):
    """Read one channel of a response as the benchmark uses it.

    Arguments
    ---------
    data_folder : str
        Holds the downloads.
    name : str
        Path below it, see ``list_corpus``: a .wav, .sofa or .mat (7.3) file at 48 kHz;
        those of ARNI have 44.1 kHz.
    channel : int
        From 0.

    Returns
    -------
    numpy.ndarray, shape (taps,)
        float64 at 48 kHz, beginning at the direct path, peak between 0.1 and 0.7.

    Raises
    ------
    UsageError
        Unreadable or of an unexpected rate.
    SilentExcerptError
        All taps are zero.
    """
    path = os.path.join(data_folder, name)
    rir, rate = _readable(_response, path, channel)
    expected = ARNI_RATE if name.startswith("ARNI/") else SAMPLE_RATE
    if rate != expected:
        raise UsageError(f"{path} has {rate:g} Hz; the benchmark expects {expected} Hz")
    if rate == ARNI_RATE:
        rir = _resample_arni(rir)
    rir = mixing.from_direct_path(rir)
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
        raise UsageError("ARNI needs soxr: pip install 'lafufu_sb[ears]'") from error
    taps = -(-rir.size * SAMPLE_RATE // ARNI_RATE)
    resampled = soxr.resample(rir, ARNI_RATE, SAMPLE_RATE, quality="HQ")[:taps]
    return np.pad(resampled, (0, taps - resampled.size))


@functools.lru_cache(maxsize=8192)
def measure_rir(data_folder, name, channel):
    """Reverberation time in seconds (inf: of no use) and peak of a response."""
    try:
        rir = read_rir(data_folder, name, channel)
        return mixing.rt60(rir, SAMPLE_RATE), float(np.abs(rir).max())
    except mixing.SilentExcerptError:
        return float("inf"), 0.0
