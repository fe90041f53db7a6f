"""Corpora of short noises, and a model small enough to clean them fast."""

import numpy as np
import soundfile
from small import entangled

from lafufu_sb.inference.interface import EnhanceLatent
from lafufu_sb.lobes.fingerprint import fingerprint


def write_noise(path, seconds=0.2, rate=16000, channels=1, seed=0, level=0.1):
    """Write a recording of seeded noise; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = round(seconds * rate), channels
    soundfile.write(path, np.random.default_rng(seed).normal(0, level, shape), rate)
    return path


def small_model(**changes):
    """An ``EnhanceLatent`` whose result depends on seed, window and position."""
    restorer = entangled(**{"windows_per_batch": 16} | changes)
    mark = fingerprint(restorer.representation)
    hparams = {"modules": {}, "sample_rate": 48000, "representation_fingerprint": mark}
    return EnhanceLatent(modules={"restorer": restorer}, hparams=hparams)


def contents(folder):
    """Bytes of all recordings below a folder, by relative name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".wav", ".flac", ".part")
    }
