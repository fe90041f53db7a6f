"""The networks in the form that computes fastest without gradients.

The networks of a ``Restorer`` are trained, saved and compared; what restores are their
twins, which have the same code but weights in the wanted type and layout.
"""

import contextlib
import copy
import logging
import threading
import time

import torch
from torch import nn

from lafufu_sb.lobes.autoencoder import Encoded
from lafufu_sb.restoration.devices import give_way

logger = logging.getLogger(__name__)

_LOCK = threading.Lock()  # several threads may restore with one restorer


class Twin:
    """A copy of a network for inference, kept equal to it.

    The weights are in channels_last and in the wanted type, but for modules that say
    ``full_precision``. Only networks that say ``follows_weights`` have twins: they
    cast what they are given to the type and layout of their weights.

    Arguments
    ---------
    network : torch.nn.Module
        The original, on the device that computes.
    dtype : torch.dtype
        Of the weights.

    Attributes
    ----------
    module : torch.nn.Module
        The copy, in evaluation mode.
    compiled : bool
        Whether it is compiled.

    Example
    -------
    >>> network = nn.Conv2d(1, 1, 3)
    >>> twin = Twin(network, torch.bfloat16)
    >>> with torch.no_grad():
    ...     _ = network.bias.fill_(3.0)
    >>> twin.keeps_up_with(network, torch.bfloat16)
    True
    >>> twin.module.bias
    Parameter containing:
    tensor([3.], dtype=torch.bfloat16)
    """

    def __init__(self, network, dtype):
        tensors = _tensors(network)
        # As if tensors were constants: those that need no conversion are shared.
        self.module = copy.deepcopy(network, {id(t): t for t in tensors}).eval()
        _convert(self.module, dtype)
        self._own = _tensors(self.module)
        self._network, self._dtype = network, dtype
        self._places, self._versions = _places(tensors), _versions(tensors)
        self.warm_for = set()  # numbers of windows that were compiled, or tried
        self.install(compiled=False)

    def keeps_up_with(self, network, dtype):
        """Take over changes of the original; False if that takes a new twin."""
        tensors = _tensors(network)
        same = self._network is network and self._dtype == dtype
        if not same or self._places != _places(tensors):
            return False
        versions = _versions(tensors)
        if versions != self._versions:
            with torch.no_grad():
                for own, original in zip(self._own, tensors, strict=True):
                    if own.data_ptr() != original.data_ptr():
                        own.copy_(original)  # in place, where compiled code reads it
        self._versions = versions
        return True

    def install(self, compiled):
        """Set the functions that do the work, in place of the class's own."""
        self.compiled = compiled
        device = next(self.module.parameters()).device
        for name in ("encode", "decode", "step"):
            function = getattr(type(self.module), name, None)
            if function is None:
                continue
            function = function.__get__(self.module)
            if compiled:
                # Graphs for what is called again and again, with no time between.
                graph = name == "step" and device.type == "cuda"
                function = _compile(function, graph)
            if device.type == "cpu" and name in _SINGLY:
                function = _SINGLY[name](function)
            setattr(self.module, name, function)


def _compile(function, graph):
    if not graph:
        return torch.compile(function, dynamic=False)
    replay = torch.compile(function, dynamic=False, mode="reduce-overhead")
    # The next replay writes its result to the same memory.
    return lambda *arguments: replay(*arguments).clone()


def _encode_singly(encode):
    """Item by item: large activations leave a CPU's caches, and at each layer they
    are given back to the system and taken anew."""

    def encode_items(spectrograms):
        items = [encode(item) for item in spectrograms.split(1)]
        latent = torch.cat([item.latent for item in items])
        return Encoded(latent, tuple(item.skips for item in items), items[0].size)

    return encode_items


def _decode_singly(decode):
    def decode_items(latent, skips, size):
        items = zip(latent.split(1), skips, strict=True)
        return torch.cat([decode(*item, size) for item in items])

    return decode_items


_SINGLY = {"encode": _encode_singly, "decode": _decode_singly}


def _tensors(network):
    return [*network.parameters(), *network.buffers()]


def _places(tensors):
    return [(t.data_ptr(), t.device) for t in tensors]


def _versions(tensors):
    """PyTorch's counts of the changes in place."""
    return [0 if t.is_inference() else t._version for t in tensors]


def _convert(module, dtype):
    kept = getattr(module, "full_precision", False)
    for name, parameter in module.named_parameters(recurse=False):
        tensor = parameter.detach()
        if tensor.dim() == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        tensor = tensor if kept else tensor.to(dtype)
        setattr(module, name, nn.Parameter(tensor, requires_grad=False))
    for child in module.children():
        _convert(child, torch.float32 if kept else dtype)


class InferenceNetworks:
    """The two networks as ``Restorer.restore`` computes with them.

    float32 in and out. A network whose weights are not of the wanted type, because it
    is no twin, computes under autocast.

    Arguments
    ---------
    autoencoder, score_model : torch.nn.Module
        Modules of twins, or networks as they are.
    dtype : torch.dtype
        Of the arithmetic.

    Attributes
    ----------
    compiled : bool
        Whether they are, and want batches of one size.
    """

    def __init__(self, autoencoder, score_model, dtype):
        self.autoencoder = autoencoder
        self.score_model = score_model
        self.dtype = dtype
        self.compiled = False
        self._memo = {}  # time projections; the weights stay while this object is used
        self._autocast = {
            network: dtype != torch.float32 and not _has_weights_of(network, dtype)
            for network in (autoencoder, score_model)
        }

    def predict(self, spectrograms):
        """What is encoded of distorted spectrograms; float32."""
        return self.autoencoder.predictor(spectrograms)

    def encode(self, spectrograms):
        """See ``LatentAutoencoder.encode``; the latent is float32."""
        # Convolutions of CPUs and of tensor cores run about twice as fast so.
        x = spectrograms.contiguous(memory_format=torch.channels_last)
        with self._arithmetic(self.autoencoder, x):
            latent, skips, size = self.autoencoder.encode(x)
        return Encoded(latent.float(), skips, size)

    def decode(self, latent, skips, size):
        """See ``LatentAutoencoder.decode``; float32."""
        latent = latent.contiguous(memory_format=torch.channels_last)
        with self._arithmetic(self.autoencoder, latent):
            return self.autoencoder.decode(latent, skips, size).float()

    def bind(self, y):
        """The score model with what it can do once for a condition done.

        Arguments
        ---------
        y : torch.Tensor
            Condition, (batch, channels, height, width).

        Returns
        -------
        callable
            ``network(x, y, t)`` for this ``y``.
        """
        bound = None
        if hasattr(self.score_model, "bind"):
            with self._arithmetic(self.score_model, y):
                bound = self.score_model.bind(y, self._memo)

        def network(x, y, t):
            with self._arithmetic(self.score_model, x):
                return self.score_model(x, y, t) if bound is None else bound(x, t)

        return network

    def _arithmetic(self, network, like):
        if self._autocast[network]:
            return torch.autocast(like.device.type, self.dtype)
        return contextlib.nullcontext()


def _has_weights_of(network, dtype):
    return any(parameter.dtype == dtype for parameter in network.parameters())


class Twins:
    """Keeps the twins of a restorer's networks from one restoration to the next.

    A copy of this object, and what is read from a pickled one, makes its own.
    """

    def __init__(self):
        self._kept = {}

    def __getstate__(self):
        return {}

    def __setstate__(self, state):
        self._kept = {}

    def networks(self, autoencoder, score_model, dtype):
        """Up-to-date twins, where networks have them.

        Arguments
        ---------
        autoencoder, score_model : torch.nn.Module
            The originals.
        dtype : torch.dtype
            Of the arithmetic.

        Returns
        -------
        InferenceNetworks
        """
        with _LOCK, torch.inference_mode(False):
            return InferenceNetworks(
                self._module("autoencoder", autoencoder, dtype),
                self._module("score_model", score_model, dtype),
                dtype,
            )

    def _module(self, role, network, dtype):
        if not getattr(network, "follows_weights", False):
            return network
        twin = self._kept.get(role)
        if twin is None or not twin.keeps_up_with(network, dtype):
            twin = self._kept[role] = Twin(network, dtype)
        return twin.module

    def compile(self, networks, spectrograms, fallback):
        """Compile the twins and warm them up, once for a number of windows.

        Arguments
        ---------
        networks : InferenceNetworks
            What ``networks`` gave; learns whether it is compiled.
        spectrograms : torch.Tensor
            Any of the shape that will come, (windows, 2, bins, frames), made in
            inference mode like those.
        fallback : bool
            Whether to go on without, with a warning, where it does not work.

        Raises
        ------
        UsageError
            If it does not work and there is no fallback.
        """
        modules = {*networks.autoencoder.modules(), *networks.score_model.modules()}
        windows = len(spectrograms)
        with _LOCK:
            twins = [twin for twin in self._kept.values() if twin.module in modules]
            if not twins:
                name = type(networks.score_model).__name__
                give_way(f"{name} cannot be compiled", "computing as it is", fallback)
            elif not all(windows in twin.warm_for for twin in twins):
                _compile_all(twins, networks, spectrograms, fallback)
            networks.compiled = any(twin.compiled for twin in twins)


def _compile_all(twins, networks, spectrograms, fallback):
    windows = len(spectrograms)
    logger.warning("compiling the networks, %d windows a batch: takes minutes", windows)
    start = time.perf_counter()
    for twin in twins:
        twin.install(compiled=True)
    try:
        _use(networks, spectrograms)
    except Exception as error:  # whatever a compiler, or the lack of one, raises
        for twin in twins:
            twin.install(compiled=False)
        reason = str(error).strip().partition("\n")[0]
        problem = f"compilation does not work here ({reason})"
        give_way(problem, "computing without", fallback)
    else:
        logger.warning("compiled in %.0f s", time.perf_counter() - start)
    for twin in twins:  # not tried again, unless it was an error
        twin.warm_for.add(windows)


@torch.inference_mode()
def _use(networks, spectrograms):
    """Call all there is to compile as a restoration does."""
    y = networks.encode(spectrograms)
    t = torch.ones((), device=spectrograms.device).expand(len(spectrograms))
    networks.bind(y.latent)(y.latent, y.latent, t)
    networks.decode(*y)
