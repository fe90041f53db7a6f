"""What a machine lacks is replaced with one warning, or is an error."""

import pytest
import torch

from lafufu_sb.errors import UsageError
from lafufu_sb.restoration import devices
from lafufu_sb.restoration.devices import to_device, usable_device, usable_dtype

CPU = torch.device("cpu")
no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")


@pytest.fixture(autouse=True)
def warnings_of_a_new_process():
    devices._warn_once.cache_clear()


@no_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda")])
def test_missing_device_is_replaced_by_the_cpu_with_one_warning(device, caplog):
    assert [usable_device(device) for _ in range(3)] == ["cpu"] * 3
    (record,) = caplog.records
    assert str(device) in record.message and "on the CPU" in record.message
    assert "\n" not in record.message


@no_cuda
def test_missing_device_is_an_error_without_fallback():
    with pytest.raises(UsageError, match="device 'cuda' cannot be used"):
        usable_device("cuda", fallback=False)


def test_present_device_is_used_without_a_warning(caplog):
    assert usable_device(CPU) == usable_device("cpu", fallback=False) == "cpu"
    assert not caplog.records


@pytest.mark.parametrize("fallback", [True, False])
def test_unknown_device_is_an_error(fallback):
    with pytest.raises(UsageError, match="no device is called 'gpu'"):
        usable_device("gpu", fallback)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_missing_arithmetic_is_replaced_by_float32_with_one_warning(
    precision, caplog, monkeypatch
):
    monkeypatch.setattr(devices, "_has_arithmetic", lambda dtype, device: False)
    assert usable_dtype(precision, CPU) == usable_dtype(precision, CPU) == torch.float32
    (record,) = caplog.records
    assert f"no {precision} arithmetic: computing in fp32" in record.message
    with pytest.raises(UsageError, match=f"no {precision} arithmetic"):
        usable_dtype(precision, CPU, fallback=False)
    assert usable_dtype("fp32", CPU, fallback=False) == torch.float32


@pytest.mark.parametrize("has", [True, False])
def test_cpu_is_asked_for_its_arithmetic(has, monkeypatch):
    # Without it PyTorch computes too, but many times slower than in float32.
    name = "_is_mkldnn_bf16_supported"
    monkeypatch.setattr(torch.ops.mkldnn, name, lambda: has)
    expected = torch.bfloat16 if has else torch.float32
    assert usable_dtype("bf16", CPU) == expected


def test_data_on_the_cpu_are_not_copied():
    x = torch.randn(3)
    assert to_device(x, "cpu") is x


@pytest.mark.accelerator
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_data_reach_an_accelerator():
    x = torch.randn(1000)
    assert torch.equal(to_device(x, "cuda").cpu(), x)
