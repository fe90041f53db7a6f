"""The gate: what passes, what it refuses, and that every channel counts."""

import math

import pytest
import torch

from lafufu_sb.audio.resampling import resample
from lafufu_sb.cleaning import gate
from lafufu_sb.cleaning import opinions as module
from lafufu_sb.cleaning.gate import (
    Gate,
    OpinionJudge,
    RecogniserJudge,
    SpeakerJudge,
    SpeechLossJudge,
    Verdict,
    character_error,
)
from lafufu_sb.cleaning.sound import MemorySound


def sound(*levels, seconds=1.0, rate=16000):
    """A sound with one channel per level; the fake judges hear levels."""
    return MemorySound(
        torch.tensor(levels)[:, None].repeat(1, int(seconds * rate)), rate
    )


@pytest.fixture
def heard(monkeypatch):
    """Lengths heard by fake opinions: ten times the mean and the largest sample."""
    lengths = []

    def score(wav, rate, names):
        lengths.append(len(wav) / rate)
        if not wav.any():
            return [math.nan] * len(names)
        found = {"dnsmos": 10 * float(wav.mean()), "distillmos": 10 * float(wav.amax())}
        return [found[name] for name in names]

    monkeypatch.setattr(module, "_of_piece", score)
    return lengths


def judge(dnsmos=0.0, distillmos=0.0, **options):
    drops = {"dnsmos": dnsmos, "distillmos": distillmos}
    return OpinionJudge(drops, **{"speech_only": False} | options)


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
def test_no_opinion_may_drop(heard, before, after, drop, passes):
    verdict = judge(drop, drop)(sound(*before), sound(*after))
    assert (verdict.objection == "") is passes


def test_opinions_are_reported(heard):
    verdict = judge()(sound(0.3, 0.1), sound(0.2, 0.2))
    assert verdict.objection == "DNSMOS 3.00 fell to 2.00, DistillMOS 3.00 fell to 2.00"
    names = "dnsmos_before", "dnsmos_after", "distillmos_before", "distillmos_after"
    assert verdict.measures == pytest.approx(dict.fromkeys(names, 2))


def test_each_opinion_has_its_own_limit(heard):
    before = sound(0.2)
    after = sound(0.2)
    after.wavs[0, ::2] *= 0.5  # a lower mean, a higher maximum
    after.wavs[0, 1::2] *= 1.1
    assert judge()(before, after).objection == "DNSMOS 2.00 fell to 1.60"
    assert judge()(after, before).objection == "DistillMOS 2.20 fell to 2.00"
    assert judge(dnsmos=0.5)(before, after).objection == ""
    assert judge(dnsmos=0.5)(after, before).objection
    assert judge(distillmos=0.5)(before, after).objection


@pytest.mark.parametrize(
    "before, after, objection",
    [
        (0.0, 0.0, "nothing can be judged: the recording is silent"),
        (0.1, 0.0, "the restoration is silent"),
    ],
)
def test_silence_keeps_the_original(heard, before, after, objection):
    assert judge()(sound(before), sound(after)).objection == objection


@pytest.mark.parametrize(
    "seconds, pieces, runs", [(1.0, 3, 1), (60.0, 3, 3), (27.0, 0, 3)]
)
def test_opinions_are_of_pieces_of_one_length(heard, seconds, pieces, runs):
    long = sound(0.1, seconds=seconds)
    judge(pieces=pieces)(long, long)
    assert heard == [9.02] * 2 * runs


def test_only_speech_is_judged(heard, monkeypatch):
    """The pauses get louder and the speech fainter."""
    before, after = sound(0.2, seconds=4.0), sound(0.4, seconds=4.0)
    before.wavs[:, 16000:32000], after.wavs[:, 16000:32000] = 0.3, 0.2
    assert judge()(before, after).objection == ""
    monkeypatch.setattr(gate, "find_speech", lambda sound: [[(1.0, 2.0)]])
    verdict = judge(speech_only=True)(before, after)
    assert verdict.objection == "DNSMOS 3.00 fell to 2.00, DistillMOS 3.00 fell to 2.00"


def test_speech_that_noise_hides_is_looked_for_in_the_restoration(heard, monkeypatch):
    before, after = sound(0.2, 0.2), sound(0.3, 0.1)
    found = {id(before): [[], []], id(after): [[(0.0, 1.0)], []]}
    monkeypatch.setattr(gate, "find_speech", lambda sound: found[id(sound)])
    assert judge(speech_only=True)(before, after).objection == ""  # of channel 0 alone
    found[id(after)] = [[], []]
    verdict = judge(speech_only=True)(before, after)
    assert verdict.objection == "nothing can be judged: no speech was found"


def test_dnsmos_of_noise_is_that_of_one_window():
    noise = torch.randn(1, 160000, generator=torch.Generator().manual_seed(0))
    clean = MemorySound(0.1 * noise[:, :100000], 16000)
    names = dict.fromkeys(["dnsmos", "dnsmos_p808"], 0.0)
    verdict = OpinionJudge(names, speech_only=False)(clean, clean)
    assert verdict.objection == ""
    assert 1.0 < verdict.measures["dnsmos_before"] < 2.0
    assert 1.0 < verdict.measures["dnsmos_p808_after"] < 4.0


@pytest.fixture
def spoken(monkeypatch):
    """Tones from 1 s to 3 s of 4 s are speech: a function from levels to a sound."""
    monkeypatch.setattr(
        gate, "find_speech", lambda sound: [[(1.0, 3.0)]] * sound.channels
    )
    time = torch.arange(4 * 16000) / 16000
    hiss = 1e-4 * torch.randn(2, len(time), generator=torch.Generator().manual_seed(0))

    def make(low, high, rate=16000):
        wav = low * torch.sin(2000 * time) + high * torch.sin(20000 * time)
        wav[:16000] = wav[48000:] = 0.0
        return MemorySound(resample(wav + hiss, 16000, rate), rate)

    return make


def test_lost_bands_of_speech_are_an_objection(spoken):
    before = spoken(0.1, 0.1)
    for after, share in (
        (before, 0.0),
        (spoken(0.1, 0.06), 0.0),  # by 4 dB
        (spoken(0.3, 0.2, rate=48000), 0.0),
        (spoken(0.03, 0.03), 1.0),  # by 10 dB
        (spoken(0.1, 0.01), 0.5),
    ):
        verdict = SpeechLossJudge(0.3)(before, after)
        assert verdict.measures["speech_loss"] == pytest.approx(share, abs=0.15)
        assert bool(verdict.objection) is (share > 0.3)
    assert "% of the bands of speech are lost" in verdict.objection
    assert SpeechLossJudge(0.8)(before, after).objection == ""


def test_heavy_noise_is_left_to_the_other_judges(spoken):
    before, after = spoken(0.1, 0.1), spoken(0.1, 0.01)
    noise = torch.randn(before.wavs.shape, generator=torch.Generator().manual_seed(1))
    for level, objects in ((0.01, True), (0.03, False)):  # SNRs of 20 and 10 dB
        noisy = MemorySound(before.wavs + level * noise, 16000)
        verdict = SpeechLossJudge(0.1)(noisy, after)
        assert verdict.measures["speech_loss"] > 0.1
        assert bool(verdict.objection) is objects


def test_noise_may_be_removed_and_each_channel_counts(spoken):
    before, after = spoken(0.1, 0.1), spoken(0.1, 0.1)
    before.wavs += 0.003 * torch.randn(before.wavs.shape)
    assert SpeechLossJudge(0.05)(before, after).objection == ""
    after.wavs[1] = spoken(0.01, 0.01).wavs[1]
    assert SpeechLossJudge(0.5)(before, after).objection


def test_speech_is_lost_anywhere_in_a_long_recording(monkeypatch):
    stretches = [(10.0 * i, 10.0 * i + 8.0) for i in range(10)]
    monkeypatch.setattr(gate, "find_speech", lambda sound: [stretches])
    noise = torch.randn(1, 100 * 8000, generator=torch.Generator().manual_seed(0))
    before = noise.clone()
    for _, end in stretches:
        before[:, int(8000 * end) : int(8000 * (end + 2))] *= 0.01
    after = before.clone()
    after[:, 40 * 8000 : 60 * 8000] *= 0.1
    sounds = MemorySound(before, 8000), MemorySound(after, 8000)
    assert SpeechLossJudge(0.1, 2)(*sounds).measures["speech_loss"] == 0.0
    share = SpeechLossJudge(0.1, 0)(*sounds).measures["speech_loss"]
    assert share == pytest.approx(0.2, abs=0.1)
    steady = MemorySound(noise, 8000), MemorySound(0.1 * noise, 8000)
    assert SpeechLossJudge(0.1)(*steady).objection == ""  # no louder than its pauses


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
