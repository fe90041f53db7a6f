"""Pairs of recordings: reading, crops, padding, level."""

import json
import pickle
from types import SimpleNamespace

import numpy
import pytest
import soundfile
import torch
from small import Notes
from speechbrain.utils.epoch_loop import EpochCounter

from lafufu_sb.corpora.degradations import Noise
from lafufu_sb.corpora.online import OnlineMixer
from lafufu_sb.corpora.pairs import (
    PairEnhancer,
    fit,
    level,
    paired_dataset,
    read_wav,
    wav_samples,
)
from lafufu_sb.lobes.pre_enhancer import SignalPreEnhancer

RATE = 16000


def ramp(samples):
    """Every sample tells its place (from one, so that none looks like padding)."""
    return numpy.arange(1, samples + 1) / 2**15


def places(signal):
    return (signal * 2**15).round().long()


def write(path, samples, rate=RATE):
    soundfile.write(path, samples, rate, subtype="FLOAT", format="WAV")
    return str(path)


def dataset(folder, lengths, **options):
    """Items with the ids of ``lengths``: {id: (noisy samples, clean samples)}."""
    manifest = {
        name: {
            "noisy_wav": write(folder / f"{name}_noisy.wav", ramp(noisy)),
            "clean_wav": write(folder / f"{name}_clean.wav", ramp(clean)),
        }
        for name, (noisy, clean) in lengths.items()
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    options = {"sample_rate": RATE} | options
    return paired_dataset(folder / "manifest.json", **options)


def starts(data):
    """Place at which the crop of each item begins."""
    return {item["id"]: int(places(item["noisy_sig"])[0]) for item in data}


def epoch(number):
    return SimpleNamespace(current=number)


LONG = {f"item{i}": (1000, 1000) for i in range(6)}


def test_crops_are_segments_of_both_at_the_same_place(tmp_path):
    for item in dataset(tmp_path, LONG, crop=200):
        noisy, clean = places(item["noisy_sig"]), places(item["clean_sig"])
        assert torch.equal(noisy, clean)
        assert torch.equal(noisy, torch.arange(200) + noisy[0])


def test_place_of_a_crop_depends_on_seed_epoch_and_item_alone(tmp_path):
    data = dataset(tmp_path, LONG, crop=200, seed=1, epoch_counter=epoch(3))
    expected = starts(data)
    assert starts(data) == expected
    assert starts(reversed([data[i] for i in range(len(data))])) == expected

    fewer = {name: LONG[name] for name in ("item4", "item2")}
    again = dataset(tmp_path, fewer, crop=200, seed=1, epoch_counter=epoch(3))
    assert starts(again) == {name: expected[name] for name in fewer}

    assert len(set(expected.values())) > 1
    for changed in ({"seed": 2}, {"epoch_counter": epoch(4)}):
        options = {"seed": 1, "epoch_counter": epoch(3)} | changed
        assert starts(dataset(tmp_path, LONG, crop=200, **options)) != expected


def test_crops_follow_the_epoch_as_it_goes_on(tmp_path):
    counter = epoch(1)
    data = dataset(tmp_path, LONG, crop=200, epoch_counter=counter)
    first = starts(data)
    counter.current = 2
    assert starts(data) != first
    counter.current = 1
    assert starts(data) == first


def test_global_generators_do_not_matter(tmp_path):
    data = dataset(tmp_path, LONG, crop=200)
    expected = starts(data)
    torch.manual_seed(5)
    assert starts(data) == expected


@pytest.mark.parametrize("name", ["a", "S08520_00001"])
def test_crops_reach_all_of_the_recording(tmp_path, name):
    counter = epoch(0)
    data = dataset(tmp_path, {name: (13, 13)}, crop=10, epoch_counter=counter)
    found = set()
    for counter.current in range(60):
        found.add(starts(data)[name])
    assert found == {1, 2, 3, 4}


def test_a_recording_as_long_as_the_crop_is_taken_whole(tmp_path):
    assert starts(dataset(tmp_path, {"a": (200, 200)}, crop=200)) == {"a": 1}


@pytest.mark.parametrize(("samples", "left"), [(100, 50), (99, 50), (101, 49)])
def test_short_recordings_are_padded_by_halves(tmp_path, samples, left):
    (item,) = dataset(tmp_path, {"a": (samples, samples)}, crop=200)
    for signal in (item["noisy_sig"], item["clean_sig"]):
        assert signal.shape == (200,)
        assert signal[:left].abs().sum() == 0
        assert signal[left + samples :].abs().sum() == 0
        inner = places(signal[left : left + samples])
        assert torch.equal(inner, torch.arange(1, samples + 1))


def aligned(item):
    noisy, clean = places(item["noisy_sig"]), places(item["clean_sig"])
    both = (noisy > 0) & (clean > 0)
    return bool(both.any()) and torch.equal(noisy[both], clean[both])


@pytest.mark.parametrize("lengths", [(100, 106), (106, 100)])
def test_pairs_of_unequal_length_stay_aligned_when_padded(tmp_path, lengths):
    (item,) = dataset(tmp_path, {"a": lengths}, crop=200)
    assert aligned(item)


def test_pairs_of_unequal_length_stay_aligned_when_cropped(tmp_path):
    counter = epoch(0)
    data = dataset(tmp_path, {"a": (30, 20)}, crop=15, epoch_counter=counter)
    for counter.current in range(60):
        assert aligned(data[0])


def test_without_crop_pairs_are_whole_and_of_equal_length(tmp_path):
    lengths = {"a": (300, 300), "b": (400, 390), "c": (390, 400)}
    data = dataset(tmp_path, lengths)
    samples = {
        item["id"]: (len(item["noisy_sig"]), len(item["clean_sig"])) for item in data
    }
    assert samples == {"a": (300, 300), "b": (390, 390), "c": (390, 390)}
    assert all(aligned(item) for item in data)


def test_data_sets_are_pickled_whole(tmp_path):
    data = dataset(tmp_path, LONG, crop=200, epoch_counter=epoch(3))
    assert starts(pickle.loads(pickle.dumps(data))) == starts(data)


def test_workers_may_be_spawned_with_a_mixer(tmp_path):
    """As on macOS and Windows; the items are those of the main process."""
    hiss = write(
        tmp_path / "a.wav", 0.1 * numpy.random.default_rng(0).standard_normal(RATE)
    )
    items = {name: {"noisy_wav": hiss, "clean_wav": hiss} for name in "ab"}
    (tmp_path / "manifest.json").write_text(json.dumps(items))
    data = paired_dataset(
        tmp_path / "manifest.json",
        sample_rate=RATE,
        crop=8000,
        epoch_counter=EpochCounter(3),
        mixer=OnlineMixer(Noise([hiss]), sample_rate=RATE),
    )
    loader = torch.utils.data.DataLoader(
        data, batch_size=None, num_workers=1, multiprocessing_context="spawn"
    )
    for found, item in zip(loader, data, strict=True):
        assert found["id"] == item["id"]
        assert torch.equal(found["noisy_sig"], item["noisy_sig"])
        assert torch.equal(found["clean_sig"], item["clean_sig"])


def tone(rate, seconds=0.1):
    return 0.5 * numpy.sin(
        2 * numpy.pi * 440 * numpy.arange(int(rate * seconds)) / rate
    )


def test_other_rates_are_resampled(tmp_path):
    path = write(tmp_path / "tone.wav", tone(16000), 16000)
    wav = read_wav(path, 48000)
    assert len(wav) == 4800 and wav.dtype == torch.float32
    expected = torch.from_numpy(tone(48000)).float()
    inner = slice(300, -300)  # away from the edges of the filter
    torch.testing.assert_close(wav[inner], expected[inner], atol=5e-3, rtol=0)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
@pytest.mark.parametrize("samples", [1, 999, 1000, 1001])
def test_samples_are_known_without_reading(tmp_path, rate, samples):
    path = write(tmp_path / "a.wav", ramp(samples), rate)
    assert wav_samples(path, 48000) == len(read_wav(path, 48000))


@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_segment_is_that_part_of_the_whole(tmp_path, rate):
    path = write(tmp_path / "a.wav", tone(rate), rate)
    whole = read_wav(path, 48000)
    for start, samples in ((0, 10), (77, 1000), (4700, 1000)):
        segment = read_wav(path, 48000, start, samples)
        assert torch.equal(segment, whole[start : start + samples])
    assert torch.equal(read_wav(path, 48000, 100), whole[100:])


def test_crops_of_another_rate(tmp_path):
    (item,) = dataset(tmp_path, {"a": (1000, 1000)}, crop=200, sample_rate=48000)
    assert item["noisy_sig"].shape == item["clean_sig"].shape == (200,)


def test_first_channel_is_read(tmp_path):
    stereo = numpy.stack([ramp(50), -ramp(50)], axis=1)
    wav = read_wav(write(tmp_path / "a.wav", stereo), RATE)
    assert torch.equal(places(wav), torch.arange(1, 51))


@pytest.mark.parametrize(
    ("samples", "start", "expected"),
    [
        (3, None, [3, 4, 5]),
        (4, None, [2, 3, 4, 5]),  # the odd one goes from the right
        (3, 0, [1, 2, 3]),
        (3, 4, [5, 6, 7]),
        (7, None, [1, 2, 3, 4, 5, 6, 7]),
        (9, None, [0, 1, 2, 3, 4, 5, 6, 7, 0]),
        (10, 5, [0, 1, 2, 3, 4, 5, 6, 7, 0, 0]),
    ],
)
def test_fit(samples, start, expected):
    signal = torch.arange(1, 8)
    assert fit(signal, samples, start).tolist() == expected
    batch = fit(signal.repeat(2, 3, 1), samples, start)
    assert batch.shape == (2, 3, samples)
    assert batch[1, 2].tolist() == expected


def test_level_divides_both_by_the_peak_of_the_distorted():
    distorted = torch.tensor([[0.1, -0.5], [4.0, 2.0]])
    clean = torch.tensor([[0.2, 0.1], [-8.0, 1.0]])
    levelled = level(distorted, clean)
    expected = torch.tensor([[0.2, -1.0], [1.0, 0.5]])
    torch.testing.assert_close(levelled[0], expected)
    expected = torch.tensor([[0.4, 0.2], [-2.0, 0.25]])
    torch.testing.assert_close(levelled[1], expected)
    assert distorted.tolist() == torch.tensor([[0.1, -0.5], [4.0, 2.0]]).tolist()


def test_level_leaves_silence_alone():
    distorted, clean = torch.zeros(1, 4), torch.full((1, 4), 0.3)
    levelled = level(distorted, clean)
    assert torch.equal(levelled[0], distorted)
    assert torch.equal(levelled[1], clean)


class Halved(SignalPreEnhancer):
    """Halves what it hears, and notes how much of it."""

    def __init__(self):
        super().__init__()
        self.heard = Notes()

    def enhance(self, signal, sample_rate):
        self.heard.append((len(signal), float(signal.abs().max()), sample_rate))
        return 0.5 * signal


def test_enhanced_crops_belong_to_the_noisy_ones_and_are_kept(tmp_path):
    enhancer = PairEnhancer(Halved(), RATE, tmp_path / "enhanced")
    for _ in range(2):
        for item in dataset(tmp_path, LONG, crop=200, enhancer=enhancer):
            torch.testing.assert_close(item["enhanced_sig"], 0.5 * item["noisy_sig"])
    # Whole recordings, with a peak of 1, each once
    assert enhancer.pre_enhancer.heard == [(1000, 1.0, RATE)] * len(LONG)
    assert len(list((tmp_path / "enhanced").iterdir())) == len(LONG)


def test_mixed_crops_are_enhanced_with_a_lead(tmp_path):
    def mixer(path, samples, rng):
        clean = ramp(samples).astype(numpy.float32)
        return clean + 0.25, clean

    halved = Halved()
    halved.lead_seconds = 0.01
    enhancer = PairEnhancer(halved, RATE, tmp_path / "enhanced")
    data = dataset(tmp_path, LONG, crop=200, mixer=mixer, enhancer=enhancer)
    for item in data:
        signals = [item[f"{side}_sig"] for side in ("noisy", "clean", "enhanced")]
        assert [len(signal) for signal in signals] == [200] * 3
        assert places(signals[1])[0] == 161  # after 10 ms
        torch.testing.assert_close(signals[2], 0.5 * signals[0])
    assert {samples for samples, *_ in enhancer.pre_enhancer.heard} == {360}
    assert not (tmp_path / "enhanced").exists()


def test_items_tell_the_bandwidth_of_the_whole_clean_recording(tmp_path):
    time = numpy.arange(2 * RATE) / RATE
    clean = numpy.sin(2200 * numpy.pi * time)
    clean[RATE:] += numpy.hanning(RATE) * numpy.sin(6200 * numpy.pi * time[RATE:])
    paths = {
        f"{side}_wav": write(tmp_path / side, clean) for side in ("noisy", "clean")
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"a": paths}))
    options = {"sample_rate": RATE, "crop": 1000, "with_bandwidth": True}
    (item,) = paired_dataset(tmp_path / "manifest.json", **options)
    assert item["bandwidth"] == 3500.0
