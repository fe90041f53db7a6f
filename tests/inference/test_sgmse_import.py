"""Checkpoints of SGMSE+: their averages, names and settings; what is refused."""

import argparse
import json
import math
import sys
import types

import numpy as np
import pytest
import torch
from inference.test_sgmse_keys import (
    as_channels,
    public_weights,
    published_shapes,
    reference,
)
from safetensors.torch import load_file

from lafufu_sb import EnhanceLatent
from lafufu_sb.cli.main import main
from lafufu_sb.errors import UsageError
from lafufu_sb.inference.sgmse_import import import_sgmse
from lafufu_sb.inference.sgmse_keys import FROZEN, published_parameters, sgmse_to_ncsnpp
from lafufu_sb.lobes.ncsnpp import NCSNpp
from lafufu_sb.restoration.windows import AnchoredNoise

COARSE = {"sr": 48000, "n_fft": 254, "hop_length": 64}  # a cheap front end

OPTIONS = {  # as the published training saves them, of a small network
    "backbone": "ncsnpp_48k",
    "sde": "ouve",
    "lr": 1e-4,
    "ema_decay": 0.999,
    "t_eps": 0.03,
    "loss_type": "score_matching",
    "sr": 16000,  # the default, which 48-kHz trainings did not change
    "nf": 8,
    "ch_mult": (1, 1, 1, 1, 1, 1, 2),
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "centered": True,
    "theta": 2.0,
    "sigma_min": 0.1,
    "sigma_max": 1.0,
    "N": 2,
    "sampler_type": "pc",
    "n_fft": 1534,
    "hop_length": 384,
    "num_frames": 256,
    "window": "hann",
    "spec_factor": 0.065,
    "spec_abs_exponent": 0.667,
    "transform_type": "exponent",
    "normalize": "noisy",
    "base_dir": "somewhere/EARS-WHAM",
}


def network(options=OPTIONS):
    return NCSNpp(
        base_channels=options["nf"],
        multipliers=options["ch_mult"],
        blocks_per_level=options["num_res_blocks"],
    ).eval()


def random_weights(options=OPTIONS, seed=0):
    """Published name -> tensor, in the published order, every branch at work."""
    shapes = published_shapes(network(options))
    generator = torch.Generator().manual_seed(seed)
    return {
        key: value + 0.02 * torch.randn(value.shape, generator=generator)
        for key, value in public_weights(shapes).items()
    }


def checkpoint(path, averaged=None, frozen=True, **changes):
    """Write a checkpoint whose last weights are not its averages."""
    averaged = averaged or random_weights()
    shadow = [v for key, v in averaged.items() if frozen or key != FROZEN]
    content = {
        "epoch": 3,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": {
            f"dnn.{key}": value if key == FROZEN else value + 1
            for key, value in averaged.items()
        },
        "ema": {
            "decay": 0.999,
            "num_updates": 100,
            "shadow_params": shadow,
            "collected_params": None,
        },
        "optimizer_states": [{"state": {0: {"step": torch.tensor(5.0)}}}],
        "hyper_parameters": OPTIONS | changes,
    }
    torch.save(content, path)
    return path


def load(folder):
    return EnhanceLatent.from_hparams(source=folder, run_opts={"device": "cpu"})


def published_restoration(network, wav, noise, options, corrector="ald", snr=0.5):
    """The published enhancement of one window, in complex numbers as it is written.

    Apart from the order of the noise, which is ``noise(shape)``.
    """
    n_fft, hop = options["n_fft"], options["hop_length"]
    factor, exponent = options["spec_factor"], options["spec_abs_exponent"]
    theta, low, high = (options[k] for k in ("theta", "sigma_min", "sigma_max"))
    window, log_ratio = torch.hann_window(n_fft), math.log(high / low)
    norm = wav.abs().max()

    def sigma(t):
        grown = torch.exp(2 * (theta + log_ratio) * t) - 1
        variance = low**2 * torch.exp(-2 * theta * t) * grown
        return (variance * log_ratio / (theta + log_ratio)).sqrt()

    def score(x, t):
        channels = [as_channels(part[:, 0].numpy()) for part in (x, y)]
        out = network(*channels, t.reshape(1))
        return -torch.complex(out[:, :1], out[:, 1:])

    spec = torch.stft(wav / norm, n_fft, hop, window=window, return_complex=True)
    y = factor * spec.abs() ** exponent * torch.exp(1j * spec.angle())
    y = y[:, None]
    x = y + sigma(torch.tensor(1.0)) * noise(y)
    times = torch.linspace(1, options["t_eps"], options["N"])
    for i, t in enumerate(times):
        dt = t - times[i + 1] if i + 1 < len(times) else times[-1]
        if corrector == "ald":
            step = 2 * (snr * sigma(t)) ** 2
            z = noise(x)
            x = x + step * score(x, t) + z * (step * 2).sqrt()
        g = low * (high / low) ** t * math.sqrt(2 * log_ratio)
        mean = x - (theta * (y - x) - g**2 * score(x, t)) * dt
        x = mean + g * dt.sqrt() * noise(x)
    x = mean[:, 0] / factor
    spec = x.abs() ** (1 / exponent) * torch.exp(1j * x.angle())
    return torch.istft(spec, n_fft, hop, window=window, length=wav.shape[-1]) * norm


@pytest.mark.parametrize(
    "changes, sampling",
    [
        ({"N": 1}, {}),
        (COARSE, {}),
        (
            {"nf": 12, "ch_mult": [1, 2, 1, 1, 1, 1, 1], "spec_factor": 0.15}
            | {"spec_abs_exponent": 0.5, "N": 3}
            | COARSE,
            {"corrector": "none"},
        ),
        (
            {"theta": 1.5, "sigma_min": 0.05, "sigma_max": 0.5, "t_eps": 0.02, "N": 3}
            | COARSE,
            {"snr": 0.33},
        ),
    ],
)
def test_imported_model_restores_as_the_published_code_does(
    tmp_path, changes, sampling
):
    options = OPTIONS | changes
    weights = random_weights(options, seed=len(changes))
    file = checkpoint(tmp_path / "a.ckpt", weights, **(changes | sampling))
    import_sgmse(file, tmp_path / "model")
    direct = network(options)
    direct.load_state_dict(sgmse_to_ncsnpp(weights, direct))
    generator = torch.Generator().manual_seed(0)
    samples = 255 * options["hop_length"]  # one window
    # Nothing below 20 Hz, which the restorer takes out
    wav = 0.2 * torch.randn(1, samples + 1, generator=generator).diff()
    anchored = AnchoredNoise(7, [0], 128)

    def noise(like):
        pair = anchored(torch.zeros(1, 2, *like.shape[-2:]))
        return torch.complex(pair[:, :1], pair[:, 1:]) / math.sqrt(2)

    with torch.no_grad():
        expected = published_restoration(direct, wav, noise, options, **sampling)
    restored = load(tmp_path / "model").enhance_batch(wav, seed=7)
    scale = expected.abs().max()
    torch.testing.assert_close(restored / scale, expected / scale, atol=1e-4, rtol=0)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_average_is_read_in_the_published_order(tmp_path, frozen):
    """Whether or not it has the frequencies, and whatever order state_dict is in."""
    weights = random_weights()
    file = checkpoint(tmp_path / "a.ckpt", weights, frozen=frozen)
    content = torch.load(file, weights_only=True)
    content["state_dict"] = dict(sorted(content["state_dict"].items()))
    torch.save(content, file)
    import_sgmse(file, tmp_path / "model")
    expected = sgmse_to_ncsnpp(weights, network())
    state = load_file(tmp_path / "model" / "score_model.safetensors")
    assert all(torch.equal(state[key], value) for key, value in expected.items())


def test_the_order_of_the_published_parameters():
    keys = list(json.loads(reference("ncsnpp_48k_nf128_keys.json").read_text()))
    with torch.device("meta"):
        model = NCSNpp()
    assert published_parameters(model) == keys


def test_output_of_the_public_network_after_import(tmp_path):
    arrays = np.load(reference("ncsnpp_48k_nf16.npz"))
    keys = json.loads(reference("ncsnpp_48k_nf128_keys.json").read_text())
    weights = {key: torch.from_numpy(arrays[f"w/{key}"]) for key in keys}
    published = {"nf": 16, "ch_mult": (1, 1, 2, 2, 2, 2, 2), "num_res_blocks": 2}
    file = checkpoint(tmp_path / "a.ckpt", weights, **published)
    import_sgmse(file, tmp_path / "model")
    model = load(tmp_path / "model").restorer.score_model
    x, y = (as_channels(arrays[name]) for name in ("x_t", "y"))
    with torch.no_grad():
        out = model(x, y, torch.from_numpy(arrays["t"]))
    expected = as_channels(arrays["net_out"][:, 0])
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=0)


def test_settings_are_carried_over_and_changed(tmp_path, capsys):
    file = checkpoint(tmp_path / "a.ckpt", N=50)
    arguments = ["import-sgmse", str(file), "-o", str(tmp_path / "model")]
    assert main([*arguments, "--snr", "0.33", "--fp16-weights"]) == 0
    out = capsys.readouterr().out
    assert "N 50" in out and "the published value: scale_by_sigma True" in out
    restorer = load(tmp_path / "model").restorer
    options = {"num_steps": 50, "corrector": "ald", "snr": 0.33}
    assert restorer.settings.sampler_options() == options
    assert restorer.describe() == "preset paper, 100 calls"
    assert main([*arguments, "--num-steps", "4", "--corrector", "none"]) == 0
    assert load(tmp_path / "model").restorer.sampler.calls == 4


def test_the_ode_is_the_probability_flow(tmp_path):
    file = checkpoint(tmp_path / "a.ckpt", sampler_type="ode", N=10)
    import_sgmse(file, tmp_path / "model")
    assert load(tmp_path / "model").settings.sampler == "probability_flow"


def test_the_class_of_the_data_may_be_named(tmp_path):
    """Published checkpoints have it among the options; it is not imported."""

    class SpecsDataModule:
        pass

    SpecsDataModule.__module__ = "sgmse.data_module"
    SpecsDataModule.__qualname__ = "SpecsDataModule"
    modules = {name: types.ModuleType(name) for name in ("sgmse", "sgmse.data_module")}
    modules["sgmse.data_module"].SpecsDataModule = SpecsDataModule
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        file = checkpoint(tmp_path / "a.ckpt", data_module_cls=SpecsDataModule)
    import_sgmse(file, tmp_path / "model")
    assert load(tmp_path / "model").sample_rate == 48000


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"backbone": "ncsnpp"}, "backbone ncsnpp, a 16-kHz network"),
        ({"backbone": "ncsnpp_v2"}, "backbone ncsnpp_v2"),
        ({"n_fft": 510, "hop_length": 128}, "n_fft 510, hop_length 128, not those"),
        ({"sde": "sbve"}, "sde 'sbve' .Schroedinger bridges"),
        ({"sde": "bbed"}, "sde 'bbed'"),
        ({"loss_type": "data_prediction"}, "loss_type 'data_prediction'"),
        ({"transform_type": "log"}, "transform_type 'log'"),
        ({"window": "sqrthann"}, "window 'sqrthann'"),
        ({"corrector": "langevin"}, "corrector 'langevin'"),
        ({"attn_resolutions": [16]}, r"attn_resolutions \[16\]"),
        ({"nf": 16}, "do not fit the NCSNpp"),
        ({"num_res_blocks": 2}, "do not fit the NCSNpp"),
        ({"theta": "2\nx: !apply:os.abort"}, "theta '2"),
        ({"sigma_max": math.nan}, "sigma_max nan"),
        ({"N": 1.5}, "N 1.5"),
    ],
)
def test_what_cannot_be_imported_is_refused(tmp_path, changes, message):
    file = checkpoint(tmp_path / "a.ckpt", **changes)
    with pytest.raises(UsageError, match=message):
        import_sgmse(file, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "break_it, message",
    [
        (lambda c: c.pop("ema"), "has no ema"),
        (lambda c: c["ema"].update(shadow_params=[]), "ema has .* averages"),
        (lambda c: c["ema"]["shadow_params"].reverse(), "ema does not fit"),
        (lambda c: c["state_dict"].popitem(), "missing: "),
        (lambda c: c.update(state_dict={"net.a": torch.ones(1)}), "no weights named"),
        (lambda c: c.update(more=argparse.Namespace()), "refers to argparse.Namespace"),
    ],
)
def test_damaged_checkpoints_are_refused(tmp_path, break_it, message):
    file = checkpoint(tmp_path / "a.ckpt")
    content = torch.load(file, weights_only=True)
    break_it(content)
    torch.save(content, file)
    with pytest.raises(UsageError, match=message):
        import_sgmse(file, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("text", [b"", b"no checkpoint", b"PK\x03\x04 broken"])
def test_other_files_are_refused_in_one_line(tmp_path, capsys, text):
    (tmp_path / "a.ckpt").write_bytes(text)
    arguments = ["import-sgmse", str(tmp_path / "a.ckpt"), "-o", str(tmp_path / "m")]
    assert main(arguments) == 2
    assert "give a Lightning checkpoint of SGMSE+" in capsys.readouterr().err
    (tmp_path / "a.ckpt").unlink()
    assert main(arguments) == 2
    assert "does not exist" in capsys.readouterr().err
