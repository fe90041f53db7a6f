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
from lafufu_sb.cleaning.attenuation import count_lost
from lafufu_sb.cleaning.measures import measure_all
from lafufu_sb.cleaning.opinions import OPINIONS, opinions
from lafufu_sb.cleaning.sound import spread
from lafufu_sb.cleaning.speech import find_speech, heard_speech, pieces_of
from lafufu_sb.inference.asr import normalise_text

_SPEECH_SECONDS = 30.0  # the window of Whisper
_SPEECH_RATE = 16000  # Hz
_LIGHT_NOISE_DB = 12.0


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


class OpinionJudge:
    """Objects if a predicted opinion of the speech drops.

    Hears speech alone, see ``find_speech``: noise that is gone from the pauses must not
    make up for speech that is damaged.

    Arguments
    ---------
    drops : dict of str to float
        Name of each opinion (of ``OPINIONS``) to the points by which it may drop in a
        channel.
    pieces : int
        Largest number of pieces of 9 s, spread over the speech; 0 for all of it.
    speech_only : bool
        False hears whole recordings, which needs no silero-vad.

    Example
    -------
    >>> from lafufu_sb.cleaning.sound import MemorySound
    >>> silence = MemorySound(torch.zeros(1, 16000), 16000)
    >>> OpinionJudge({"dnsmos": 0.0}, speech_only=False)(silence, silence).objection
    'nothing can be judged: the recording is silent'
    """

    def __init__(self, drops, pieces=3, speech_only=True):
        self.drops, self.pieces, self.speech_only = dict(drops), pieces, speech_only

    def __call__(self, before, after):
        """``Verdict`` on a restoration."""
        stretches = None
        if self.speech_only:
            stretches = find_speech(before)
            if not any(stretches):  # noise may have hidden it
                stretches = find_speech(after)
            if not any(stretches):
                return Verdict({}, "nothing can be judged: no speech was found")
        old, new = (self._scores(sound, stretches) for sound in (before, after))
        heard = ~old[:, 0].isnan()
        if not heard.any():
            return Verdict({}, "nothing can be judged: the recording is silent")
        old, new = old[heard], new[heard]
        measures = {
            f"{name}_{side}": float(mean)
            for side, scores in (("before", old), ("after", new))
            for name, mean in zip(self.drops, scores.mean(dim=0), strict=True)
        }
        if new.isnan().any():
            return Verdict(measures, "the restoration is silent")
        return Verdict(measures, ", ".join(self._objections(old, new)))

    def _scores(self, sound, stretches):
        """Opinions of each channel, (channels, opinions); NaN where none can be had."""
        none = torch.full((len(self.drops),), math.nan, dtype=torch.float64)
        return torch.stack(
            [
                opinions(speech, tuple(self.drops), self.pieces) if speech else none
                for speech in heard_speech(sound, stretches)
            ]
        )

    def _objections(self, old, new):
        for i, (name, drop) in enumerate(self.drops.items()):
            worst = int((old - new)[:, i].argmax())
            was, became = float(old[worst, i]), float(new[worst, i])
            if was - became > drop:
                yield f"{OPINIONS[name]} {was:.2f} fell to {became:.2f}"


class SpeechLossJudge:
    """Objects if bands of speech are attenuated by 6 dB, see ``count_lost``.

    Opinions hardly notice what is missing. This judge is for light noise, with an
    estimated SNR of 12 dB: below, what it finds lost outweighs the noise that is gone.
    It is not for dereverberation, which attenuates speech by design.

    Arguments
    ---------
    limit : float
        Largest share of the bands of speech that may be lost in a channel, 0 to 1.
    pieces : int
        Largest number of pieces of 30 s, spread over the recording; 0 for all of it.
    """

    def __init__(self, limit, pieces=3):
        self.limit, self.pieces = limit, pieces

    def __call__(self, before, after):
        """``Verdict`` on a restoration."""
        found, shares = find_speech(before), []
        for channel, stretches in enumerate(found):
            lost, heard = self._count(before, after, channel, stretches)
            if heard:
                shares.append(lost / heard)
        if not shares:
            return Verdict({})
        objection = ""
        if max(shares) > self.limit and _snr(before, found) >= _LIGHT_NOISE_DB:
            objection = f"{100 * max(shares):.1f} % of the bands of speech are lost"
        return Verdict({"speech_loss": max(shares)}, objection)

    def _count(self, before, after, channel, stretches):
        lost = heard = 0
        for start in spread(before.seconds, _SPEECH_SECONDS, self.pieces):
            inside = [
                (max(first - start, 0.0), min(last - start, _SPEECH_SECONDS))
                for first, last in stretches
                if first < start + _SPEECH_SECONDS and last > start
            ]
            if inside:
                old, new = (
                    sound.read(start, _SPEECH_SECONDS)[channel]
                    for sound in (before, after)
                )
                counts = count_lost(old, new, before.rate, after.rate, inside)
                lost, heard = lost + counts[0], heard + counts[1]
        return lost, heard


def _snr(sound, stretches):
    return measure_all(sound, pieces_of(sound), ["snr"], stretches)["snr"]


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
