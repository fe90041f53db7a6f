"""Copies of networks in the form that computes fastest without gradients."""

import contextlib
import copy
import logging
import time

import torch
from torch import nn

from lafufu_sb.lobes.representations import Encoded
from lafufu_sb.restoration.devices import fall_back

logger = logging.getLogger(__name__)


def inference_copy(network, dtype):
    """Copy a network for inference.

    Arguments
    ---------
    network : torch.nn.Module
        The original, on the device that computes. Its tensors are shared where they
        need no conversion, so that a copy in float32 costs little memory.
    dtype : torch.dtype
        Of the weights, if the network says ``computes_in_weight_dtype``, but for
        modules that say ``full_precision``. Four-dimensional weights then become
        channels_last.

    Returns
    -------
    torch.nn.Module
        In evaluation mode. A network without parameters, such as an ONNX session, is
        returned itself.

    Example
    -------
    >>> from lafufu_sb.lobes.ncsnpp import NCSNpp
    >>> network = NCSNpp(data_channels=4, base_channels=8, multipliers=(1, 2))
    >>> inference_copy(network, torch.bfloat16).stem.weight.dtype
    torch.bfloat16
    """
    tensors = [*network.parameters(), *network.buffers()]
    if not any(True for _ in network.parameters()):
        return network.eval()
    copied = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors}).eval()
    if getattr(network, "computes_in_weight_dtype", False):
        _convert(copied, dtype)
    return copied


def _convert(module, dtype):
    if getattr(module, "full_precision", False):
        dtype = torch.float32
    for name, parameter in module.named_parameters(recurse=False):
        tensor = parameter.detach()
        if tensor.dim() == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        setattr(module, name, nn.Parameter(tensor.to(dtype), requires_grad=False))
    for child in module.children():
        _convert(child, dtype)


class InferenceNetworks:
    """The networks of a restorer as ``Restorer.restore`` computes with them.

    float32 in and out. A network that does not compute in the dtype of its weights runs
    under autocast, a pre-enhancer in float32.

    Arguments
    ---------
    representation : Representation
        The original; copied here, like the others.
    score_model : ScoreNetwork
        The original.
    pre_enhancer : PreEnhancer or None
        The original.
    dtype : torch.dtype
        Of the arithmetic.

    Attributes
    ----------
    compiled : bool
        Whether they are, and want batches of one size.
    """

    def __init__(self, representation, score_model, pre_enhancer, dtype):
        with torch.inference_mode(False):
            self.representation = inference_copy(representation, dtype)
            self.score_model = inference_copy(score_model, dtype)
            self.pre_enhancer = pre_enhancer and inference_copy(
                pre_enhancer, torch.float32
            )
        self.dtype = dtype
        self.compiled = False
        self.tried = set()  # batch sizes that compilation was tried with
        self._memo = {}  # of the score network; the weights of the copies never change
        self._one_by_one = representation.latent_scale.device.type == "cpu"
        self._autocast = {
            network: dtype != torch.float32
            and not getattr(network, "computes_in_weight_dtype", False)
            for network in (self.representation, self.score_model)
        }

    def pre_enhance(self, features):
        """Features of the pre-enhancer; float32."""
        with torch.autocast(features.device.type, enabled=False):
            return self.pre_enhancer(features)

    def encode(self, features):
        """See ``Representation.encode``; the latent is float32.

        Item by item on a CPU: large activations leave its caches, and each layer gives
        them back to the system and takes them anew.
        """
        x = _fast_layout(features)
        with self._arithmetic(self.representation, x):
            if not self._one_by_one:
                latent, skips, size = self.representation.encode(x)
            else:
                items = [self.representation.encode(item) for item in x.split(1)]
                latent = torch.cat([item.latent for item in items])
                pairs = zip(*(item.skips for item in items), strict=True)
                skips = tuple(torch.cat(pair) for pair in pairs)
                size = items[0].size
        return Encoded(latent.float(), skips, size)

    def decode(self, latent, skips, size):
        """See ``Representation.decode``; float32."""
        latent = _fast_layout(latent)
        with self._arithmetic(self.representation, latent):
            if not self._one_by_one:
                return self.representation.decode(latent, skips, size).float()
            split = [skip.split(1) for skip in skips]
            items = [
                self.representation.decode(item, tuple(s[i] for s in split), size)
                for i, item in enumerate(latent.split(1))
            ]
            return torch.cat(items).float()

    def bind(self, condition, like):
        """The score network with its condition bound, once per window.

        Arguments
        ---------
        condition : torch.Tensor or None
            See ``ScoreNetwork.bind``.
        like : torch.Tensor
            On the device that computes.

        Returns
        -------
        callable
            ``network(x_t, t)``.
        """
        with self._arithmetic(self.score_model, like):
            bound = self.score_model.bind(condition, self._memo)

        def network(x_t, t):
            with self._arithmetic(self.score_model, x_t):
                return bound(x_t, t)

        return network

    def compile(self, features, names, fallback):
        """Compile the copies and run them once, for one batch size.

        Arguments
        ---------
        features : torch.Tensor
            Zeros of the shape that will come, made in inference mode like the rest.
        names : int
            Encoded inputs in the condition.
        fallback : bool
            Whether to go on without compilation, with a warning, where it fails.

        Raises
        ------
        UsageError
            If it fails and there is no fallback.
        """
        if len(features) in self.tried:
            return
        functions = _compilable(self.representation, self.score_model)
        if not functions:
            name = type(self.score_model).__name__
            fall_back(f"{name} cannot be compiled", "computing without", fallback)
            return
        logger.warning(
            "compiling the networks for %d windows a batch: takes minutes",
            len(features),
        )
        start = time.perf_counter()
        for module, name in functions:
            setattr(module, name, _compiled(getattr(module, name), name, features))
        try:
            self._run_once(features, names)
        except Exception as error:  # whatever a compiler, or the lack of one, raises
            for module, name in functions:
                delattr(module, name)  # that of the class shows again
            reason = str(error).strip().partition("\n")[0]
            problem = f"compilation does not work here ({reason})"
            fall_back(problem, "computing without", fallback)
        else:
            self.compiled = True
            logger.warning("compiled in %.0f s", time.perf_counter() - start)
        self.tried.add(len(features))  # not tried again, unless it was an error

    @torch.inference_mode()
    def _run_once(self, features, names):
        """Call everything there is to compile as a restoration does."""
        latent, skips, size = self.encode(features)
        t = torch.ones((), device=features.device).expand(len(features))
        condition = torch.cat([latent] * names, dim=1) if names else None
        self.bind(condition, latent)(latent, t)
        self.decode(latent, skips, size)

    def _arithmetic(self, network, like):
        if self._autocast[network]:
            return torch.autocast(like.device.type, self.dtype)
        return contextlib.nullcontext()


def _fast_layout(tensor):
    # Convolutions of CPUs and of tensor cores run about twice as fast so.
    if tensor.dim() != 4:
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)


def _compilable(representation, score_model):
    """(module, name) of the functions that a network wants compiled."""
    pairs = []
    for network in (representation, score_model):
        names = getattr(network, "compiled_functions", ())
        pairs += [(network, name) for name in names]
    return pairs


def _compiled(function, name, like):
    if name != "step" or not like.is_cuda:
        return torch.compile(function, dynamic=False)
    # A CUDA graph for what is called again and again, with no time between.
    replay = torch.compile(function, dynamic=False, mode="reduce-overhead")
    # The next replay writes its result to the same memory.
    return lambda *arguments: replay(*arguments).clone()
