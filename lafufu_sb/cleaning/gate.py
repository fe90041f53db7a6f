"""The do-no-harm gate: if a judge objects to a restoration, the original is kept.

A judge is a callable ``judge(before, after)`` of two sounds (``MemorySound`` or
``FileSound``) that returns a ``Verdict``. Every channel must pass.
"""

import math
import threading
from typing import NamedTuple

import torch
from speechbrain.utils.edit_distance import count_ops, op_table

from lafufu_sb.audio.resampling import resample
from lafufu_sb.cleaning.sound import spread
from lafufu_sb.errors import MissingPackageError
from lafufu_sb.evaluation.metrics import check_metrics, dnsmos
from lafufu_sb.inference.asr import normalise_text

# The model hears 9.01 s; a longer piece costs one more run per second.
_DNSMOS_SECONDS = 9.02
# Overall opinions of two networks: name in reports to part and label. The shipped
# models have the first in their loss, so it must not judge them alone.
_OPINIONS = {"dnsmos": ("ovr", "DNSMOS"), "p808": ("p808", "DNSMOS P.808")}
_SPEECH_SECONDS = 30.0  # the window of Whisper
_SPEECH_RATE = 16000  # Hz


class Verdict(NamedTuple):
    """Result of a judge."""

    measures: dict  # name to float, for the report
    objection: str = ""  # reason to keep the original, or empty


class Gate:
    """All judges together; without any, everything passes.

    Arguments
    ---------
    judges : sequence of callable
        ``judge(before, after)`` to ``Verdict``.

    Example
    -------
    >>> from lafufu_sb.cleaning.sound import MemorySound
    >>> sound = MemorySound(torch.zeros(1, 100), 16000)
    >>> Gate([lambda before, after: Verdict({"worse": 1.0}, "is worse")])(sound, sound)
    Verdict(measures={'worse': 1.0}, objection='is worse')
    """

    def __init__(self, judges=()):
        self.judges = list(judges)

    def __call__(self, before, after):
        """Joint ``Verdict`` of all judges; a judge that raises an error objects."""
        measures, objections = {}, []
        for judge in self.judges:
            try:
                verdict = judge(before, after)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, ValueError, IndexError, AssertionError) as error:
                # Models may fail on unusual input, such as a single sample.
                verdict = Verdict({}, f"a judge failed: {type(error).__name__} {error}")
            measures |= verdict.measures
            objections += [verdict.objection] if verdict.objection else []
        return Verdict(measures, "; ".join(objections))


class DNSMOSJudge:
    """Objects if a predicted overall opinion drops.

    The opinions are DNSMOS P.835 ovr and DNSMOS P.808, of two separately trained
    networks. Hears pieces of 9 s; shorter recordings are repeated to fill one.

    Arguments
    ---------
    drop : float
        Points by which either opinion of a channel may drop.
    pieces : int
        Largest number of pieces, spread over the recording; 0 for all of it.

    Raises
    ------
    MissingPackageError
        If speechmos is missing.
    """

    def __init__(self, drop=0.0, pieces=3):
        try:
            check_metrics(["dnsmos"])
        except ImportError as error:
            raise MissingPackageError(
                f"the do-no-harm gate has no judge: {error}, or accept restored files "
                "unchecked with --gate none"
            ) from error
        self.drop, self.pieces = drop, pieces

    def __call__(self, before, after):
        """``Verdict`` on a restoration."""
        starts = spread(before.seconds, _DNSMOS_SECONDS, self.pieces)
        old, new = (self._scores(sound, starts) for sound in (before, after))
        heard = ~old[:, 0].isnan()
        if not heard.any():
            return Verdict({}, "DNSMOS cannot judge silence")
        old, new = old[heard], new[heard]
        measures = {
            f"{name}_{side}": float(mean)
            for side, scores in (("before", old), ("after", new))
            for name, mean in zip(_OPINIONS, scores.mean(dim=0), strict=True)
        }
        if new.isnan().any():
            return Verdict(measures, "the restoration is silent")
        objections = []
        for i, (_, label) in enumerate(_OPINIONS.values()):
            worst = int((old - new)[:, i].argmax())
            was, became = float(old[worst, i]), float(new[worst, i])
            if was - became > self.drop:
                objections.append(f"{label} {was:.2f} fell to {became:.2f}")
        return Verdict(measures, ", ".join(objections))

    def _scores(self, sound, starts):
        """Opinions per channel, means over pieces, (channels, 2); NaN for silence."""
        length = round(_DNSMOS_SECONDS * sound.rate)
        rows = [
            [
                _opinions(_repeated(wav, length), sound.rate)
                for wav in sound.read(start, _DNSMOS_SECONDS)
            ]
            for start in starts
        ]
        return torch.tensor(rows, dtype=torch.float64).nanmean(dim=0)


def _opinions(wav, rate):
    if not wav.any():
        return [math.nan] * len(_OPINIONS)
    scores = dnsmos(wav, rate)
    return [scores[part] for part, _ in _OPINIONS.values()]


def _repeated(wav, length):
    return wav.repeat(-(-length // len(wav)))[:length]


class RecogniserJudge:
    """Objects if a recogniser hears a different text.

    Arguments
    ---------
    recogniser : callable
        (time,), float32 at 16 kHz on the CPU, to text.
    limit : float
        Largest ``character_error``.
    pieces : int
        Largest number of pieces of 30 s, spread over the recording; 0 for all of it.
    """

    def __init__(self, recogniser, limit=0.1, pieces=3):
        self.recogniser, self.limit, self.pieces = recogniser, limit, pieces
        self._lock = threading.Lock()

    def __call__(self, before, after):
        """``Verdict`` on a restoration."""
        pairs = _speech(before, after, self.pieces, self._text)
        texts = [
            tuple(" ".join(filter(None, side)) for side in zip(*channel, strict=True))
            for channel in pairs
        ]
        errors = [character_error(*pair) for pair in texts]
        worst = max(range(len(errors)), key=errors.__getitem__)
        objection = ""
        if errors[worst] > self.limit:
            was, now = (_shortened(text) for text in texts[worst])
            objection = (
                f"recogniser heard {was!r}, then {now!r}: {100 * errors[worst]:.0f} % "
                "of the characters differ"
            )
        return Verdict({"character_error": errors[worst]}, objection)

    def _text(self, wav):
        with self._lock:
            return " ".join(normalise_text(self.recogniser(wav)))


class SpeakerJudge:
    """Objects if the voice has changed.

    Arguments
    ---------
    embed : callable
        (time,), float32 at 16 kHz on the CPU, to (size,).
    limit : float
        Smallest cosine of the embeddings before and after. The default 0.25 is the
        threshold of SpeechBrain's SpeakerRecognition.
    pieces : int
        See ``RecogniserJudge``.
    """

    def __init__(self, embed, limit=0.25, pieces=3):
        self.embed, self.limit, self.pieces = embed, limit, pieces
        self._lock = threading.Lock()

    def __call__(self, before, after):
        """``Verdict`` on a restoration."""
        pairs = _speech(before, after, self.pieces, self._embedding)
        cosines = []
        for channel in pairs:
            was, now = (
                torch.stack(side).mean(0) for side in zip(*channel, strict=True)
            )
            cosines.append(float(torch.cosine_similarity(was, now, dim=0)))
        lowest = min(cosines)
        objection = ""
        if not lowest >= self.limit:
            objection = f"the voice has changed: cosine {lowest:.2f} of embeddings"
        return Verdict({"speaker_cosine": lowest}, objection)

    def _embedding(self, wav):
        with self._lock:
            return self.embed(wav).flatten().float().cpu()


def _speech(before, after, pieces, function):
    """For each channel a list of (before, after): the function of each piece."""
    results = [[] for _ in range(before.channels)]
    for start in spread(before.seconds, _SPEECH_SECONDS, pieces):
        sides = [
            resample(sound.read(start, _SPEECH_SECONDS), sound.rate, _SPEECH_RATE)
            for sound in (before, after)
        ]
        for result, was, now in zip(results, *sides, strict=True):
            result.append((function(was), function(now)))
    return results


def character_error(before, after):
    """Character error rate of a text with another as the reference.

    Arguments
    ---------
    before, after : str
        Reference and hypothesis.

    Returns
    -------
    float
        Edits per character of ``before``; 1 if exactly one text is empty.

    Example
    -------
    >>> character_error("abcd", "abxd"), character_error("", "a")
    (0.25, 1.0)
    """
    if not before or not after:
        return float(before != after)
    edits = count_ops(op_table(before, after))
    return sum(edits.values()) / len(before)


def _shortened(text, length=40):
    return text if len(text) <= length else text[: length - 1] + "…"
