"""The score U-Net: shapes, invariances, refusals; parity is in test_sgmse_keys.py."""

import types

import pytest
import torch
import torch.nn.functional as F
from inference.test_sgmse_keys import pattern
from small import lively

from lafufu_sb.errors import UsageError
from lafufu_sb.lobes import ncsnpp
from lafufu_sb.lobes.ncsnpp import NCSNpp
from lafufu_sb.lobes.ncsnpp_layers import FIRResample, Norm


def small(**changes):
    settings = {
        "data_channels": 4,
        "base_channels": 8,
        "multipliers": (1, 2, 2),
        "blocks_per_level": 1,
        "output_layer": False,
    }
    torch.manual_seed(0)
    return NCSNpp(**(settings | changes))


def inputs(batch=2, channels=4, freq=16, frames=8):
    generator = torch.Generator().manual_seed(1)
    shape = (batch, channels, freq, frames)
    x = torch.randn(shape, generator=generator)
    y = torch.randn(shape, generator=generator)
    return x, y, torch.linspace(0.05, 1.0, batch)


@pytest.mark.parametrize(
    ("base_channels", "count"), [(128, 64_739_854), (96, 36_435_854), (64, 16_211_214)]
)
def test_parameter_count_full_band(base_channels, count):
    with torch.device("meta"):
        model = NCSNpp(base_channels=base_channels)
    assert sum(p.numel() for p in model.parameters()) == count


def test_shapes_full_band_and_latent():
    full_band = NCSNpp(base_channels=8).eval()
    latent = NCSNpp(data_channels=4, base_channels=8, output_layer=False).eval()
    with torch.no_grad():
        x, y, t = inputs(1, 2, 768, 64)
        assert full_band(x, y, t).shape == (1, 2, 768, 64)
        x, y, t = inputs(2, 4, 192, 64)
        assert latent(x, y, t).shape == (2, 4, 192, 64)
    assert full_band.grid == latent.grid == 64


@pytest.mark.parametrize(("freq", "frames"), [(18, 8), (16, 6)])
def test_sides_off_the_grid_are_refused(freq, frames):
    with pytest.raises(ValueError, match="multiples of 4"):
        small()(*inputs(freq=freq, frames=frames))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"multipliers": ()}, "multipliers must be a list of 1 to 12"),
        ({"blocks_per_level": 0}, "blocks_per_level must be a whole number from 1"),
        ({"attention_levels": (3,)}, "must be level indices 0 to 2"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        small(**changes)


@pytest.mark.parametrize("names", [0, 1, 2])
@torch.no_grad()
def test_condition_has_any_number_of_names(names):
    model = lively(small(condition_channels=4 * names)).eval()
    x, y, t = inputs()
    condition = torch.cat([y, 2 * y][:names], dim=1) if names else None
    assert model.stem.in_channels == 4 + 4 * names
    out = model(x, condition, t)
    assert out.shape == x.shape and out.isfinite().all()
    if names:
        assert (model(x, condition + 1, t) - out).abs().max() > 1e-2
    bound = model.bind(condition, {})
    torch.testing.assert_close(bound(x, t), out)


def test_normalisation_groups():
    # 8 channels have 2 groups by the published rule; its 32 do not divide 144.
    assert small().encoder[0].blocks[0].norm_in.num_groups == 2
    decoder = small(base_channels=48, multipliers=(1, 2)).decoder
    assert decoder[-1].blocks[0].norm_in.num_channels == 144
    assert decoder[-1].blocks[0].norm_in.num_groups == 24


@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last]
)
def test_resampling_equals_naive_fir(memory_format):
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = torch.outer(taps, taps).expand(3, 1, 4, 4)
    x = pattern(2, 3, 10, 6).to(memory_format=memory_format)

    padded = F.pad(x, (1, 1, 1, 1))
    down = F.conv2d(padded, kernel, groups=3)[:, :, ::2, ::2]
    torch.testing.assert_close(FIRResample("down")(x), down)

    stuffed = torch.zeros(2, 3, 20, 12)
    stuffed[:, :, ::2, ::2] = x
    up = F.conv2d(F.pad(stuffed, (2, 1, 2, 1)), 4 * kernel, groups=3)
    torch.testing.assert_close(FIRResample("up")(x), up)


def test_items_of_a_batch_are_independent():
    # Undivided, as a division by a small t would enlarge the rounding too.
    model = lively(small(divide_by_time=False)).eval()
    x, y, t = inputs(batch=3)
    with torch.no_grad():
        together = model(x, y, t)
        alone = torch.cat([model(x[[i]], y[[i]], t[[i]]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_state_condition_and_time_all_matter():
    model = lively(small(divide_by_time=False)).eval()
    x, y, t = inputs()
    with torch.no_grad():
        out = model(x, y, t)
        for changed in ((x + 1, y, t), (x, y + 1, t), (x, y, 0.9 * t)):
            assert (model(*changed) - out).abs().max() > 1e-2


def test_division_by_time():
    divided, plain = lively(small()), small(divide_by_time=False)
    plain.load_state_dict(divided.state_dict())
    x, y, t = inputs()
    with torch.no_grad():
        expected = plain(x, y, t) / t[:, None, None, None]
        torch.testing.assert_close(divided(x, y, t), expected)


def test_new_network_starts_near_zero():
    x, y, t = inputs()
    assert small()(x, y, t).abs().max() < 1e-2


@pytest.mark.parametrize("attention_levels", [(), (1,), (0, 2)])
def test_gradient_reaches_every_trainable_parameter(attention_levels):
    model = lively(small(attention_levels=attention_levels, output_layer=True))
    x, y, t = inputs()
    (model(x, y, t) * torch.randn(x.shape)).sum().backward()
    trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
    # A key bias shifts all logits of a query alike, so softmax leaves it no gradient.
    still = [
        name
        for name, p in trainable.items()
        if p.grad is None or (p.grad == 0).all() and not name.endswith("key.bias")
    ]
    assert still == []
    assert not model.time_embedding.frequencies.requires_grad


def test_extra_attention_adds_modules_at_that_level():
    names = small(attention_levels=(1,)).state_dict()
    assert "encoder.1.attentions.0.out.weight" in names
    assert "decoder.1.attentions.1.out.weight" in names
    assert "encoder.0.attentions.0.out.weight" not in names


def test_channels_last_gives_the_same():
    model = lively(small()).eval()
    x, y, t = inputs()
    with torch.no_grad():
        plain = model(x, y, t)
        model = model.to(memory_format=torch.channels_last)
        x, y = (v.to(memory_format=torch.channels_last) for v in (x, y))
        torch.testing.assert_close(model(x, y, t), plain, atol=1e-4, rtol=1e-4)


def test_bfloat16_autocast_stays_close():
    model = lively(small())
    x, y, t = inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(x, y, t)
    out.square().sum().backward()
    assert out.dtype == x.dtype
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    with torch.no_grad():
        exact = model(x, y, t)
    assert (out - exact).norm() < 0.05 * exact.norm()


def conv_inputs(monkeypatch):
    """Channels that each convolution called by ``lobes.ncsnpp`` itself takes."""
    taken, conv2d = [], F.conv2d

    def counted(x, weight, bias=None, **options):
        taken.append("x" if bias is None else "y")
        return conv2d(x, weight, bias, **options)

    # Seen by the stem's halves alone: layers call the function of their own module.
    functional = types.SimpleNamespace(conv2d=counted)
    monkeypatch.setattr(ncsnpp, "F", functional)
    return taken


@torch.no_grad()
def test_bound_network_is_the_network_and_computes_the_condition_once(monkeypatch):
    model = lively(small()).eval()
    x, y, t = inputs()
    expected = [model(state, y, t) for state in (x, 2 * x, 3 * x)]
    taken = conv_inputs(monkeypatch)
    bound = model.bind(y)
    for factor in (1, 2, 3):
        assert torch.equal(bound(factor * x, t), expected[factor - 1])
    assert taken == ["y", "x", "x", "x"]


@torch.no_grad()
def test_halves_of_the_stem_are_the_stem():
    model = lively(small()).eval()
    x, y, _ = inputs()
    weight = model.stem.weight[:, : model.data_channels]
    parts = F.conv2d(x, weight, padding=1) + model.condition(y)
    torch.testing.assert_close(parts, model.stem(torch.cat([x, y], dim=1)))


@torch.no_grad()
def test_times_are_embedded_once_for_all_conditions():
    model = lively(small()).eval()
    x, y, _ = inputs()
    embedded, memo = [], {}
    model.time_embedding.register_forward_pre_hook(
        lambda module, arguments: embedded.append(len(arguments[0]))
    )
    for condition in (y, x):
        bound = model.bind(condition, memo)
        for time in (1.0, 0.5, 1.0):
            t = torch.tensor(time).expand(2)
            torch.testing.assert_close(bound(x, t), model(x, condition, t.clone()))
    # Two shared times, each of them once; six calls with two times, both of them.
    assert sorted(embedded) == [1, 1] + 6 * [2]


@torch.no_grad()
def test_different_times_in_a_batch_are_kept_apart():
    model, memo = lively(small()).eval(), {}
    x, y, t = inputs()
    bound = model.bind(y, memo)
    torch.testing.assert_close(bound(x, t), model(x, y, t))
    torch.testing.assert_close(bound(x, t.flip(0)), model(x, y, t.flip(0)))


@pytest.mark.parametrize("shape", [(48, 16), (24, 8), (64, 32), (1, 1)])
@torch.no_grad()
def test_norm_is_group_norm_in_every_memory_format(shape):
    norm = lively(Norm(48))
    x = pattern(2, 48, *shape)
    expected = F.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        out = norm(x.contiguous(memory_format=memory_format))
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
        assert out.is_contiguous(memory_format=memory_format)


@torch.no_grad()
def test_exports_with_any_batch():
    model = lively(small(divide_by_time=False)).eval()
    batch = {0: torch.export.Dim("batch", min=1)}
    program = torch.export.export(model, inputs(), dynamic_shapes=(batch,) * 3)
    for size in (1, 3):
        given = inputs(batch=size)
        torch.testing.assert_close(
            program.module()(*given), model(*given), atol=1e-5, rtol=1e-5
        )


def test_compiles_as_one_graph():
    model = lively(small(attention_levels=(1,))).eval()
    # Backend "eager" checks the capture and needs no compiler on the machine.
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    x, y, t = inputs()
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, y, t), model(x, y, t))
