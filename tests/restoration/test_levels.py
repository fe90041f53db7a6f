"""Levels of windows, and what lies below 20 Hz."""

import math

import pytest
import soundfile
import torch
from small import STRIDE, WINDOW, QuieterSignal, entangled, restorer

from lafufu_sb.audio.recordings import Recording
from lafufu_sb.restoration.levels import levelled, limited
from lafufu_sb.restoration.streaming import TensorSignal
from lafufu_sb.restoration.windows import WindowPlan

RATE = 1000  # Hz, so that frames, windows and filter are short
PLAN = WindowPlan(window=2 * RATE, stride=RATE)
SECONDS = 10


def voice(seconds=SECONDS, seed=0):
    """Sounds of half a second between pauses, above 50 Hz, with a peak near one."""
    time = torch.arange(seconds * RATE) / RATE
    draw = torch.Generator().manual_seed(seed)
    tones = 60 + 160 * torch.rand(20, 1, generator=draw)
    phases = 6.3 * torch.rand(20, 1, generator=draw)
    sound = torch.sin(6.2832 * tones * time + phases).sum(dim=0) / 12
    return sound * torch.sin(2 * torch.pi * time / 1.5).square()


def near_and_far(far=0.03):
    wav = voice()
    return wav * torch.where(torch.arange(len(wav)) < len(wav) // 2, 1.0, far)


def clicked(wav, at=4000, size=20.0):
    return torch.cat([wav[:at], torch.tensor([size, -size / 2]), wav[at + 2 :]])


def rumbling(wav, hertz, size=0.5):
    time = torch.arange(len(wav)) / RATE
    return wav + size * torch.cos(2 * math.pi * hertz * time)


def measured(wav, plan=PLAN):
    (signal,) = levelled([TensorSignal(wav)], plan, RATE)
    return signal


def decibels(ratio):
    return 20 * math.log10(ratio)


def test_the_level_is_the_peak_and_nothing_is_changed():
    wav = voice()
    signal = measured(wav)
    assert signal.levels == [float(wav.abs().max())] * (SECONDS - 1)
    assert torch.equal(signal.read(0, len(wav)), wav)


@pytest.mark.parametrize("size", [3.0, 10.0, 30.0])
def test_a_click_does_not_set_the_level(size):
    wav = voice()
    usual = float(wav.abs().max())
    for level in measured(clicked(wav, size=size)).levels:
        assert abs(decibels(level / usual)) < 5.0


def test_a_click_above_all_reason_is_limited():
    levels = measured(clicked(voice(), size=1e6)).levels
    assert max(levels) == min(levels) == pytest.approx(1e6 * 10**-1.5, rel=0.1)


def test_a_far_voice_has_its_own_level():
    wav = near_and_far()
    levels = measured(wav).levels
    assert levels[: SECONDS // 2] == [float(wav.abs().max())] * (SECONDS // 2)
    far = float(wav[len(wav) // 2 :].abs().max())
    for level in levels[SECONDS // 2 + 2 :]:
        assert abs(decibels(level / far)) < 3.0


@pytest.mark.parametrize("below", range(31))
def test_the_level_falls_steadily_with_the_voice(below):
    """By at most 4 dB for each dB: no recording is on the edge of another treatment."""
    levels = [
        measured(near_and_far(10 ** (-dB / 20))).levels[-1] for dB in (below, below + 1)
    ]
    assert -1e-6 <= decibels(levels[0] / levels[1]) < 4.1


@pytest.mark.parametrize("rows", [1, 2])
def test_a_function_sees_no_sample_above_one(rows):
    plain = torch.rand(3, rows, 2 * RATE) * 2 - 1
    windows = plain.clone()
    windows[0, :, 300:303] = 20 * torch.tensor([1.0, -2.0, 1.0])
    windows[1, :, 0] = -3.0
    seen = []

    def first_row(given, places):
        seen.append(given)
        return given if given.dim() == 2 else given[:, 0]

    given = windows[:, 0] if rows == 1 else windows
    torch.testing.assert_close(limited(first_row, RATE)(given, None), windows[:, 0])
    seen = seen[0].reshape(windows.shape)
    assert float(seen.abs().max()) <= 1 + 1e-6
    assert torch.equal(seen[2], plain[2])
    for part in (slice(0, 290), slice(313, None)):
        assert torch.equal(seen[0, :, part], plain[0, :, part])


@pytest.mark.parametrize("wav", [torch.zeros(9 * RATE), torch.zeros(0), torch.zeros(1)])
def test_silence_is_silent(wav):
    signal = measured(wav)
    assert signal.silent and all(level > 0 for level in signal.levels)


@pytest.mark.parametrize("value", [0.7, -1e-3, 3e4])
def test_a_constant_is_silence(value):
    wav = torch.full((1, 4 * RATE), value)
    assert not restorer(sample_rate=RATE, windows_per_batch=32).restore(wav).any()


@pytest.mark.parametrize("samples", [1, 2, 23])
def test_less_than_a_period_of_20_hertz_is_left_alone(samples):
    wav = torch.full((samples,), 0.5)
    signal = measured(wav)
    assert not signal.silent and signal.levels == [0.5]
    assert torch.equal(signal.read(0, samples), wav)


@pytest.mark.parametrize("hertz", [0, 2, 10, 30, 50])
def test_below_20_hertz_nothing_is_left_and_above_nothing_is_lost(hertz):
    wav = rumbling(torch.zeros(SECONDS * RATE), 100)
    given = rumbling(wav, hertz, 1.0)
    read = measured(given).read(0, len(given))
    inner = slice(RATE, -RATE)
    wanted = wav if hertz < 20 else given
    assert float((read - wanted)[inner].abs().max()) < 2e-3


def test_constant_disappears_up_to_the_ends():
    wav = rumbling(torch.zeros(SECONDS * RATE), 100, 0.1)
    read = measured(wav + 0.5).read(0, len(wav))
    assert float((read - wav).abs().max()) < 0.03


def test_faint_low_frequencies_stay():
    wav = rumbling(voice(), 5, 1e-3)
    assert torch.equal(measured(wav).read(0, len(wav)), wav)


ODD = {
    "voice": voice,
    "click": lambda: clicked(voice()),
    "near and far": near_and_far,
    "offset": lambda: voice() - 0.5,
    "far with an offset": lambda: near_and_far() + 0.05,
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("samples", [100, 1000, 5001])
def test_reads_of_any_size_give_the_same_samples(name, samples):
    wav = ODD[name]()
    signal = measured(wav)
    whole = signal.read(0, len(wav))
    for start in range(0, len(wav), samples):
        piece = signal.read(start, start + samples)
        torch.testing.assert_close(
            piece, whole[start : start + samples], atol=1e-7, rtol=0
        )


@pytest.mark.parametrize("name", ODD)
def test_what_changes_nothing_is_transparent_at_every_level(name):
    """No step where the level changes; each stretch to the precision of its own."""
    wav, model = ODD[name](), restorer(sample_rate=RATE, windows_per_batch=32)
    restored = model.restore(wav[None])[0]
    wanted = measured(wav, model.plan).read(0, len(wav))
    for half in (slice(0, len(wav) // 3), slice(-len(wav) // 3, None)):
        loudest = float(wanted[half].abs().max())
        assert float((restored - wanted)[half].abs().max()) < 1e-5 * loudest


@pytest.mark.parametrize("name", ODD)
def test_result_scales_with_the_signal(name):
    wav, model = ODD[name]()[None], entangled(sample_rate=RATE, windows_per_batch=32)
    restored = model.restore(wav)
    for scale in (2.0**-14, 0.5, 8.0):
        assert torch.equal(model.restore(scale * wav), scale * restored)
    torch.testing.assert_close(model.restore(0.3 * wav), 0.3 * restored)


@pytest.mark.parametrize("name", ODD)
def test_result_does_not_depend_on_neighbours_or_batches(name):
    own, other = ODD[name](), ODD["near and far"]().flip(0) + 0.1
    results = []
    for size, entries in ((3, [own]), (4, [other[:999], own]), (5, [(own, other)])):
        model = entangled(sample_rate=RATE, windows_per_batch=size)
        signals = [
            tuple(TensorSignal(w, w is own) for w in entry)
            if isinstance(entry, tuple)
            else TensorSignal(entry, entry is own)
            for entry in entries
        ]
        blocks = [block for s, block in model.stream(signals, fill=True) if s.key]
        results.append(torch.cat(blocks))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("begin", [1, 30, 70])
@pytest.mark.parametrize("name", ODD)
def test_stream_continues_from_any_window_with_the_same_bits(name, begin):
    model, wav = entangled(sample_rate=RATE, windows_per_batch=32), ODD[name]()

    def stream(begin):
        signal = TensorSignal(wav)
        signal.begin = begin
        return torch.cat([b for _, b in model.stream([signal], fill=True)])

    assert torch.equal(stream(begin), stream(0)[begin * STRIDE :])


@pytest.mark.parametrize("name", ODD)
def test_file_gives_what_an_array_gives(name, tmp_path):
    wavs = torch.stack([ODD[name](), 0.1 * voice(seed=1)])
    soundfile.write(tmp_path / "a.wav", wavs.T.numpy(), 48000, subtype="FLOAT")
    model = entangled(sample_rate=RATE, windows_per_batch=32)
    blocks = [[], []]
    with Recording(tmp_path / "a.wav") as recording:
        for signal, block in model.stream([recording.signals()], fill=True):
            blocks[signal.key].append(block)
    arrays = [[], []]
    signals = tuple(TensorSignal(wav, key) for key, wav in enumerate(wavs))
    for signal, block in model.stream([signals], fill=True):
        arrays[signal.key].append(block)
    for one, other in zip(blocks, arrays, strict=True):
        assert torch.equal(torch.cat(one), torch.cat(other))


def test_reads_rise_and_are_short():
    """So a file is decoded twice, and held in pieces."""
    reads = []

    class Watched(TensorSignal):
        def read(self, start, stop):
            reads.append((start, stop))
            return super().read(start, stop)

    wav = near_and_far() + 0.5
    list(restorer(sample_rate=RATE, windows_per_batch=32).stream([Watched(wav)]))
    starts = [start for start, _ in reads]
    falls = [one > other for one, other in zip(starts, starts[1:], strict=False)]
    assert sum(falls) == 1
    assert max(stop - start for start, stop in reads) <= 16 * 100 + 2 * 96
    windows = WindowPlan(WINDOW, STRIDE).starts(len(wav))
    assert len(reads) == -(-len(wav) // (16 * 100)) + len(windows)


def test_level_curve_is_smooth_and_that_of_the_windows_in_their_middle():
    signal = measured(near_and_far())
    curve = signal.level_curve(0, SECONDS * RATE)
    middles = [start + PLAN.window // 2 for start in PLAN.starts(SECONDS * RATE)]
    torch.testing.assert_close(curve[middles], torch.tensor(signal.levels))
    step = (curve[1:] / curve[:-1]).log().abs().max()
    assert float(step) * RATE < math.log(max(signal.levels) / min(signal.levels)) + 0.1
    torch.testing.assert_close(signal.level_curve(5500, 6500), curve[5500:6500])
    same = measured(voice())
    assert same.level_curve(3, 5).tolist() == same.levels[:2]


def test_pre_enhancer_of_signals_hears_a_far_voice_at_full_level():
    heard = []

    class Heard(QuieterSignal):
        def enhance(self, signal, sample_rate):
            heard.append(signal)
            return signal

    plan = {"window_frames": 64, "overlap_frames": 32}  # about a second at this rate
    model = restorer(sample_rate=RATE, pre_enhancer=Heard(), mean="enhanced", **plan)
    wav = near_and_far()
    restored = model.restore(wav[None])[0]
    quarter = len(wav) // 4
    near, far = (
        float(heard[0][part].abs().max())
        for part in (slice(quarter), slice(-quarter, None))
    )
    assert 0.5 < near <= 1 and 0.5 < far < 1.6
    for part in (slice(quarter), slice(-quarter, None)):
        error = float((restored - wav)[part].abs().max())
        assert error < 1e-5 * float(wav[part].abs().max())


def test_pre_enhancer_of_signals_hears_no_offset():
    heard = []

    class Heard(QuieterSignal):
        def enhance(self, signal, sample_rate):
            heard.append(signal)
            return signal

    model = restorer(sample_rate=RATE, pre_enhancer=Heard(), mean="enhanced")
    wav = voice()
    restored = model.restore(wav[None] + 0.5)[0]
    signal = measured(wav + 0.5, model.plan)
    wanted, level = signal.read(0, len(wav)), max(signal.levels)
    assert float(heard[0].mean().abs()) < 1e-3
    torch.testing.assert_close(heard[0], wanted / level, atol=1e-6, rtol=0)
    torch.testing.assert_close(restored, wanted, atol=1e-5, rtol=0)
