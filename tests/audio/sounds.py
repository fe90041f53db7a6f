"""Audio files as bytes, whole and with what goes wrong in them."""

import io
import zlib

import numpy as np
import soundfile

RATE = 16000
SECONDS = 2
_REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


def noise(seconds=SECONDS, channels=1, rate=RATE):
    """Quiet, then loud, so that variable bit rates vary."""
    samples = 0.1 * np.random.default_rng(0).standard_normal((seconds * rate, channels))
    samples[: len(samples) // 2] *= 1e-3
    return samples


def encoded(kind, subtype=None, samples=None, rate=RATE, **options):
    samples = noise() if samples is None else samples
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype, format=kind, **options)
    return file.getvalue()


def mp3(**options):
    quality = {"bitrate_mode": "VARIABLE", "compression_level": 0.3}
    return encoded("MP3", **(quality | options))


def without_xing(data):
    """An MP3 whose first frame, which states the length, is cut off."""
    following = data.index(data[:2], 10)
    assert b"Xing" in data[:following] or b"Info" in data[:following]
    return data[following:]


def replaced(data, place, new):
    return data[:place] + new + data[place + len(new) :]


def with_size(kind, size, name=b"data", width=4, order="little"):
    """A file of chunks whose samples have a stated size of ``size``."""
    data = encoded(kind, "PCM_16")
    new = (size % 2 ** (8 * width)).to_bytes(width, order)
    return replaced(data, data.index(name) + 4, new)


def flac(total=None, samples=None, rate=None):
    """FLAC whose header states other frames or another rate."""
    data = encoded("FLAC", samples=samples)
    bits = int.from_bytes(data[18:26], "big")
    if total is not None:
        bits = bits >> 36 << 36 | total
    if rate is not None:
        bits = bits & 2**44 - 1 | rate << 44
    return replaced(data, 18, bits.to_bytes(8, "big"))


def pages(data):
    """The pages of an Ogg file."""
    starts = [i for i in range(len(data)) if data[i : i + 5] == b"OggS\0"]
    ends = [*starts[1:], len(data)]
    return [data[start:end] for start, end in zip(starts, ends, strict=True)]


def restamped(page, granule=None, number=None):
    """A page of Ogg with another time stamp or number, and its check sum."""
    if granule is not None:
        page = replaced(page, 6, (granule % 2**64).to_bytes(8, "little"))
    if number is not None:
        page = replaced(page, 18, number.to_bytes(4, "little"))
    page = replaced(page, 22, b"\0" * 4)
    # zlib's sum has the bits of each byte the other way round
    check = zlib.crc32(page.translate(_REVERSED), 2**32 - 1) ^ 2**32 - 1
    check = int(f"{check:032b}"[::-1], 2)
    return replaced(page, 22, check.to_bytes(4, "little"))


def granule(page):
    return int.from_bytes(page[6:14], "little")


def odd_stamps():
    """Opus the time stamps of which jump, as recorders and cutters write them."""
    samples = noise(4, rate=48000)
    header, tags, *sound = pages(encoded("OGG", "OPUS", samples, 48000))
    first, second, *rest = sound
    second = restamped(second, granule(second) - 480)
    return b"".join([header, tags, first, second, *rest])


def lost_page():
    whole = pages(encoded("OGG", "OPUS", noise(4, rate=48000), 48000))
    return b"".join(whole[:3] + whole[4:])
