"""Metrics: known values, invariances, and NaN instead of a crash."""

import logging
import math

import numpy as np
import pytest
import torch

from lafufu_sb.evaluation import metrics

RATE = 48000


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


@pytest.mark.parametrize("snr", [-10.0, 0.0, 17.5])
def test_si_sdr_is_the_ratio_of_orthogonal_noise(speech, snr):
    assert metrics.si_sdr(noisy(speech, snr), speech) == pytest.approx(snr, abs=1e-9)


@pytest.mark.parametrize("gain", [1e-3, -0.5, 40.0])
def test_si_sdr_ignores_scale(speech, gain):
    estimate = noisy(speech, 5.0)
    assert metrics.si_sdr(gain * estimate, speech) == pytest.approx(5.0, abs=1e-9)
    assert metrics.si_sdr(estimate, gain * speech) == pytest.approx(5.0, abs=1e-9)


def test_si_sdr_keeps_the_mean(speech):
    # With the mean removed, an offset would cost nothing.
    assert metrics.si_sdr(speech + 0.1, speech) < 10.0


def test_si_sdr_of_a_perfect_estimate_is_finite(speech):
    assert 140 < metrics.si_sdr(speech, speech) < 160


def test_identical_signals_reach_the_best_values(speech):
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    values = metrics.evaluate(speech, speech, RATE, names=("pesq", "estoi", "lsd"))
    assert values["pesq"] == pytest.approx(4.64, abs=0.01)
    assert values["estoi"] == pytest.approx(1.0, abs=1e-6)
    assert values["lsd"] == 0.0


def test_more_noise_is_worse(speech):
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    names = ("si_sdr", "pesq", "estoi", "lsd")
    good = metrics.evaluate(noisy(speech, 30.0), speech, RATE, names)
    bad = metrics.evaluate(noisy(speech, 0.0), speech, RATE, names)
    for name in ("si_sdr", "pesq", "estoi"):
        assert good[name] > bad[name]
    assert good["lsd"] < bad["lsd"]


def test_pesq_and_estoi_take_the_estimate_first(speech):
    # Both packages want the reference first: a swap would go unnoticed otherwise.
    pesq = pytest.importorskip("pesq")
    pystoi = pytest.importorskip("pystoi")
    speech, estimate = speech_like(rate=16000), noisy(speech_like(rate=16000), 5.0)
    forward = pesq.pesq(16000, speech, estimate, "wb")
    assert forward != pytest.approx(pesq.pesq(16000, estimate, speech, "wb"), abs=1e-3)
    assert metrics.pesq_wb(estimate, speech, 16000) == pytest.approx(forward)
    forward = pystoi.stoi(speech, estimate, 16000, extended=True)
    assert metrics.estoi(estimate, speech, 16000) == pytest.approx(forward)


def test_lsd_counts_decades_of_power(speech):
    loud = np.random.default_rng(0).standard_normal(RATE)
    assert metrics.lsd(10 * loud, loud) == pytest.approx(2.0, abs=1e-3)
    assert metrics.lsd(np.zeros(RATE), np.zeros(RATE)) == 0.0
    # Shorter than half a frame.
    assert math.isfinite(metrics.lsd(speech[:100], 2 * speech[:100]))


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
    assert metrics.lsd(estimate, speech) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("broken", ["estimate", "reference"])
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_silence_and_nan_give_nan_and_a_warning(speech, broken, value, caplog):
    names = [n for n in metrics.available() if not n.startswith("dnsmos")]
    signals = {"estimate": speech, "reference": speech}
    signals[broken] = np.full(len(speech), value)
    with caplog.at_level(logging.WARNING, logger="lafufu_sb.evaluation.metrics"):
        values = metrics.evaluate(**signals, sample_rate=RATE, names=names)
    distance = values.pop("lsd")  # silence is a spectrum like any other
    assert math.isfinite(distance) == (value == 0.0)
    assert all(math.isnan(v) for v in values.values())
    assert broken in caplog.text


@pytest.mark.parametrize("samples", [1, 2, 1000, int(0.2 * RATE)])
def test_too_short_gives_nan(speech, samples):
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    clip = speech[5000 : 5000 + samples]
    assert math.isnan(metrics.pesq_wb(clip, clip, RATE))
    assert math.isnan(metrics.estoi(clip, clip, RATE))


@pytest.mark.parametrize("seconds", [0.39, 0.4, 0.401, 0.41, 0.45])
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_estoi_never_raises_around_its_shortest_length(seconds, rate):
    pytest.importorskip("pystoi")
    clip = np.random.default_rng(0).standard_normal(int(seconds * rate))
    value = metrics.estoi(clip, clip, rate)
    assert math.isnan(value) or value == pytest.approx(1.0)


def test_estoi_leaves_the_global_generator_alone(speech):
    pytest.importorskip("pystoi")
    np.random.seed(7)
    expected = np.random.rand()
    np.random.seed(7)
    metrics.estoi(noisy(speech, 5.0), speech, RATE)
    assert np.random.rand() == expected


def test_pesq_of_a_long_clip_equals_the_direct_call():
    pesq = pytest.importorskip("pesq")
    speech = speech_like(seconds=21.0, rate=16000)
    estimate = noisy(speech, 20.0)
    expected = pesq.pesq(16000, speech, estimate, "wb")
    assert metrics.pesq_wb(estimate, speech, 16000) == pytest.approx(expected)


def test_pesq_survives_more_utterances_than_its_code_has_room_for(caplog):
    pytest.importorskip("pesq")
    # 120 words with pauses: in this process the package would end the test run.
    word = speech_like(seconds=0.6, rate=16000) * np.hanning(9600)
    speech = np.tile(np.concatenate([word, np.zeros(6400)]), 120)
    speech += 1e-5 * np.random.default_rng(0).standard_normal(len(speech))
    value = metrics.pesq_wb(noisy(speech, 20.0), speech, 16000)
    # A later release of the package may well learn to score it.
    assert math.isnan(value) == ("PESQ gives NaN" in caplog.text)


def test_every_value_is_a_plain_float(speech):
    estimate = torch.from_numpy(noisy(speech, 5.0)).float().requires_grad_()
    names = metrics.available()
    values = metrics.evaluate(estimate, torch.from_numpy(speech), RATE, names)
    assert tuple(values) == names
    for summary in (values, metrics.summarise([values, values])["si_sdr"]):
        assert all(type(value) in (float, int) for value in summary.values())
    assert all(type(value) is float for value in values.values())


def test_reduced_precision_tensors_are_taken(speech):
    estimate = torch.from_numpy(speech).bfloat16()
    assert metrics.si_sdr(estimate, speech) > 40


def test_unknown_metric_is_refused_with_the_known_ones(speech):
    with pytest.raises(ValueError, match="'polqa'.*si_sdr.*dnsmos_p808"):
        metrics.evaluate(speech, speech, RATE, names=("si_sdr", "polqa"))


def test_missing_package_names_the_remedy(speech, monkeypatch):
    find_spec = metrics.importlib.util.find_spec
    monkeypatch.setattr(
        metrics.importlib.util,
        "find_spec",
        lambda name: None if name == "pystoi" else find_spec(name),
    )
    assert "estoi" not in metrics.available()
    with pytest.raises(ImportError, match=r"estoi needs pystoi.*lafufu_sb\[metrics\]"):
        metrics.evaluate(speech, speech, RATE)


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
    with pytest.raises(ValueError, match=message):
        metrics.evaluate(estimate, reference, RATE, names=("si_sdr",))


def test_a_reference_is_needed_unless_for_dnsmos(speech):
    with pytest.raises(ValueError, match="reference"):
        metrics.evaluate(speech, None, RATE, names=("si_sdr",))


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


class TestDnsmos:
    """Needs speechmos and what that package uses without declaring it."""

    @pytest.fixture(autouse=True)
    def needs_speechmos(self):
        pytest.importorskip("speechmos")
        if "dnsmos" not in metrics.available():
            pytest.skip("speechmos is here, but not all that it imports")

    def test_agrees_with_the_package(self):
        from speechmos import dnsmos as package

        clip = speech_like(seconds=2.5, rate=16000)
        expected = package.run(clip, 16000)
        scores = metrics.dnsmos(clip, 16000)
        for part, key in (("sig", "sig_mos"), ("bak", "bak_mos"), ("ovr", "ovrl_mos")):
            assert scores[part] == pytest.approx(expected[key], abs=1e-3)

    def test_noise_is_heard_and_one_run_serves_all_parts(self, speech, monkeypatch):
        calls = []
        measure = metrics.dnsmos
        monkeypatch.setattr(
            metrics, "dnsmos", lambda *args: calls.append(1) or measure(*args)
        )
        names = ("dnsmos_bak", "dnsmos", "dnsmos_sig")
        clean = metrics.evaluate(speech, None, RATE, names)
        assert tuple(clean) == names and len(calls) == 1
        dirty = metrics.evaluate(noisy(speech, 0.0), None, RATE, names)
        assert dirty["dnsmos_bak"] < clean["dnsmos_bak"]

    def test_samples_over_full_scale_are_taken(self, speech):
        assert math.isfinite(metrics.dnsmos(100 * speech, RATE)["ovr"])

    @pytest.mark.parametrize("signal", [np.zeros(RATE), np.ones(1), np.ones(2) * 0.1])
    def test_a_few_samples_or_silence_end(self, signal):
        # The package doubles short clips, and an empty one for ever.
        assert set(metrics.dnsmos(signal, RATE)) == {"sig", "bak", "ovr", "p808"}

    def test_silence_gives_nan(self):
        assert all(math.isnan(v) for v in metrics.dnsmos(np.zeros(RATE), RATE).values())
