"""The gate: what passes, what it refuses, and that every channel counts."""

import math

import pytest
import torch

from lafufu_sb.cleaning import gate as module
from lafufu_sb.cleaning.gate import (
    DNSMOSJudge,
    Gate,
    RecogniserJudge,
    SpeakerJudge,
    Verdict,
    character_error,
)
from lafufu_sb.cleaning.sound import MemorySound
from lafufu_sb.errors import MissingPackageError


def sound(*levels, seconds=1.0, rate=16000):
    """A sound with one channel per level; the fake judges hear levels."""
    return MemorySound(
        torch.tensor(levels)[:, None].repeat(1, int(seconds * rate)), rate
    )


@pytest.fixture
def heard(monkeypatch):
    """Lengths heard by a fake DNSMOS, which gives ten times the level."""
    lengths = []

    def score(wav, rate):
        lengths.append(len(wav) / rate)
        return {"ovr": 10 * float(wav.mean()), "p808": 10 * float(wav.amax())}

    monkeypatch.setattr(module, "dnsmos", score)
    return lengths


@pytest.mark.parametrize(
    "before, after, drop, passes",
    [
        ([0.2], [0.3], 0.0, True),
        ([0.2], [0.2], 0.0, True),
        ([0.3], [0.29], 0.0, False),
        ([0.3], [0.29], 0.2, True),
        ([0.3], [0.25], 0.2, False),
        ([0.1, 0.3], [0.4, 0.2], 0.0, False),  # one channel of two
        ([0.0, 0.3], [0.0, 0.4], 0.0, True),  # silence is not judged
    ],
)
def test_dnsmos_must_not_drop(heard, before, after, drop, passes):
    verdict = DNSMOSJudge(drop)(sound(*before), sound(*after))
    assert (verdict.objection == "") is passes


def test_dnsmos_reports_its_scores(heard):
    verdict = DNSMOSJudge()(sound(0.3, 0.1), sound(0.2, 0.2))
    assert (
        verdict.objection == "DNSMOS 3.00 fell to 2.00, DNSMOS P.808 3.00 fell to 2.00"
    )
    names = "dnsmos_before", "dnsmos_after", "p808_before", "p808_after"
    assert verdict.measures == pytest.approx(dict.fromkeys(names, 2))


def test_each_of_the_two_opinions_counts(heard):
    before = sound(0.2)
    after = sound(0.2)
    after.wavs[0, ::2] *= 0.5  # a lower mean, the same maximum
    after.wavs[0, 1::2] *= 1.1
    assert DNSMOSJudge()(before, after).objection == "DNSMOS 2.00 fell to 1.60"
    assert DNSMOSJudge()(after, before).objection == "DNSMOS P.808 2.20 fell to 2.00"


@pytest.mark.parametrize(
    "before, after, objection",
    [
        (0.0, 0.0, "DNSMOS cannot judge silence"),
        (0.1, 0.0, "the restoration is silent"),
    ],
)
def test_silence_keeps_the_original(heard, before, after, objection):
    assert DNSMOSJudge()(sound(before), sound(after)).objection == objection


@pytest.mark.parametrize(
    "seconds, pieces, runs", [(1.0, 3, 1), (60.0, 3, 3), (27.0, 0, 3)]
)
def test_dnsmos_hears_pieces_of_one_length(heard, seconds, pieces, runs):
    DNSMOSJudge(pieces=pieces)(sound(0.1, seconds=seconds), sound(0.1, seconds=seconds))
    assert heard == [9.02] * 2 * runs


def test_dnsmos_of_speech_is_that_of_one_window():
    noise = torch.randn(1, 160000, generator=torch.Generator().manual_seed(0))
    clean = MemorySound(0.1 * noise[:, :100000], 16000)
    verdict = DNSMOSJudge()(clean, clean)
    assert verdict.objection == ""
    assert 1.0 < verdict.measures["dnsmos_before"] < 2.0


def test_without_speechmos_the_gate_has_no_judge(monkeypatch):
    def check(names):
        raise ImportError(f"{names[0]} needs speechmos")

    monkeypatch.setattr(module, "check_metrics", check)
    message = "has no judge: dnsmos needs speechmos.*--gate none"
    with pytest.raises(MissingPackageError, match=message):
        DNSMOSJudge()


@pytest.mark.parametrize("limit, passes", [(0.1, False), (0.3, True)])
def test_a_recogniser_must_hear_the_same(limit, passes):
    texts = {0.25: "Hello, World!", 0.5: "hello word"}
    judge = RecogniserJudge(lambda wav: texts[float(wav[0])], limit)
    verdict = judge(sound(0.25), sound(0.5))
    assert verdict.measures == {"character_error": pytest.approx(1 / 11)} or not passes
    assert (verdict.objection == "") is (1 / 11 <= limit)


def test_a_recognisers_objection_names_both_texts():
    texts = {0.25: "yes", 0.5: "no"}
    judge = RecogniserJudge(lambda wav: texts[float(wav[0])])
    verdict = judge(sound(0.5, 0.25), sound(0.5, 0.5))
    assert "heard 'yes', then 'no': 100 %" in verdict.objection


def test_a_recogniser_hears_16_khz_in_pieces():
    shapes = []

    def recognise(wav):
        shapes.append((wav.dim(), len(wav)))
        return ""

    long = sound(0.1, seconds=70.0, rate=48000)
    assert RecogniserJudge(recognise, pieces=2)(long, long) == Verdict(
        {"character_error": 0.0}
    )
    assert shapes == [(1, 30 * 16000)] * 4


@pytest.mark.parametrize("angle, passes", [(0.0, True), (1.0, True), (1.5, False)])
def test_the_voice_must_stay(angle, passes):
    def embed(wav):
        return torch.tensor([[math.cos(wav[0]), math.sin(wav[0])]])

    verdict = SpeakerJudge(embed, limit=0.25)(sound(1e-9), sound(angle))
    assert verdict.measures["speaker_cosine"] == pytest.approx(
        math.cos(angle), abs=1e-5
    )
    assert (verdict.objection == "") is passes


def test_an_embedding_that_is_not_finite_is_an_objection():
    judge = SpeakerJudge(lambda wav: torch.full((2,), math.nan))
    assert judge(sound(0.1), sound(0.1)).objection


def test_all_judges_are_heard():
    gate = Gate(
        [
            lambda b, a: Verdict({"x": 1.0}, "too x"),
            lambda b, a: Verdict({"y": 2.0}),
            lambda b, a: Verdict({}, "too z"),
        ]
    )
    assert gate(None, None) == Verdict({"x": 1.0, "y": 2.0}, "too x; too z")


def test_a_judge_that_fails_objects():
    def fails(before, after):
        raise RuntimeError("too short")

    gate = Gate([fails, lambda before, after: Verdict({"y": 2.0})])
    verdict = gate(None, None)
    assert verdict == Verdict({"y": 2.0}, "a judge failed: RuntimeError too short")


@pytest.mark.parametrize(
    "before, after, error",
    [("", "", 0), ("a", "", 1), ("", "abc", 1), ("abcd", "acd", 0.25), ("ab", "ba", 1)],
)
def test_character_error(before, after, error):
    assert character_error(before, after) == error
