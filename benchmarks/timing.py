"""Time and count the parts of ``Restorer.restore``.

Nothing is timed outside of ``restore``: stand-ins around the networks note when each
of their calls begins and ends, so that precision, memory format and whatever else
makes it fast are those of the real way.
"""

import contextlib
import statistics
import time
from collections import namedtuple
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from common import peak_rss
from lafufu_sb.lobes.autoencoder import Encoded
from lafufu_sb.restoration.devices import synchronize
from systems import set_calls

# Of the loop that shows what a sampler takes beside the network, the network idle.
LOOP_CALLS = 5

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
    """Stands in for an autoencoder: parts "encoder" and "decoder".

    Attributes
    ----------
    encoded, decoded
        What it gave last.
    """

    def __init__(self, autoencoder, watch):
        super().__init__()
        self.autoencoder, self.watch = autoencoder, watch

    def predictor(self, *args):
        """See ``GainPredictor.forward``; part of the encoder."""
        with self.watch.part("encoder"):
            return self.autoencoder.predictor(*args)

    def encode(self, *args):
        """See ``LatentAutoencoder.encode``."""
        with self.watch.part("encoder"):
            self.encoded = self.autoencoder.encode(*args)
        return self.encoded

    def decode(self, *args):
        """See ``LatentAutoencoder.decode``."""
        with self.watch.part("decoder"):
            self.decoded = self.autoencoder.decode(*args)
        return self.decoded


class TimedObjective:
    """Stands in for an objective: part "call", the score network and what it means."""

    def __init__(self, objective, watch):
        self.objective, self.watch = objective, watch
        self.estimates = objective.estimates

    def estimate(self, *args):
        """See ``ScoreMatching.estimate``."""
        with self.watch.part("call"):
            return self.objective.estimate(*args)


class IdleAutoencoder(nn.Module):
    """Gives again what a ``TimedAutoencoder`` gave last."""

    def __init__(self, timed):
        super().__init__()
        self.encoded = Encoded(timed.encoded.latent, (), timed.encoded.size)
        self.decoded = timed.decoded
        self.predictor = nn.Identity()

    def encode(self, spectrograms):
        """The remembered latent, without skips."""
        return self.encoded

    def decode(self, latent, skips, size):
        """The remembered spectrogram."""
        return self.decoded


class IdleObjective:
    """Estimates zeros."""

    def __init__(self, objective):
        self.estimates = objective.estimates

    def estimate(self, network, x, *args):
        """Zeros in the shape of the state."""
        return torch.zeros_like(x)


@contextlib.contextmanager
def replaced(restorer, autoencoder, objective):
    """Have a restorer use stand-ins for the time of the block."""
    own = restorer.autoencoder, restorer.objective
    restorer.autoencoder, restorer.objective = autoencoder, objective
    try:
        yield
    finally:
        restorer.autoencoder, restorer.objective = own


def window_of_noise(restorer, batch=1):
    """What is restored: (batch, samples), one window each, on the right device."""
    generator = torch.Generator().manual_seed(0)
    wavs = 0.1 * torch.randn(batch, restorer.plan.window, generator=generator)
    return wavs.to(device_of(restorer))


def device_of(restorer):
    """Where the restorer is."""
    return restorer.spectrogram.window.device


def time_parts(restorer, batch=1):
    """Restore ``batch`` windows at once and say where the time goes.

    Arguments
    ---------
    restorer : Restorer
        Left with another sampler setting.
    batch : int
        Windows.

    Returns
    -------
    dict of str to float
        Seconds of the batch, from which ``seconds_of`` computes the whole:
        ``encoder`` and ``decoder``, ``call`` (the score network), ``sampler`` (noise
        and arithmetic, a call) and ``rest`` (spectrogram and its inverse, level,
        cutting and overlap-add, prior).
    """
    watch = Stopwatch(device_of(restorer))
    autoencoder = restorer.inference_networks().autoencoder
    autoencoder = TimedAutoencoder(autoencoder, watch)
    objective = TimedObjective(restorer.objective, watch)
    with replaced(restorer, autoencoder, objective):
        total = _time_restore(restorer, batch, calls=1)
    spent = dict.fromkeys(sorted({span.part for span in watch.spans}), 0.0)
    for span in watch.spans:
        spent[span.part] += span.end - span.start
    # The predictor's and the encoder's own time are one part.
    if list(spent) != ["call", "decoder", "encoder"] or len(watch.spans) != 4:
        raise ValueError(
            f"restore with one call went through {[s.part for s in watch.spans]}: it "
            "must use restorer.autoencoder and restorer.objective for the timing"
        )
    spent["sampler"] = _time_sampler(restorer, batch, autoencoder)
    return spent | {"rest": total - sum(spent.values())}


def _time_sampler(restorer, batch, autoencoder):
    """Seconds between calls: noise and arithmetic, with networks that do nothing."""
    watch = Stopwatch(device_of(restorer))
    objective = TimedObjective(IdleObjective(restorer.objective), watch)
    with replaced(restorer, IdleAutoencoder(autoencoder), objective):
        _time_restore(restorer, batch, LOOP_CALLS)
    calls = watch.spans
    gaps = [b.start - a.end for a, b in zip(calls[:-1], calls[1:], strict=True)]
    return statistics.median(gaps)


def warm_up(restorer, batch=1):
    """Let kernels be chosen and memory be taken, at the cost of one call."""
    _time_restore(restorer, batch, calls=1)


def _time_restore(restorer, batch, calls):
    """Seconds of the whole of ``restore``."""
    restorer.windows_per_batch = batch
    set_calls(restorer, calls)
    wavs = window_of_noise(restorer, batch)
    watch = Stopwatch(wavs.device)
    with watch.part("restore"):
        restorer.restore(wavs)
    return watch.spans[0].end - watch.spans[0].start


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
    watch = Stopwatch(device_of(restorer), wait=False)
    counting = TimedObjective(restorer.objective, watch)
    with replaced(restorer, restorer.autoencoder, counting):
        seconds = _time_restore(restorer, batch=1, calls=calls)
    if len(watch.spans) != calls:
        raise ValueError(
            f"sampler {restorer.sampler_name!r} made {len(watch.spans)} calls, not "
            f"{calls}"
        )
    return seconds


def count_cost(restorer):
    """Parameters and multiply-accumulates, counted on shapes alone.

    Arguments
    ---------
    restorer : Restorer
        On the CPU.

    Returns
    -------
    dict of str to int
        ``autoencoder_parameters``, ``score_parameters``, and for one window
        ``encoder_macs``, ``call_macs``, ``decoder_macs`` (of convolutions, matrix
        products and attention, two FLOP each). A predictor counts with the
        autoencoder and the encoder.
    """
    autoencoder, score_model = restorer.autoencoder, restorer.score_model
    front_end = restorer.spectrogram
    frames = front_end.frames(restorer.plan.window)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        spectrogram = torch.empty(1, 2, front_end.bins, frames)
        predicted, predictor_macs = _count_macs(autoencoder.predictor, spectrogram)
        encoded, encoder_macs = _count_macs(autoencoder.encode, predicted)
        latent = encoded.latent
        _, call_macs = _count_macs(score_model, latent, latent, torch.ones(1))
        _, decoder_macs = _count_macs(autoencoder.decode, *encoded)
    return {
        "autoencoder_parameters": sum(p.numel() for p in autoencoder.parameters()),
        "score_parameters": sum(p.numel() for p in score_model.parameters()),
        "encoder_macs": predictor_macs + encoder_macs,
        "call_macs": call_macs,
        "decoder_macs": decoder_macs,
    }


def _count_macs(function, *args):
    with FlopCounterMode(display=False) as counter:
        result = function(*args)
    return result, counter.get_total_flops() // 2


def measure_peak(device, precision, seconds=1.0):
    """Arithmetic peak of the device, as dense work reaches it.

    Arguments
    ---------
    device : torch.device
        Where.
    precision : str
        "fp32" or "bf16" (with float32's rounding of products if TF32 is on).
    seconds : float
        How long to try each of two: a large matrix product and a large 3x3
        convolution, the work of different libraries. On a CPU either can be twice as
        fast as the other.

    Returns
    -------
    float
        FLOP per second of the faster one.
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


@torch.no_grad()
def _fastest(function, device, seconds):
    function()  # kernels are chosen and memory is taken now
    watch = Stopwatch(device)
    while not watch.spans or watch.spans[-1].end - watch.spans[0].start < seconds:
        with watch.part("work"):
            function()
    return min(span.end - span.start for span in watch.spans)


def measure_memory(restorer, batch=1):
    """Peak memory of restoring ``batch`` windows, weights included.

    Returns
    -------
    int
        Bytes: of the CUDA allocator, less what other models hold there; of the whole
        process on a CPU, which should then do nothing but this.
    """
    device = device_of(restorer)
    if device.type != "cuda":
        warm_up(restorer, batch)
        return peak_rss()
    tensors = [*restorer.parameters(), *restorer.buffers()]
    own = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    others = torch.cuda.memory_allocated(device) - own
    torch.cuda.reset_peak_memory_stats(device)
    warm_up(restorer, batch)
    return torch.cuda.max_memory_allocated(device) - others
