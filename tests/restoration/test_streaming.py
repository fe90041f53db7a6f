"""Streams of signals: results, order of blocks, and how far ahead is read."""

import pytest
import torch
from small import STRIDE, WINDOW, Scaled, entangled, restorer, speech

from lafufu_sb.errors import UsageError
from lafufu_sb.restoration.streaming import TensorSignal


def signals(*lengths, **options):
    return [
        TensorSignal(speech(1, n, seed=n)[0], key=i, **options)
        for i, n in enumerate(lengths)
    ]


def joined(stream):
    """{key: whole result} and the keys of the blocks in the order that they came."""
    blocks, order = {}, []
    for signal, block in stream:
        blocks.setdefault(signal.key, []).append(block)
        order.append(signal.key)
    return {key: torch.cat(parts) for key, parts in blocks.items()}, order


@pytest.mark.parametrize("windows_per_batch", [1, 3, 100])
def test_stream_gives_what_restore_gives(windows_per_batch):
    model = entangled(windows_per_batch=windows_per_batch).with_settings(seed=5)
    given = signals(700, 1, WINDOW, WINDOW + 1, 433)
    restored, order = joined(model.stream(iter(given)))
    assert order == sorted(order)
    for signal in given:
        alone = model.restore(signal.wav[None])[0]
        torch.testing.assert_close(restored[signal.key], alone, atol=1e-5, rtol=0)


def test_blocks_are_finished_samples_of_a_stride():
    lengths = [len(block) for _, block in restorer().stream(signals(WINDOW + STRIDE))]
    assert lengths == [STRIDE, WINDOW]


@pytest.mark.parametrize("begin", [1, 2, 4])
def test_stream_continues_from_any_window_with_the_same_bits(begin):
    """With channels, one of them silent, and batches that start elsewhere."""
    model, long = entangled(windows_per_batch=3), WINDOW + 4 * STRIDE
    wavs = speech(1, long - 7)[0], torch.zeros(long - 7)

    def stream(begin):
        given = tuple(TensorSignal(wav, key=k) for k, wav in enumerate(wavs))
        for signal in given:
            signal.begin = begin
        return joined(model.stream([given], fill=True))

    whole, order = stream(0)
    rest, later = stream(begin)
    assert order == [0, 1] * 5 and later == [0, 1] * (5 - begin)
    for key in (0, 1):
        assert torch.equal(rest[key], whole[key][begin * STRIDE :])


class Watched(TensorSignal):
    """Notes what is read."""

    reads = ()

    def read(self, start, stop):
        self.reads += ((start, stop),)
        return super().read(start, stop)


def watched(length, **options):
    return Watched(speech(1, length)[0], **options)


MEASURED = (0, 16 * 4800)  # of any signal up to this length, for its level


def test_each_window_is_read_once_when_it_is_needed():
    long = watched(WINDOW + 4 * STRIDE)
    stream = restorer(windows_per_batch=2).stream([long])
    windows = [(i * STRIDE, i * STRIDE + WINDOW) for i in range(5)]
    assert long.reads == ()
    for blocks, read in enumerate([2, 2, 4, 4, 5], start=1):
        next(stream)
        assert long.reads == (MEASURED, *windows[:read]), blocks
    assert list(stream) == []


def test_signals_are_taken_a_batch_ahead_at_most():
    taken = []

    def endless():
        while True:
            taken.append(watched(WINDOW + STRIDE, key=len(taken)))
            yield taken[-1]

    stream = restorer(windows_per_batch=4).stream(endless())
    keys = [next(stream)[0].key for _ in range(8)]
    assert keys == [0, 0, 1, 1, 2, 2, 3, 3] and len(taken) == 4


def test_endless_silence_holds_nothing_back():
    def endless():
        yield watched(50, key="speech")
        while True:
            yield TensorSignal(torch.zeros(50), key="silence")

    stream = restorer(windows_per_batch=4).stream(endless())
    assert [next(stream)[0].key for _ in range(3)] == ["speech", "silence", "silence"]


def test_windows_are_batched_across_signals():
    model = restorer(score_model=Scaled(), windows_per_batch=4)
    list(model.stream(signals(30, 2 * STRIDE, 30, 400)))
    assert [batch for *_, batch in model.score_model.seen] == [4, 4]


def test_silence_is_read_once_and_comes_back_as_zeros():
    quiet = Watched(torch.zeros(500), key="quiet")
    loud = watched(500, key="loud")
    restored, _ = joined(entangled().stream([loud, quiet, loud]))
    assert quiet.reads == (MEASURED,)
    assert len(restored["quiet"]) == 500 and not restored["quiet"].any()


def test_signal_without_samples_gives_one_empty_block():
    (_, block), *others = restorer().stream([TensorSignal(torch.zeros(0))])
    assert block.shape == (0,) and not others


def test_channels_advance_together():
    left, right, quiet = (watched(600, key=k) for k in ("left", "right", "quiet"))
    right.wav, quiet.wav = 0.5 * right.wav.flip(0), torch.zeros(600)
    model = entangled(windows_per_batch=3)
    restored, order = joined(model.stream([(left, right, quiet)]))
    assert order == ["left", "right", "quiet"] * (len(order) // 3)
    for signal in (left, right):
        alone = model.restore(signal.wav[None])[0]
        torch.testing.assert_close(restored[signal.key], alone, atol=1e-5, rtol=0)
    assert not restored["quiet"].any()


def test_channels_of_different_lengths_are_refused():
    with pytest.raises(UsageError, match=r"one length, got \[20, 30\]"):
        list(restorer().stream([tuple(signals(30, 20))]))


def test_signal_with_a_seed_has_its_own_noise():
    (own,), (other,) = signals(300, seed=7), signals(300)
    model = entangled()
    restored, _ = joined(model.stream([other, TensorSignal(own.wav, "own", seed=7)]))
    seeded = model.with_settings(seed=7).restore(own.wav[None])[0]
    assert torch.equal(restored["own"], seeded)
    assert torch.equal(restored[0], model.restore(own.wav[None])[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("samples", [9, 9000])
def test_samples_that_are_not_finite_are_refused(value, samples):
    wav = torch.ones(samples)
    wav[5] = value
    with pytest.raises(UsageError, match="peak of signal 'a' is"):
        list(restorer().stream([TensorSignal(wav, "a")]))


def test_blocks_can_be_used_in_training():
    """Not tensors of the inference mode, which autograd refuses."""
    for _, block in restorer().stream(signals(300)):
        scale = torch.ones(1, requires_grad=True)
        (block * scale).sum().backward()
        block += 1


def test_filled_batches_are_all_of_one_size_and_change_nothing():
    model = restorer(score_model=Scaled(), windows_per_batch=4)
    results = [
        joined(model.stream(signals(WINDOW + 5 * STRIDE, 30), fill=fill))[0]
        for fill in (False, True)
    ]
    assert [batch for *_, batch in model.score_model.seen] == [4, 3, 4, 4]
    for key, result in results[0].items():
        torch.testing.assert_close(results[1][key], result)
