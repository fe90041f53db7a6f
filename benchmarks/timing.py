"""Time and count the parts of ``Restorer.restore``.

Nothing is timed outside of ``restore``: stand-ins around the two networks note when
each of their calls begins and ends, so that precision, memory format and whatever else
makes it fast are those of the real way.
"""

import contextlib
import time
from collections import namedtuple

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from common import peak_rss, synchronize
from systems import set_calls

# Two calls show the period of the sampler's loop: network, noise and arithmetic.
PROBE_CALLS = 2

Span = namedtuple("Span", ["part", "start", "end"])


class Stopwatch:
    """Notes when named parts begin and end.

    Arguments
    ---------
    device : torch.device
        That the parts run on.
    wait : bool
        Whether a part ends when the device has done its work. Without, the parts can
        be counted and nothing waits for them.

    Attributes
    ----------
    spans : list of Span
        In order; seconds of an arbitrary origin.
    """

    def __init__(self, device, wait=True):
        self.device = device
        self.wait = wait
        self.spans = []

    @contextlib.contextmanager
    def part(self, name):
        """Time the block and note it under a name."""
        start = self._now()
        yield
        self.spans.append(Span(name, start, self._now()))

    def _now(self):
        if self.wait:
            synchronize(self.device)
        return time.perf_counter()


class TimedAutoencoder(nn.Module):
    """Stands in for an autoencoder: parts "encoder" and "decoder"."""

    def __init__(self, network, watch):
        super().__init__()
        self.network, self.watch = network, watch

    @property
    def reduction(self):
        """See ``LatentAutoencoder``."""
        return self.network.reduction

    def encode(self, *args):
        """See ``LatentAutoencoder.encode``."""
        with self.watch.part("encoder"):
            return self.network.encode(*args)

    def decode(self, *args):
        """See ``LatentAutoencoder.decode``."""
        with self.watch.part("decoder"):
            return self.network.decode(*args)


class TimedScoreModel(nn.Module):
    """Stands in for a score network: part "call"."""

    def __init__(self, network, watch):
        super().__init__()
        self.network, self.watch = network, watch

    @property
    def grid(self):
        """See ``NCSNpp``."""
        return self.network.grid

    def forward(self, *args):
        """See ``NCSNpp.forward``."""
        with self.watch.part("call"):
            return self.network(*args)


@contextlib.contextmanager
def watched(restorer, watch):
    """Put stand-ins in the place of the networks for the time of the block."""
    autoencoder, score_model = restorer.autoencoder, restorer.score_model
    restorer.autoencoder = TimedAutoencoder(autoencoder, watch)
    restorer.score_model = TimedScoreModel(score_model, watch)
    try:
        yield
    finally:
        restorer.autoencoder, restorer.score_model = autoencoder, score_model


def window_of_noise(restorer, batch=1):
    """What is restored: (batch, samples), one window each, on the right device."""
    generator = torch.Generator().manual_seed(0)
    wavs = 0.1 * torch.randn(batch, restorer.plan.window, generator=generator)
    return wavs.to(device_of(restorer))


def device_of(restorer):
    """Where the score network is."""
    return next(restorer.score_model.parameters()).device


def time_parts(restorer, batch=1, calls=PROBE_CALLS):
    """Restore ``batch`` windows at once and say where the time went.

    Arguments
    ---------
    restorer : Restorer
        Its sampler changes to one of so many calls.
    batch : int
        Windows.
    calls : int
        Two or more, to see the sampler's loop.

    Returns
    -------
    dict of str to float
        Seconds of the batch, such that ``seconds_of(parts, calls)`` is the whole:
        ``encoder`` and ``decoder``, ``call`` (the score network), ``sampler`` (noise
        and arithmetic, a call) and ``rest`` (spectrogram and its inverse, level,
        cutting and overlap-add, prior).
    """
    return split_time(*_restore_watched(restorer, batch, calls, wait=True))


def warm_up(restorer, batch=1):
    """Let kernels be chosen and memory be taken, at the cost of one call."""
    _restore_watched(restorer, batch, calls=1, wait=True)


def _restore_watched(restorer, batch, calls, wait):
    """Spans of the networks' parts, and seconds of the whole."""
    restorer.windows_per_batch = batch
    set_calls(restorer, calls)
    wavs = window_of_noise(restorer, batch)
    whole, inner = Stopwatch(wavs.device), Stopwatch(wavs.device, wait)
    with watched(restorer, inner), whole.part("restore"):
        restorer.restore(wavs)
    return inner.spans, whole.spans[0].end - whole.spans[0].start


def split_time(spans, total):
    """The parts of ``time_parts`` from what a stopwatch noted.

    Example
    -------
    >>> spans = [Span("encoder", 1.0, 3.0), Span("call", 4.0, 9.0)]
    >>> spans += [Span("call", 10.0, 15.0), Span("decoder", 16.0, 19.0)]
    >>> split_time(spans, total=20.0)
    {'encoder': 2.0, 'call': 5.0, 'sampler': 1.0, 'decoder': 3.0, 'rest': 3.0}
    """
    calls = [span for span in spans if span.part == "call"]
    if len(calls) < 2:
        raise ValueError(f"the loop shows with two calls or more, got {len(calls)}")
    parts = {
        part: sum(s.end - s.start for s in spans if s.part == part)
        for part in ("encoder", "call", "decoder")
    }
    call = parts["call"] / len(calls)
    gaps = [b.start - a.end for a, b in zip(calls[:-1], calls[1:], strict=True)]
    sampler = sum(gaps) / len(gaps)
    loop = len(calls) * (call + sampler)
    return {
        "encoder": parts["encoder"],
        "call": call,
        "sampler": sampler,
        "decoder": parts["decoder"],
        "rest": total - parts["encoder"] - parts["decoder"] - loop,
    }


def seconds_of(parts, calls):
    """Whole time of ``restore`` with a number of calls, computed from its parts.

    Example
    -------
    >>> parts = {"encoder": 2.0, "call": 5.0, "sampler": 1.0, "decoder": 3.0}
    >>> seconds_of(parts | {"rest": 3.0}, calls=2)
    20.0
    """
    outside = parts["encoder"] + parts["decoder"] + parts["rest"]
    return outside + calls * (parts["call"] + parts["sampler"])


def time_whole(restorer, calls):
    """Really restore one window with a number of calls.

    Returns
    -------
    float
        Seconds; nothing waits for the device between the parts.

    Raises
    ------
    ValueError
        If the sampler makes another number of calls.
    """
    spans, seconds = _restore_watched(restorer, batch=1, calls=calls, wait=False)
    made = sum(span.part == "call" for span in spans)
    if made != calls:
        raise ValueError(
            f"sampler {restorer.sampler_name!r} made {made} calls, not {calls}"
        )
    return seconds


def count_cost(restorer):
    """Parameters and multiply-accumulates, counted on shapes alone.

    Arguments
    ---------
    restorer : Restorer
        Built on the device "meta"; comes back on the CPU, without values.

    Returns
    -------
    dict of str to int
        ``autoencoder_parameters``, ``score_parameters``, and for one window
        ``encoder_macs``, ``call_macs``, ``decoder_macs`` (of convolutions, matrix
        products and attention, two FLOP each).
    """
    restorer.to_empty(device="cpu")  # autocast knows no "meta"
    autoencoder, score_model = restorer.autoencoder, restorer.score_model
    front_end = restorer.spectrogram
    frames = front_end.frames(restorer.plan.window)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        spectrogram = torch.empty(1, 2, front_end.bins, frames)
        encoded, encoder_macs = _count_macs(autoencoder.encode, spectrogram)
        latent = encoded.latent
        _, call_macs = _count_macs(score_model, latent, latent, torch.ones(1))
        _, decoder_macs = _count_macs(autoencoder.decode, *encoded)
    return {
        "autoencoder_parameters": sum(p.numel() for p in autoencoder.parameters()),
        "score_parameters": sum(p.numel() for p in score_model.parameters()),
        "encoder_macs": encoder_macs,
        "call_macs": call_macs,
        "decoder_macs": decoder_macs,
    }


def _count_macs(function, *args):
    with FlopCounterMode(display=False) as counter:
        result = function(*args)
    return result, counter.get_total_flops() // 2


def measure_peak(device, precision, seconds=1.0):
    """Arithmetic peak of the device as a large matrix product reaches it.

    Arguments
    ---------
    device : torch.device
        Where.
    precision : str
        "fp32" or "bf16" (with float32's rounding of products if TF32 is on).
    seconds : float
        How long to try; the fastest product counts.

    Returns
    -------
    float
        FLOP per second.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    side = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    a @ b  # kernels are chosen and memory is taken now
    watch = Stopwatch(device)
    while not watch.spans or watch.spans[-1].end - watch.spans[0].start < seconds:
        with watch.part("product"):
            a @ b
    return 2 * side**3 / min(span.end - span.start for span in watch.spans)


def measure_memory(restorer, batch=1):
    """Peak memory of restoring ``batch`` windows, weights included.

    Returns
    -------
    int
        Bytes: of the CUDA allocator, less what other models hold there; of the whole
        process on a CPU, which should then do nothing but this.
    """
    restorer.windows_per_batch = batch
    set_calls(restorer, PROBE_CALLS)
    wavs = window_of_noise(restorer, batch)
    if wavs.device.type != "cuda":
        restorer.restore(wavs)
        return peak_rss()
    tensors = [*restorer.parameters(), *restorer.buffers()]
    own = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    others = torch.cuda.memory_allocated(wavs.device) - own
    torch.cuda.reset_peak_memory_stats(wavs.device)
    restorer.restore(wavs)
    return torch.cuda.max_memory_allocated(wavs.device) - others
