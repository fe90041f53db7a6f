"""The networks as ONNX graphs, and ONNX Runtime in their place.

``write_graphs`` exports encoder, score network and decoder; ``use_graphs`` puts
sessions of ONNX Runtime where a ``Restorer`` has its networks. Spectrogram, levels,
sampler, windows and overlap-add stay what they are: there is no second way of the data.
"""

import contextlib
import hashlib
import importlib.util
import json
import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from .checkpoints import fingerprint
from .errors import WrongUse
from .files import written_whole
from .lobes.autoencoder import Encoded, IdentityAutoencoder

GRAPHS_NOTE = "onnx.json"  # in the model folder: what the graphs belong to
TOLERANCE = 1e-3  # largest error of a graph, in parts of its network's peak
OPTIMIZATIONS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}


# Export ----------------------------------------------------------------------


def write_graphs(restorer, folder, quantize=None):
    """Export a restorer's networks.

    ``encoder.onnx``, ``score_model.onnx`` and ``decoder.onnx``, float32 in and out,
    for the restorer's window and any batch; with ``IdentityAutoencoder`` the score
    model alone. ``onnx.json`` beside them says which weights and window they are of.

    encoder
        spectrogram (batch, 2, bins, frames) to latent (batch, C, height, width) and
        hidden_0, hidden_1, ...
    score_model
        x, y like the latent, t (batch,) to estimate, like the latent: the raw
        network, which an objective turns into a score or a clean latent.
    decoder
        latent, hidden_0, hidden_1, ... to restored, like the spectrogram.

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
    ImportError
        If onnx, onnxscript or onnxruntime is not installed.
    ValueError
        For another ``quantize``.
    RuntimeError
        If a graph does not compute what its network does.
    """
    if quantize not in (None, "int8"):
        raise ValueError(f"quantize must be 'int8' or None, got {quantize!r}")
    _require("onnx", "onnxscript", "onnxruntime")
    folder, hashes = Path(folder), {}
    for name, (network, inputs, outputs) in _graphs(restorer.eval()).items():
        with written_whole(folder / f"{name}.onnx") as temporary, _quiet():
            _export(network, inputs, outputs, temporary)
            _verify(network, inputs, temporary, name)
            if quantize:
                _quantize(temporary)
        hashes[name] = _sha256(folder / f"{name}.onnx")
    note = _identity(restorer) | {"quantize": quantize, "sha256": hashes}
    with written_whole(folder / GRAPHS_NOTE) as temporary:
        temporary.write_text(json.dumps(note, indent=2) + "\n")


class _Call(nn.Module):
    """A function of a network as the module that the exporter asks for."""

    def __init__(self, network, function):
        super().__init__()
        self.network = network  # the owner of the weights that the function uses
        self.function = function

    def forward(self, *tensors):
        return self.function(*tensors)


@torch.no_grad()
def _graphs(restorer):
    """{name: (module, {input name: example}, output names)} for a batch of two."""
    autoencoder, score_model = restorer.autoencoder, restorer.score_model
    spectrogram = restorer.spectrogram(torch.zeros(2, restorer.plan.window))
    latent, hiddens, size = autoencoder.encode(spectrogram)
    latent_and_hiddens = {"latent": latent}
    latent_and_hiddens |= {f"hidden_{i}": hidden for i, hidden in enumerate(hiddens)}

    def encode(spectrogram):
        encoded = autoencoder.encode(spectrogram)
        return encoded.latent, *encoded.hiddens

    def decode(latent, *hiddens):
        return autoencoder.decode(latent, hiddens, size)

    graphs = {
        "encoder": (
            _Call(autoencoder, encode),
            {"spectrogram": spectrogram},
            list(latent_and_hiddens),
        ),
        "score_model": (
            _Call(score_model, score_model),
            {"x": latent, "y": latent, "t": torch.full((2,), 0.5)},
            ["estimate"],
        ),
        "decoder": (_Call(autoencoder, decode), latent_and_hiddens, ["restored"]),
    }
    return {name: graphs[name] for name in _graph_names(autoencoder)}


def _graph_names(autoencoder):
    if isinstance(autoencoder, IdentityAutoencoder):
        return ("score_model",)
    return ("encoder", "score_model", "decoder")


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


def _identity(restorer):
    """What graphs and restorer must agree on."""
    frames = restorer.spectrogram(torch.zeros(1, restorer.plan.window)).shape[-1]
    return {
        "window_frames": frames,
        "autoencoder": fingerprint(restorer.autoencoder),
        "score_model": fingerprint(restorer.score_model),
    }


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _require(*packages):
    missing = [p for p in packages if importlib.util.find_spec(p) is None]
    if missing:
        raise ImportError(
            f'ONNX needs {", ".join(missing)}: pip install "lafufu_sb[onnx]"'
        )


# ONNX Runtime ----------------------------------------------------------------


def use_graphs(restorer, find, threads=None, optimization="all"):
    """Put sessions of ONNX Runtime where a restorer has its networks.

    Arguments
    ---------
    restorer : Restorer
        With the networks of the model folder, on the CPU. Changed in place; its
        precision becomes "fp32", the only one of the graphs.
    find : callable
        ``find(name)`` gives the path of a file of the model folder.
    threads : int, optional
        Of each session, by default as many as PyTorch uses.
    optimization : str
        Of the graphs when they are loaded: "all", "extended", "basic" or "none".

    Raises
    ------
    ImportError
        If onnxruntime is not installed.
    FileNotFoundError
        If the folder has no graphs, or not all of them.
    ValueError
        If the graphs are of other weights or another window, damaged, or an option
        does not exist.
    """
    _require("onnxruntime")
    threads = torch.get_num_threads() if threads is None else threads
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads must be a whole number of at least 1, got {threads}")
    if optimization not in OPTIMIZATIONS:
        raise ValueError(
            f"optimization must be one of {', '.join(OPTIMIZATIONS)}, got "
            f"{optimization!r}"
        )
    autoencoder, score_model = restorer.autoencoder, restorer.score_model
    note = _read_note(find(GRAPHS_NOTE))
    _check_identity(note, _identity(restorer))
    graphs = {}
    for name in _graph_names(autoencoder):
        path = _existing(find(f"{name}.onnx"))
        if _sha256(path) != note["sha256"].get(name):
            raise WrongUse(
                f"{path} is damaged or of another export than {GRAPHS_NOTE}. {_REMEDY}"
            )
        graphs[name] = Graph(path, threads, optimization)
    if "encoder" in graphs:
        restorer.autoencoder = OnnxAutoencoder(
            graphs["encoder"], graphs["decoder"], autoencoder
        )
    restorer.score_model = OnnxScoreModel(graphs["score_model"], score_model.grid)
    restorer.set_precision("fp32")


_REMEDY = "Write the graphs again: `lafufu export FOLDER -o FOLDER --format onnx`"


def _existing(path):
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"no ONNX graphs to run: {path} is missing. Write them with `lafufu "
            "export FOLDER -o FOLDER --format onnx`"
        )
    return Path(path)


def _read_note(path):
    try:
        note = json.loads(_existing(path).read_text())
        note["sha256"].keys()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WrongUse(f"{path} is damaged. {_REMEDY}") from error
    return note


def _check_identity(note, restorer):
    if note.get("window_frames") != restorer["window_frames"]:
        raise WrongUse(
            f"the ONNX graphs are of windows of {note.get('window_frames')} frames, "
            f"window_frames is {restorer['window_frames']}: the window is fixed at "
            f"export. {_REMEDY}"
        )
    for name in ("autoencoder", "score_model"):
        if note.get(name) != restorer[name]:
            raise WrongUse(
                f"the ONNX graphs are stale: the weights of {name} have changed since "
                f"the export (fingerprint {restorer[name]}, expected "
                f"{note.get(name)}). {_REMEDY}"
            )


class Graph:
    """An ONNX file as a function of tensors, on the CPU.

    Arguments
    ---------
    path : Path
        The file.
    threads : int
        Of the session.
    optimization : str
        A key of ``OPTIMIZATIONS``.
    """

    def __init__(self, path, threads, optimization):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = getattr(
            onnxruntime.GraphOptimizationLevel, OPTIMIZATIONS[optimization]
        )
        options.log_severity_level = 3  # errors
        self.name = path.stem
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {node.name: node.shape[1:] for node in self.session.get_inputs()}

    def __call__(self, *tensors):
        """Run.

        Arguments
        ---------
        *tensors : torch.Tensor
            One per input, (batch, ...), in the graph's order.

        Returns
        -------
        list of torch.Tensor
            One per output, float32.

        Raises
        ------
        ValueError
            For other shapes than those that the graph was exported with.
        """
        shapes = [list(tensor.shape[1:]) for tensor in tensors]
        if shapes != list(self.inputs.values()):
            expected = ", ".join(f"{n} {tuple(s)}" for n, s in self.inputs.items())
            raise ValueError(
                f"the ONNX graph {self.name} takes {expected} after the batch, got "
                f"{', '.join(str(tuple(s)) for s in shapes)}"
            )
        arrays = [tensor.detach().float().contiguous().numpy() for tensor in tensors]
        outputs = self.session.run(None, dict(zip(self.inputs, arrays, strict=True)))
        return [torch.from_numpy(output) for output in outputs]


class OnnxAutoencoder(nn.Module):
    """Encoder and decoder graph with the signatures of ``LatentAutoencoder``.

    Arguments
    ---------
    encoder, decoder : Graph
        As ``write_graphs`` writes them.
    like : LatentAutoencoder
        The autoencoder that they were exported from.
    """

    def __init__(self, encoder, decoder, like):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.reduction = like.reduction
        self.latent_channels = like.latent_channels

    def encode(self, spectrograms):
        """(batch, 2, bins, frames) to ``Encoded``; sizes are those of the export."""
        latent, *hiddens = self.encoder(spectrograms)
        return Encoded(latent, tuple(hiddens), tuple(spectrograms.shape[-2:]))

    def decode(self, latent, hiddens=(), size=None):
        """Latent and hiddens to (batch, 2, bins, frames), the size of the export."""
        return self.decoder(latent, *hiddens)[0]


class OnnxScoreModel(nn.Module):
    """Score graph with the signature of ``NCSNpp``.

    Arguments
    ---------
    graph : Graph
        As ``write_graphs`` writes it.
    grid : int
        That of the network that it was exported from.
    """

    precision = "fp32"

    def __init__(self, graph, grid):
        super().__init__()
        self.graph, self.grid = graph, grid

    def forward(self, x, y, t):
        """(batch, channels, freq, frames) twice and (batch,) to the shape of ``x``."""
        return self.graph(x, y, t)[0]
