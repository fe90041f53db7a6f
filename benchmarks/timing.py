"""Time, cost and memory of ``Restorer.restore`` on one window."""

import time
from functools import partial

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from lafufu_sb.restoration.devices import peak_rss, synchronize
from systems import with_calls


def time_parts(restorer, batch=1):
    """Restore ``batch`` windows with one call; seconds of its parts, a dict.

    ``encoder`` (with a pre-enhancer), ``call`` (score network and the sampler's noise
    and arithmetic), ``decoder``, and ``rest`` (spectrogram and its inverse, level,
    overlap-add). ``seconds_of`` computes the whole.
    """
    restorer = with_calls(restorer, 1)
    with restorer.timed() as timer:
        total = _time_restore(restorer, batch)
    parts = {
        "encoder": timer.seconds["encoder"] + timer.seconds.get("pre_enhancer", 0.0),
        "call": timer.seconds["sampler"],
        "decoder": timer.seconds["decoder"],
    }
    return parts | {"rest": total - sum(parts.values())}


def warm_up(restorer, batch=1):
    """Choose kernels and allocate memory, at the cost of one call."""
    _time_restore(with_calls(restorer, 1), batch)


def time_whole(restorer, calls):
    """Seconds of restoring one window with a number of calls, parts not timed."""
    restorer = with_calls(restorer, calls)
    if restorer.sampler.calls != calls:
        raise ValueError(
            f"sampler {restorer.settings.sampler!r} makes {restorer.sampler.calls} "
            f"calls, not {calls}"
        )
    return _time_restore(restorer, batch=1)


def _time_restore(restorer, batch):
    restorer = restorer.with_settings(windows_per_batch=batch)
    generator = torch.Generator().manual_seed(0)
    wavs = 0.1 * torch.randn(batch, restorer.plan.window, generator=generator)
    wavs = wavs.to(restorer.device)
    return _seconds(partial(restorer.restore, wavs), wavs.device)


def _seconds(function, device):
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - start


def seconds_of(parts, calls):
    """Seconds of ``restore`` with a number of calls, computed from its parts.

    Example
    -------
    >>> seconds_of({"encoder": 2.0, "call": 6.0, "decoder": 3.0, "rest": 3.0}, calls=2)
    20.0
    """
    outside = parts["encoder"] + parts["decoder"] + parts["rest"]
    # "sampler": earlier measurements had noise and arithmetic apart from the network.
    return outside + calls * (parts["call"] + parts.get("sampler", 0.0))


def count_cost(restorer):
    """Parameters, and multiply-accumulates of a window, counted on shapes alone.

    Multiply-accumulates are those of convolutions, matrix products and attention, two
    FLOP each. A pre-enhancer counts with the autoencoder and the encoder. The restorer
    must be on the CPU.
    """
    representation, score_model = restorer.representation, restorer.score_model
    front, enhance = representation.features, restorer.pre_enhancer
    shape = front(torch.zeros(1, restorer.plan.window)).shape
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        features, enhancer_macs = torch.empty(shape), 0
        if enhance is not None:
            features, enhancer_macs = _count_macs(enhance, features)
        encoded, encoder_macs = _count_macs(representation.encode, features)
        names = dict.fromkeys(restorer.conditioning.needed, encoded)
        mean, condition, _ = restorer.conditioning.roles(names)
        _, call_macs = _count_macs(score_model, mean, condition, torch.ones(1))
        _, decoder_macs = _count_macs(representation.decode, *encoded)
    total = sum(p.numel() for p in restorer.parameters())
    own = sum(p.numel() for p in score_model.parameters())
    return {
        "autoencoder_parameters": total - own,
        "score_parameters": own,
        "encoder_macs": enhancer_macs + encoder_macs,
        "call_macs": call_macs,
        "decoder_macs": decoder_macs,
    }


def _count_macs(function, *args):
    with FlopCounterMode(display=False) as counter:
        result = function(*args)
    return result, counter.get_total_flops() // 2


@torch.no_grad()
def measure_peak(device, precision, seconds=1.0):
    """Largest arithmetic rate of the device, FLOP per second.

    The faster of a large matrix product and a large 3x3 convolution, which different
    libraries compute: on a CPU either can be twice as fast as the other.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    on_cpu = device.type == "cpu"
    side, channels, size = (2048, 256, 64) if on_cpu else (8192, 1024, 128)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    image = torch.randn(1, channels, size, size, device=device)
    kernel = torch.randn(channels, channels, 3, 3, device=device)
    image, kernel = (
        x.to(dtype, memory_format=torch.channels_last) for x in (image, kernel)
    )
    product = partial(torch.matmul, a, b)
    convolution = partial(F.conv2d, image, kernel, padding=1)
    return max(
        2 * side**3 / _fastest(product, device, seconds),
        2 * 9 * (channels * size) ** 2 / _fastest(convolution, device, seconds),
    )


def _fastest(function, device, seconds):
    function()  # choose kernels and allocate memory
    taken = []
    while sum(taken) < seconds:
        taken.append(_seconds(function, device))
    return min(taken)


def measure_memory(restorer):
    """Peak memory of restoring one window, weights included, bytes.

    That of the CUDA allocator without other models, or of the whole process on a CPU.
    """
    device = restorer.device
    if device.type != "cuda":
        warm_up(restorer)
        return peak_rss()
    tensors = [*restorer.parameters(), *restorer.buffers()]
    own = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    others = torch.cuda.memory_allocated(device) - own
    torch.cuda.reset_peak_memory_stats(device)
    warm_up(restorer)
    return torch.cuda.max_memory_allocated(device) - others
