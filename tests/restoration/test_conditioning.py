"""Distorted and enhanced input as mean, condition and source of the skips."""

import pytest
import torch
from small import (
    HALVED,
    STRIDE,
    WINDOW,
    Notes,
    Quieter,
    QuieterSignal,
    restorer,
    speech,
)

from lafufu_sb.errors import UsageError
from lafufu_sb.lobes.pre_enhancer import (
    Framed,
    PreEnhancer,
    SignalPreEnhancer,
    StreamingPreEnhancer,
)
from lafufu_sb.lobes.representations import Encoded
from lafufu_sb.lobes.score_network import ScoreNetwork
from lafufu_sb.restoration import signal_pre_enhancement
from lafufu_sb.restoration.conditioning import Conditioning
from lafufu_sb.restoration.levels import levelled
from lafufu_sb.restoration.signal_pre_enhancement import pre_enhanced
from lafufu_sb.restoration.streaming import TensorSignal
from lafufu_sb.restoration.windows import WindowPlan


class TwoConditions(ScoreNetwork):
    """Adds half of the distorted input to the mean, which is the enhanced one."""

    def forward(self, x_t, condition, t):
        distorted, enhanced = condition.chunk(2, dim=1)
        torch.testing.assert_close(enhanced, 0.5 * distorted)
        return 0.5 * distorted


class Unconditional(ScoreNetwork):
    """Halves the state, and takes no condition."""

    def forward(self, x_t, condition, t):
        assert condition is None
        return -0.5 * x_t


def encoded(value):
    latent = torch.full((1, 2, 3, 4), float(value))
    return Encoded(latent, (latent + 0.5,), (3, 4))


@pytest.mark.parametrize(
    ("condition", "mean", "skips", "needed"),
    [
        (["distorted"], "distorted", "distorted", ("distorted",)),
        (["enhanced"], "enhanced", "enhanced", ("enhanced",)),
        (["enhanced", "distorted"], "distorted", "enhanced", None),
        ([], "enhanced", "distorted", None),
    ],
)
def test_roles_are_those_that_were_named(condition, mean, skips, needed):
    roles = Conditioning(
        condition, mean, skips, pre_enhances="enhanced" in (*condition, mean, skips)
    )
    assert roles.needed == (needed or ("distorted", "enhanced"))
    given = {"distorted": encoded(1), "enhanced": encoded(2)}
    latent, conditions, (source,) = roles.roles(given)
    assert latent is given[mean].latent and source is given[skips]
    if not condition:
        assert conditions is None
    else:
        expected = [given[name].latent for name in condition]
        assert torch.equal(conditions, torch.cat(expected, dim=1))


@pytest.mark.parametrize(
    ("names", "pre_enhances", "message"),
    [
        ((["noisy"], "distorted", "distorted"), True, "got 'noisy'"),
        ((["distorted"], "clean", "distorted"), True, "got 'clean'"),
        ((["distorted"], "distorted", "enhanced"), False, "there is no pre_enhancer"),
        ((["distorted"], "distorted", "distorted"), True, "do not name 'enhanced'"),
        ((["distorted"], "distorted", []), False, "skips name 0 inputs"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, pre_enhances, message):
    with pytest.raises(UsageError, match=message):
        Conditioning(*names, pre_enhances)


ENHANCED = {"condition": ["enhanced"], "mean": "enhanced", "skips": "enhanced"}
BOTH = ENHANCED | {
    "condition": ["distorted", "enhanced"],
    "score_model": TwoConditions,
}
NONE = ENHANCED | {"condition": [], "score_model": Unconditional}


def build(enhancer, names, **changes):
    made = {k: v() if isinstance(v, type) else v for k, v in names.items()}
    return restorer(pre_enhancer=enhancer(), **made | changes)


variants = pytest.mark.parametrize(
    ("names", "factor"),
    [(ENHANCED, 0.5), (BOTH, 1.0), (NONE, 0.25)],
    ids=["enhanced", "both", "none"],
)


@variants
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_module_pre_enhancer_stands_before_the_representation(names, factor, precision):
    model = build(Quieter, names, precision=precision)
    wavs = speech(2, 500)
    restored = model.restore(wavs, torch.tensor([1.0, 0.6]))
    expected = factor ** (1 / 0.667) * wavs
    expected[1, 300:] = 0.0
    tolerance = {"fp32": 1e-5, "bf16": 2e-2}[precision]
    torch.testing.assert_close(restored, expected, atol=tolerance, rtol=0)


@variants
def test_signal_pre_enhancer_gets_whole_signals_once(names, factor):
    """In a padded batch and in a stream with channels, whatever the windows are."""
    model = build(QuieterSignal, names, windows_per_batch=3)
    wavs, lengths = speech(2, 500), torch.tensor([1.0, 0.6])
    restored = model.restore(wavs, lengths)
    expected = factor ** (1 / 0.667) * wavs
    expected[1, 300:] = 0.0
    torch.testing.assert_close(restored, expected, atol=1e-5, rtol=0)
    assert model.pre_enhancer.given == [((500,), 48000), ((300,), 48000)]
    model.pre_enhancer.given.clear()
    wavs = speech(3, WINDOW + 3 * STRIDE)
    first, *channels = (TensorSignal(wav, key=i) for i, wav in enumerate(wavs))
    blocks = {0: [], 1: [], 2: []}
    for signal, block in model.stream([first, tuple(channels)]):
        blocks[signal.key].append(block)
    assert [shape for shape, _ in model.pre_enhancer.given] == 3 * [wavs[0].shape]
    restored = torch.stack([torch.cat(parts) for parts in blocks.values()])
    expected = factor ** (1 / 0.667) * wavs
    torch.testing.assert_close(restored, expected, atol=1e-5, rtol=0)


def test_sources_of_the_skips_come_in_their_order():
    roles = Conditioning(["distorted"], "enhanced", ["enhanced", "distorted"], True, 2)
    given = {"distorted": encoded(1), "enhanced": encoded(2)}
    assert roles.sources(given) == [given["enhanced"], given["distorted"]]


def test_more_sources_than_the_representation_joins_are_refused():
    with pytest.raises(UsageError, match="skips name 2 inputs.* takes 1"):
        build(QuieterSignal, ENHANCED, skips=["enhanced", "distorted"])


class Difference(StreamingPreEnhancer):
    """Half of each sample less half of the one before, 7 samples late, in frames."""

    delay = 7 + 5

    def open(self, sample_rate):
        memory = torch.zeros(8)

        def frames(given):
            nonlocal memory
            signal = torch.cat([memory, given.flatten()])
            memory = signal[-8:]
            return (0.5 * (signal[1:-7] - signal[:-8])).reshape(given.shape)

        return Framed(frames, 5)


def streamed(wav):
    signals = levelled([TensorSignal(wav)], WindowPlan(WINDOW, STRIDE), 48000)
    return pre_enhanced(signals, Difference(), 48000)


@pytest.mark.parametrize("block", [1, 13, 40, 1000])
def test_streams_give_what_the_whole_signal_gives(block, monkeypatch):
    monkeypatch.setattr(signal_pre_enhancement, "BLOCK", block)
    wav = speech(1, 333)[0]
    whole = Difference().enhance(wav, 48000)
    before = torch.nn.functional.pad(wav, (1, 0))[:-1]
    torch.testing.assert_close(whole, 0.5 * (wav - before))
    (signal,) = streamed(wav)
    starts = [0, 0, 96, 192, 288, 96]  # the last one goes back
    for start in starts:
        distorted, enhanced = signal.read(start, start + 112)
        torch.testing.assert_close(distorted, wav[start : start + 112])
        torch.testing.assert_close(
            enhanced, whole[start : start + 112], atol=1e-6, rtol=1e-5
        )


def test_streams_keep_little(monkeypatch):
    monkeypatch.setattr(signal_pre_enhancement, "BLOCK", 50)
    (signal,) = streamed(speech(1, 5000)[0])
    for start in range(0, 4900, 96):
        signal.read(start, start + 112)
        assert len(signal._enhanced._kept) <= 112 + 50


def test_level_does_not_change_what_a_signal_pre_enhancer_hears():
    class Gate(SignalPreEnhancer):
        def enhance(self, signal, sample_rate):
            return torch.where(signal.abs() > 0.3, signal, 0.0)

    model = build(Gate, NONE)
    loud = speech(1, 500)
    quiet = model.restore(2.0**-12 * loud)
    assert torch.equal(quiet, 2.0**-12 * model.restore(loud))


@pytest.mark.parametrize("enhancer", [Quieter, QuieterSignal])
def test_pre_enhancer_alone_and_the_bound(enhancer):
    model = build(enhancer, ENHANCED)
    distorted, clean = speech(2, 500), speech(2, 500, seed=1)
    expected = HALVED * distorted
    expected[1, 300:] = 0.0
    enhanced = model.pre_enhance(distorted, torch.tensor([1.0, 0.6]))
    torch.testing.assert_close(enhanced, expected, atol=1e-5, rtol=0)
    bound = model.autoencoder_bound(distorted, clean)
    torch.testing.assert_close(bound, clean, atol=1e-5, rtol=0)


class Recurrent(PreEnhancer):
    """Layers that refuse input of another dtype than their weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gru = torch.nn.GRU(64, 64, batch_first=True)
        self.dtypes = Notes()

    def forward(self, features):
        self.dtypes.append(features.dtype)
        rows = features.flatten(1, 2).transpose(1, 2)
        enhanced = self.gru(rows)[0].transpose(1, 2)
        return enhanced.unflatten(1, (2, 32)) * features


def test_any_pre_enhancer_computes_in_float32_under_bf16():
    wavs = speech(1, 500)
    exact = build(Recurrent, ENHANCED)
    half = exact.with_settings(precision="bf16")
    torch.testing.assert_close(
        half.restore(wavs), exact.restore(wavs), atol=2e-2, rtol=0
    )
    assert torch.equal(half.pre_enhance(wavs), exact.pre_enhance(wavs))
    assert set(exact.pre_enhancer.dtypes) == {torch.float32}


def test_time_of_the_pre_enhancer_is_measured():
    model = build(Quieter, ENHANCED)
    with model.timed() as timer:
        model.restore(speech(1, 100))
    assert set(timer.seconds) == {"pre_enhancer", "encoder", "sampler", "decoder"}
