"""The networks as ONNX graphs.

``restoration.onnx_runtime`` runs them.
"""

import contextlib
import json
import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole
from lafufu_sb.restoration.onnx_files import read_graph
from lafufu_sb.restoration.onnx_runtime import (
    GRAPHS_NOTE,
    Graph,
    graph_names,
    identity,
    require,
)

TOLERANCE = 1e-3  # largest error of a graph, in parts of its network's peak


def write_graphs(restorer, folder, quantize=None):
    """Export a restorer's networks.

    ``encoder.onnx``, ``score_model.onnx`` and ``decoder.onnx``, float32 in and out,
    for the restorer's window and any batch. A representation without weights has the
    score model alone; a pre-enhancer adds ``pre_enhancer.onnx``. ``onnx.json`` says
    which weights and window they belong to.

    pre_enhancer
        distorted to enhanced, features.
    encoder
        features (batch, 2, bins, frames) to latent (batch, C, height, width) and
        skip_0, skip_1, ...
    score_model
        x_t like the latent, condition (batch, names * C, height, width) unless there
        is none, t (batch,) to estimate, like the latent: the raw network, which an
        objective turns into a score or a clean latent.
    decoder
        latent, skip_0, skip_1, ... to restored, features.

    Arguments
    ---------
    restorer : Restorer
        On the CPU; is put into evaluation mode.
    folder : str or Path
        An existing folder.
    quantize : str, optional
        "int8": weights in eight bits, activations quantised as they come (docs/onnx.md
        says what that does to speed and quality).

    Raises
    ------
    MissingPackageError
        If onnx, onnxscript or onnxruntime is not installed.
    UsageError
        For another ``quantize``.
    RuntimeError
        If a graph does not compute what its network does.
    """
    if quantize not in (None, "int8"):
        raise UsageError(f"quantize must be 'int8' or None, got {quantize!r}")
    require("onnx", "onnxscript", "onnxruntime")
    folder, hashes = Path(folder), {}
    for name, (network, inputs, outputs) in _graphs(restorer.eval()).items():
        with written_whole(folder / f"{name}.onnx") as temporary, _quiet():
            _export(network, inputs, outputs, temporary)
            _verify(network, inputs, temporary, name)
            if quantize:
                _quantize(temporary)
        _, hashes[name] = read_graph(folder / f"{name}.onnx")
    note = identity(restorer) | {"quantize": quantize, "sha256": hashes}
    with written_whole(folder / GRAPHS_NOTE) as temporary:
        temporary.write_text(json.dumps(note, indent=2) + "\n")


class _Call(nn.Module):
    """A function of a network as a module, which the exporter needs."""

    def __init__(self, network, function):
        super().__init__()
        self.network = network  # the owner of the weights that the function uses
        self.function = function

    def forward(self, *tensors):
        return self.function(*tensors)


@torch.no_grad()
def _graphs(restorer):
    """{name: (module, {input name: example}, output names)} for a batch of two."""
    representation, score_model = restorer.representation, restorer.score_model
    features = representation.features(torch.zeros(2, restorer.plan.window))
    encoded = representation.encode(features)
    latent, skips, size = representation.join([encoded] * representation.joined_inputs)
    latent_and_skips = {"latent": latent}
    latent_and_skips |= {f"skip_{i}": skip for i, skip in enumerate(skips)}
    names = len(restorer.conditioning.condition)
    state = {"x_t": latent}
    if names:
        state["condition"] = torch.cat([latent] * names, dim=1)

    def encode(features):
        encoded = representation.encode(features)
        return encoded.latent, *encoded.skips

    def decode(latent, *skips):
        return representation.decode(latent, skips, size)

    def step(x_t, *rest):
        return score_model(x_t, *(rest if names else (None, *rest)))

    enhance = restorer.pre_enhancer
    graphs = {
        "pre_enhancer": (
            _Call(enhance, enhance),
            {"distorted": features},
            ["enhanced"],
        ),
        "encoder": (
            _Call(representation, encode),
            {"features": features},
            list(latent_and_skips),
        ),
        "score_model": (
            _Call(score_model, step),
            state | {"t": torch.full((2,), 0.5)},
            ["estimate"],
        ),
        "decoder": (_Call(representation, decode), latent_and_skips, ["restored"]),
    }
    return {name: graphs[name] for name in graph_names(restorer)}


def _export(network, inputs, outputs, path):
    batch = {0: torch.export.Dim("batch", min=1)}
    torch.onnx.export(
        network,
        # One tensor given twice would become one input for both.
        tuple(tensor.clone() for tensor in inputs.values()),
        str(path),
        input_names=list(inputs),
        output_names=outputs,
        dynamic_shapes=((batch,) * len(inputs),),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


@torch.no_grad()
def _verify(network, inputs, path, name):
    generator = torch.Generator().manual_seed(0)
    tensors = [  # for t in (0, 1) too; a batch of one, the exporter saw two
        torch.rand(tensor[:1].shape, generator=generator).clamp(min=0.1)
        for tensor in inputs.values()
    ]
    outputs = Graph(path, torch.get_num_threads(), "all")(*tensors)
    expected = network(*tensors)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for output, right in zip(outputs, expected, strict=True):
        peak = right.abs().max().clamp(min=torch.finfo(right.dtype).tiny)
        error = float((output - right).abs().max() / peak)
        if not error < TOLERANCE:
            raise RuntimeError(
                f"the ONNX graph {name} is off by {error:.1e} of its network's peak: "
                "this PyTorch does not export it as it is, try another version"
            )


def _quantize(path):
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(path)
    # The exporter leaves shapes of weights here that it has transposed since, which
    # the quantiser refuses; it finds out all shapes by itself.
    del graph.graph.value_info[:]
    # ONNX Runtime's integer convolution takes unsigned weights only.
    quantize_dynamic(graph, path, weight_type=QuantType.QUInt8)


@contextlib.contextmanager
def _quiet():
    """Keep the exporter's notes on packages that nobody here needs to itself."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
