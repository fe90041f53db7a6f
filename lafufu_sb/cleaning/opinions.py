"""Opinions of the speech in a recording, for the gate and for scores."""

import math

import torch

from lafufu_sb.cleaning.sound import spread
from lafufu_sb.evaluation.metrics import METRICS, dnsmos

# DNSMOS hears 9.01 s; a longer piece costs one more run per second.
PIECE_SECONDS = 9.02
_DNSMOS = {  # name to the part of ``dnsmos``, which computes all parts at once
    "dnsmos": "ovr",
    "dnsmos_sig": "sig",
    "dnsmos_bak": "bak",
    "dnsmos_p808": "p808",
}
OPINIONS = {  # name of the metric to what reports call it
    "dnsmos": "DNSMOS",
    "dnsmos_sig": "DNSMOS signal",
    "dnsmos_bak": "DNSMOS background",
    "dnsmos_p808": "DNSMOS P.808",
    "distillmos": "DistillMOS",
}


def opinions(sound, names, pieces=3):
    """Opinions of one channel, each the mean over pieces of 9 s.

    A shorter recording is repeated until it fills a piece.

    Arguments
    ---------
    sound : SpeechSound
        One channel.
    names : sequence of str
        Of ``OPINIONS``.
    pieces : int
        Largest number of pieces, spread over the recording; 0 for all of it.

    Returns
    -------
    torch.Tensor
        (names,), float64; NaN for silence.
    """
    length = round(PIECE_SECONDS * sound.rate)
    rows = []
    for start in spread(sound.seconds, PIECE_SECONDS, pieces):
        wav = sound.read(start, PIECE_SECONDS)[0]
        rows.append(_of_piece(_repeated(wav, length), sound.rate, names))
    return torch.tensor(rows, dtype=torch.float64).nanmean(dim=0)


def _of_piece(wav, rate, names):
    if not wav.any():
        return [math.nan] * len(names)
    found = {}
    if any(name in _DNSMOS for name in names):
        parts = dnsmos(wav, rate)
        found = {name: parts[part] for name, part in _DNSMOS.items() if part in parts}
    samples = wav.double().numpy()
    for name in names:
        if name not in _DNSMOS:
            found[name] = METRICS[name].function(samples, None, rate).value
    return [found[name] for name in names]


def _repeated(wav, length):
    return wav.repeat(-(-length // max(1, len(wav))))[:length]
