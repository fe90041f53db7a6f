"""Recordings for the tests of odd inputs and outputs."""

import errno
import os

import numpy as np
import soundfile

RATE = 48000
NOISE = 0.3 * np.random.default_rng(0).uniform(-1, 1, 1500).astype(np.float32)


def wav(name="in.wav", samples=NOISE, rate=RATE, subtype="FLOAT", format=None):
    """Maker of a recording."""

    def make(folder):
        with open(folder / name, "wb") as file:
            kind = format or (folder / name).suffix[1:].upper()
            soundfile.write(file, samples, rate, subtype, format=kind)
        return folder / name

    return make


def channels(number):
    return 0.1 * np.random.default_rng(number).standard_normal((700, number))


def entries(folder):
    return sorted(p.name for p in folder.iterdir())


def forbidden(path, really_open):
    def opened(name, *arguments, **options):
        if os.fspath(name) == str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really_open(name, *arguments, **options)

    return opened
