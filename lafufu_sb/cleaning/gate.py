"""The do-no-harm gate: a restored recording passes its judges, or the original stays.

A judge is a callable ``judge(before, after)`` of two sounds (``MemorySound``,
``FileSound``) that returns measures for the report, and what it objects to. Every
channel must pass.
"""

import math
import threading
from typing import NamedTuple

import torch
from speechbrain.utils.edit_distance import count_ops, op_table

from lafufu_sb.audio.resampling import resample
from lafufu_sb.cleaning.sound import spread
from lafufu_sb.evaluation.metrics import check_metrics, dnsmos
from lafufu_sb.inference.asr import normalise_text

# The model hears 9.01 s and longer pieces would cost a run per further second.
_DNSMOS_SECONDS = 9.02
# Opinions of the whole by two networks: name in reports to part and label. The shipped
# models are trained to please the first, so it does not judge them alone.
_OPINIONS = {"dnsmos": ("ovr", "DNSMOS"), "p808": ("p808", "DNSMOS P.808")}
_SPEECH_SECONDS = 30.0  # what recognisers are made for
_SPEECH_RATE = 16000  # Hz


class Verdict(NamedTuple):
    """What a judge found."""

    measures: dict  # name to float, for the report
    objection: str = ""  # empty if it has none


class Gate:
    """Judges in a row; without any, everything passes but samples that are not finite.

    Arguments
    ---------
    judges : sequence of callable
        See above.

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
        """``Verdict`` of all judges together; one that fails objects."""
        measures, objections = {}, []
        for judge in self.judges:
            try:
                verdict = judge(before, after)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, ValueError, IndexError, AssertionError) as error:
                # Models fail on what they were not made for, such as a single sample.
                verdict = Verdict({}, f"a judge failed: {type(error).__name__} {error}")
            measures |= verdict.measures
            objections += [verdict.objection] if verdict.objection else []
        return Verdict(measures, "; ".join(objections))


class DNSMOSJudge:
    """Objects where a predicted opinion of the whole drops.

    There are two, of networks that were trained apart: DNSMOS P.835 ovr, and DNSMOS
    P.808. Hears pieces of 9 s; shorter recordings are repeated to fill one.

    Arguments
    ---------
    drop : float
        Points by which a channel may become worse, in either opinion.
    pieces : int
        Pieces to hear at most, spread over the recording; 0 for all of it.

    Raises
    ------
    ImportError
        If speechmos is missing.
    """

    def __init__(self, drop=0.0, pieces=3):
        try:
            check_metrics(["dnsmos"])
        except ImportError as error:
            raise ImportError(
                f"the do-no-harm gate has no judge: {error}, or say --gate none to "
                "keep restored files unheard"
            ) from error
        self.drop, self.pieces = drop, pieces

    def __call__(self, before, after):
        """See ``Gate``."""
        starts = spread(before.seconds, _DNSMOS_SECONDS, self.pieces)
        old, new = (self._scores(sound, starts) for sound in (before, after))
        heard = ~old[:, 0].isnan()
        if not heard.any():
            return Verdict({}, "DNSMOS cannot judge it: silence")
        old, new = old[heard], new[heard]
        measures = {
            f"{name}_{side}": float(mean)
            for side, scores in (("before", old), ("after", new))
            for name, mean in zip(_OPINIONS, scores.mean(dim=0), strict=True)
        }
        if new.isnan().any():
            return Verdict(measures, "restored is silent")
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
    """Objects where a recogniser understands something else than before.

    Arguments
    ---------
    recogniser : callable
        ``recogniser(wav)`` from (time,), float32 at 16 kHz on the CPU, to text.
    limit : float
        Largest share of characters that may differ, of those before.
    pieces : int
        Pieces of 30 s to hear at most, spread over the recording; 0 for all of it.
    """

    def __init__(self, recogniser, limit=0.1, pieces=3):
        self.recogniser, self.limit, self.pieces = recogniser, limit, pieces
        self._lock = threading.Lock()

    def __call__(self, before, after):
        """See ``Gate``."""
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
    """Objects where the restored voice is another speaker's.

    Arguments
    ---------
    embed : callable
        ``embed(wav)`` from (time,), float32 at 16 kHz on the CPU, to (size,).
    limit : float
        Smallest cosine between before and after; 0.25 is where SpeechBrain's
        SpeakerRecognition draws the line between speakers.
    pieces : int
        As for ``RecogniserJudge``.
    """

    def __init__(self, embed, limit=0.25, pieces=3):
        self.embed, self.limit, self.pieces = embed, limit, pieces
        self._lock = threading.Lock()

    def __call__(self, before, after):
        """See ``Gate``."""
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
            objection = f"the voice has changed: cosine {lowest:.2f} of the embeddings"
        return Verdict({"speaker_cosine": lowest}, objection)

    def _embedding(self, wav):
        with self._lock:
            return self.embed(wav).flatten().float().cpu()


def _speech(before, after, pieces, function):
    """For each channel a list of (before, after) results of a function of a piece."""
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
    """Edits from one text to the other, as a share of the characters of the first.

    Arguments
    ---------
    before, after : str
        Plain texts.

    Returns
    -------
    float
        0 for equal texts; 1 where there was no text and now is.

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
