"""Spectrogram figures: panels, shared scale, whole files."""

import matplotlib
import matplotlib.image
import numpy as np
import pytest
import torch

from lafufu_sb.evaluation.figures import save_spectrogram_png, spectrogram_figure

RATE = 48000


@pytest.fixture
def signals():
    time = np.arange(RATE) / RATE
    tone = 0.5 * np.sin(2 * np.pi * 6000 * time)
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    return {
        "Distorted": tone + noise,
        "Restored": torch.from_numpy(0.1 * tone).float(),
        "Clean": tone,
    }


def test_panels_share_scale_and_axes(signals):
    figure = spectrogram_figure(signals, RATE, title="A title")
    panels = figure.axes[:-1]  # the last axes are the colour bar
    assert [axes.get_title() for axes in panels] == list(signals)
    assert figure.get_suptitle() == "A title"
    for axes in panels:
        (image,) = axes.images
        assert image.get_clim() == (-80.0, 0.0)
        assert axes.get_xlim() == pytest.approx((0.0, 1.0))
        assert axes.get_ylim() == pytest.approx((0.0, 24.0))
    assert panels[0].get_ylabel() == "Frequency (kHz)"
    assert panels[0].get_xlabel() == "Time (s)"


def test_levels_are_relative_to_the_loudest_panel(signals):
    del signals["Distorted"]
    restored, clean, _ = spectrogram_figure(signals, RATE).axes
    soft, loud = (axes.images[0].get_array() for axes in (restored, clean))
    assert loud.max() == pytest.approx(0.0, abs=1e-4)
    assert soft.max() == pytest.approx(-20.0, abs=1e-3)
    # The 6-kHz tone lies at a quarter of the way up to 24 kHz.
    row = loud[:, loud.shape[1] // 2].argmax() / (loud.shape[0] - 1)
    assert row == pytest.approx(0.25, abs=1e-3)


def test_lengths_may_differ(signals):
    signals["Clean"] = signals["Clean"][: RATE // 2]
    assert spectrogram_figure(signals, RATE).axes[0].get_xlim() == (0.0, 1.0)


def test_silence_and_long_recordings_are_drawn():
    figure = spectrogram_figure({"Silence": np.zeros(120 * RATE)}, RATE)
    image = figure.axes[0].images[0].get_array()
    assert image.shape[1] < 2100
    assert np.isfinite(image).all()


def test_global_state_is_left_alone(signals, tmp_path):
    before = dict(matplotlib.rcParams)
    save_spectrogram_png(tmp_path / "figure.png", signals, RATE)
    assert dict(matplotlib.rcParams) == before


def test_png_is_written_with_its_folder(signals, tmp_path):
    path = save_spectrogram_png(tmp_path / "new" / "figure.png", signals, RATE, dpi=80)
    picture = matplotlib.image.imread(path)  # decodes the PNG
    height, width, _ = picture.shape
    assert (height, width) == (3 * 80, (3 * len(signals) + 1) * 80)
    assert picture[..., :3].std() > 0.1  # not an empty page
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    signals, tmp_path, monkeypatch
):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def fail(self, target, **kwargs):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_spectrogram_png(path, signals, RATE)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        ({}, "empty"),
        ({"Clean": np.ones((2, 9))}, r"'Clean'.*\(2, 9\)"),
        ({"Clean": np.ones(0)}, r"\(0,\)"),
        ({"Clean": np.full(9, np.nan)}, "'Clean'.*not finite"),
    ],
)
def test_invalid_signals_are_refused(signals, message):
    with pytest.raises(ValueError, match=message):
        spectrogram_figure(signals, RATE)


def test_other_formats_are_refused(signals, tmp_path):
    with pytest.raises(ValueError, match=r"figure\.pdf"):
        save_spectrogram_png(tmp_path / "figure.pdf", signals, RATE)
