"""Metrics: known values, invariances, and NaN with a note instead of a crash."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lafufu_sb.errors import MissingPackageError, UsageError
from lafufu_sb.evaluation import metrics
from lafufu_sb.evaluation.metrics import METRICS, evaluate, opinion

RATE = 48000


def value(name, estimate, reference, rate=RATE):
    """Value of one metric."""
    return evaluate(estimate, reference, rate, [name])[name].value


def speech_like(seconds=2.0, rate=RATE, seed=0):
    """Gliding harmonics in syllables at 4 Hz over a faint floor, (time,)."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * (140 * time + 5 * np.sin(2 * np.pi * 0.7 * time))
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 4 * time), 0, None) ** 0.5
    return 0.1 * voice * syllables + 1e-4 * rng.standard_normal(len(time))


def noisy(speech, snr, seed=1):
    """Add noise made orthogonal to the speech, so that the SI-SDR is the SNR."""
    noise = np.random.default_rng(seed).standard_normal(len(speech))
    noise -= (noise @ speech) / (speech @ speech) * speech
    noise *= np.sqrt((speech @ speech) / (noise @ noise)) * 10 ** (-snr / 20)
    return speech + noise


@pytest.fixture(scope="module")
def speech():
    return speech_like()


@pytest.fixture(scope="module")
def one_window():
    """As long as DNSMOS listens to at once; shorter clips are repeated."""
    return speech_like(seconds=9.1)


@pytest.mark.parametrize("snr", [-10.0, 17.5])
@pytest.mark.parametrize("gain", [1.0, -0.5])
def test_si_sdr_is_the_ratio_of_orthogonal_noise_at_any_scale(speech, snr, gain):
    estimate = noisy(speech, snr)
    assert value("si_sdr", gain * estimate, speech) == pytest.approx(snr, abs=1e-9)
    assert value("si_sdr", estimate, gain * speech) == pytest.approx(snr, abs=1e-9)


def test_si_sdr_keeps_the_mean_and_is_finite_for_a_perfect_estimate(speech):
    # With the mean removed, an offset would cost nothing.
    assert value("si_sdr", speech + 0.1, speech) < 10.0
    assert 140 < value("si_sdr", speech, speech) < 160


def test_more_noise_is_worse_and_identity_is_best(speech):
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    names = ("si_sdr", "pesq", "estoi", "lsd")
    same, good, bad = (
        evaluate(estimate, speech, RATE, names)
        for estimate in (speech, noisy(speech, 30.0), noisy(speech, 0.0))
    )
    for name in ("si_sdr", "pesq", "estoi"):
        assert good[name].value > bad[name].value
    assert good["lsd"].value < bad["lsd"].value
    assert same["pesq"].value == pytest.approx(4.64, abs=0.01)
    assert same["estoi"].value == pytest.approx(1.0, abs=1e-6)
    assert same["lsd"].value == 0.0


def test_pesq_and_estoi_pass_the_reference_first():
    # A swap of the arguments would go unnoticed otherwise.
    pesq = pytest.importorskip("pesq")
    pystoi = pytest.importorskip("pystoi")
    speech, estimate = speech_like(rate=16000), noisy(speech_like(rate=16000), 5.0)
    forward = pesq.pesq(16000, speech, estimate, "wb")
    assert forward != pytest.approx(pesq.pesq(16000, estimate, speech, "wb"), abs=1e-3)
    assert value("pesq", estimate, speech, 16000) == pytest.approx(forward)
    forward = pystoi.stoi(speech, estimate, 16000, extended=True)
    assert value("estoi", estimate, speech, 16000) == pytest.approx(forward)


def test_lsd_follows_its_definition(speech):
    estimate = noisy(speech, 10.0)

    def log_power(signal):
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
        signal = np.pad(signal, 1024)
        starts = range(0, len(signal) - 2047, 512)
        frames = np.stack([signal[i : i + 2048] * window for i in starts])
        return np.log10(np.abs(np.fft.rfft(frames)) ** 2 + 1e-8)

    difference = log_power(estimate) - log_power(speech)
    expected = np.sqrt((difference**2).mean(axis=1)).mean()
    assert value("lsd", estimate, speech) == pytest.approx(expected, rel=1e-9)
    assert value("lsd", np.zeros(RATE), np.zeros(RATE)) == 0.0
    # Shorter than half a frame.
    assert math.isfinite(value("lsd", speech[:100], 2 * speech[:100]))


@pytest.mark.parametrize("broken", ["estimate", "reference"])
@pytest.mark.parametrize(
    "sample, fault", [(0.0, "silent"), (math.nan, "not finite"), (-math.inf, "not fi")]
)
def test_silence_and_nan_give_nan_and_a_note(speech, broken, sample, fault):
    names = [n for n in metrics.available() if METRICS[n].needs_reference]
    signals = {"estimate": speech, "reference": speech}
    signals[broken] = np.full(len(speech), sample)
    found = evaluate(**signals, sample_rate=RATE, names=names)
    distance = found.pop("lsd")  # silence is a spectrum like any other
    assert math.isfinite(distance.value) == (sample == 0.0) == (not distance.note)
    for measured in found.values():
        assert math.isnan(measured.value)
        assert f"gives NaN: the {broken} is {fault}" in measured.note


@pytest.mark.parametrize("samples", [1, 1000, int(0.2 * RATE)])
def test_too_short_gives_nan_and_a_note(speech, samples):
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    clip = speech[5000 : 5000 + samples]
    for measured in evaluate(clip, clip, RATE, ["pesq", "estoi"]).values():
        assert math.isnan(measured.value) and "gives NaN" in measured.note


@pytest.mark.parametrize("seconds", [0.4, 0.401, 0.41])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_estoi_never_raises_around_its_shortest_length(seconds, rate):
    pytest.importorskip("pystoi")
    clip = np.random.default_rng(0).standard_normal(int(seconds * rate))
    found = value("estoi", clip, clip, rate)
    assert math.isnan(found) or found == pytest.approx(1.0)


def test_estoi_leaves_the_global_generator_alone(speech):
    pytest.importorskip("pystoi")
    np.random.seed(7)
    expected = np.random.rand()
    np.random.seed(7)
    value("estoi", noisy(speech, 5.0), speech)
    assert np.random.rand() == expected


def test_pesq_of_a_long_clip_equals_the_direct_call():
    pesq = pytest.importorskip("pesq")
    speech = speech_like(seconds=21.0, rate=16000)
    estimate = noisy(speech, 20.0)
    expected = pesq.pesq(16000, speech, estimate, "wb")
    assert value("pesq", estimate, speech, 16000) == pytest.approx(expected)


@pytest.mark.slow
def test_pesq_survives_more_utterances_than_its_code_can_hold():
    pytest.importorskip("pesq")
    # 120 words with pauses: in this process the package would end the test run.
    word = speech_like(seconds=0.6, rate=16000) * np.hanning(9600)
    speech = np.tile(np.concatenate([word, np.zeros(6400)]), 120)
    speech += 1e-5 * np.random.default_rng(0).standard_normal(len(speech))
    found = evaluate(noisy(speech, 20.0), speech, 16000, ["pesq"])["pesq"]
    # A later release of the package may score it.
    assert math.isnan(found.value) == ("PESQ gives NaN" in found.note)


def test_every_value_is_a_plain_float(one_window):
    estimate = torch.from_numpy(noisy(one_window, 5.0)).float().requires_grad_()
    names = metrics.available()
    found = evaluate(estimate, torch.from_numpy(one_window), RATE, names)
    assert tuple(found) == names
    values = {name: measured.value for name, measured in found.items()}
    assert all(type(value) is float for value in values.values())
    summary = metrics.summarise([values, values])["si_sdr"]
    assert all(type(number) in (float, int) for number in summary.values())


def test_reduced_precision_tensors_are_taken(speech):
    assert value("si_sdr", torch.from_numpy(speech).bfloat16(), speech) > 40


def test_unknown_metric_is_refused_with_the_known_ones(speech):
    with pytest.raises(UsageError, match="'polqa'.*si_sdr.*dnsmos_p808.*distillmos"):
        evaluate(speech, speech, RATE, names=("si_sdr", "polqa"))


@pytest.mark.parametrize(
    "name, package, extra", [("estoi", "pystoi", "metrics"), ("pesq", "pesq", "pesq")]
)
def test_missing_package_names_the_extra(speech, monkeypatch, name, package, extra):
    find_spec = metrics.registry.importlib.util.find_spec
    monkeypatch.setattr(
        metrics.registry.importlib.util,
        "find_spec",
        lambda wanted: None if wanted == package else find_spec(wanted),
    )
    assert name not in metrics.available()
    message = rf"{name} needs the package {package}.*lafufu_sb\[{extra}\]"
    with pytest.raises(MissingPackageError, match=message):
        evaluate(speech, speech, RATE, [name])


@pytest.mark.parametrize(
    ("estimate", "reference", "message"),
    [
        (np.ones(8), np.ones(9), r"\[8, 9\]"),
        (np.ones((1, 8)), np.ones((1, 8)), r"\(1, 8\)"),
        (np.ones(0), np.ones(0), r"\(0,\)"),
        (np.ones(8, dtype=np.int16), np.ones(8), "int16"),
        (torch.ones(8, dtype=torch.int16), np.ones(8), "int16"),
    ],
)
def test_invalid_signals_are_refused(estimate, reference, message):
    with pytest.raises(UsageError, match=message):
        evaluate(estimate, reference, RATE, names=("si_sdr",))


def test_a_reference_is_needed_unless_for_opinions(speech):
    with pytest.raises(UsageError, match=r"\['si_sdr'\] need a reference"):
        evaluate(speech, None, RATE, names=("si_sdr",))


def test_summary_counts_failures_apart():
    rows = [
        {"file": "a.wav", "pesq": 2.0, "si_sdr": np.float32(10.0)},
        {"file": "b.wav", "pesq": 4.0, "si_sdr": math.nan},
        {"file": "c.wav", "pesq": math.nan},
        {"estoi": math.nan},
    ]
    summary = metrics.summarise(rows)
    assert set(summary) == {"pesq", "si_sdr", "estoi"}
    assert summary["pesq"] == {"mean": 3.0, "std": 1.0, "n": 2, "failed": 1}
    assert summary["si_sdr"] == {"mean": 10.0, "std": 0.0, "n": 1, "failed": 1}
    assert summary["estoi"]["n"] == 0 and summary["estoi"]["failed"] == 1
    assert math.isnan(summary["estoi"]["mean"])
    assert metrics.summarise([]) == {}


def test_distillmos_hears_16_khz_and_gives_a_number(speech, monkeypatch):
    heard = []

    class Network:
        def eval(self):
            print("weights loaded")
            return lambda wavs: heard.append(wavs) or torch.tensor([[3.5]])

    package = SimpleNamespace(ConvTransformerSQAModel=Network, __spec__=object())
    monkeypatch.setitem(sys.modules, "distillmos", package)
    opinion._distillmos_network.cache_clear()
    found = evaluate(speech, None, RATE, ["distillmos"])
    opinion._distillmos_network.cache_clear()
    assert found["distillmos"] == (3.5, "")
    assert heard[0].shape == (1, len(speech) // 3) and heard[0].dtype == torch.float32


class TestDnsmos:
    """Needs speechmos and the packages that it uses without declaring them."""

    @pytest.fixture(autouse=True)
    def needs_speechmos(self):
        pytest.importorskip("speechmos")
        if "dnsmos" not in metrics.available():
            pytest.skip("speechmos is installed, but not all that it imports")

    def test_agrees_with_the_package(self):
        from speechmos import dnsmos as package

        clip = speech_like(seconds=9.1, rate=16000)
        expected = package.run(clip, 16000)
        scores = metrics.dnsmos(clip, 16000)
        for part, key in (("sig", "sig_mos"), ("bak", "bak_mos"), ("ovr", "ovrl_mos")):
            assert scores[part] == pytest.approx(expected[key], abs=1e-3)

    def test_noise_is_heard_and_one_run_gives_all_parts(self, one_window):
        names = ("dnsmos_bak", "dnsmos", "dnsmos_sig")
        opinion._dnsmos_scores.cache_clear()
        clean = evaluate(one_window, None, RATE, names)
        assert tuple(clean) == names
        assert opinion._dnsmos_scores.cache_info().misses == 1
        # Over full scale, too: only the peak is brought down.
        dirty = evaluate(100 * noisy(one_window, 0.0), None, RATE, names)
        assert dirty["dnsmos_bak"].value < clean["dnsmos_bak"].value

    @pytest.mark.parametrize("signal", [np.zeros(RATE), np.ones(1)])
    def test_silence_and_single_samples_give_nan(self, signal):
        # The package doubles short clips, and an empty one for ever.
        assert all(math.isnan(v) for v in metrics.dnsmos(signal, RATE).values())
        if not signal.any():
            note = evaluate(signal, None, RATE, ["dnsmos"])["dnsmos"].note
            assert note == "DNSMOS gives NaN: the estimate is silent"
