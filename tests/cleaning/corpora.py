"""Corpora of short noises, and a model small enough to clean them fast."""

import os

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


class Halving:
    """In place of a ``Cleaner``: results have half the level.

    Arguments
    ---------
    stop_after : int, optional
        Files after which the disk is full.
    """

    def __init__(self, stop_after=None):
        self.stop_after, self.meter = stop_after, self

    def summary(self):
        return ""

    def run(self, files, shard, on_row):
        for number, file in enumerate(files):
            if number == self.stop_after:
                raise OSError("no space left")
            row = {
                "source": file.source,
                "target": file.target,
                "size": file.size,
                "mtime_ns": file.mtime_ns,
                "seconds": file.seconds,
                "decision": "restored",
                "reason": "",
            }
            try:
                samples, rate = soundfile.read(file.source)
            except soundfile.LibsndfileError:
                row |= {"decision": "failed", "reason": "no audio"}
            else:
                with shard.whole(file.target, file.index) as temporary:
                    soundfile.write(temporary, samples / 2, rate)
                row |= {"sample_rate": rate, "samples": len(samples)}
                row |= {"bytes": os.stat(file.target).st_size}
            shard.note(row)
            on_row(row)
