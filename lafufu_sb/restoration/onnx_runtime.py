"""ONNX Runtime in the place of a restorer's networks.

``use_graphs`` puts sessions of ONNX Runtime where a ``Restorer`` has its networks.
Spectrogram, levels, sampler, windows and overlap-add stay what they are: there is no
second way of the data. ``onnx_export`` writes the graphs.
"""

import hashlib
import importlib.util
import json
from pathlib import Path

import torch
from torch import nn

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.weights import fingerprint
from lafufu_sb.lobes.autoencoder import Encoded, IdentityAutoencoder

GRAPHS_NOTE = "onnx.json"  # in the model folder: what the graphs belong to
OPTIMIZATIONS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}


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
    require("onnxruntime")
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
    _check_identity(note, identity(restorer))
    graphs = {}
    for name in graph_names(autoencoder):
        path = _existing(find(f"{name}.onnx"))
        if sha256_of(path) != note["sha256"].get(name):
            raise UsageError(
                f"{path} is damaged or of another export than {GRAPHS_NOTE}. {_REMEDY}"
            )
        graphs[name] = Graph(path, threads, optimization)
    predictor = autoencoder.predictor
    if "encoder" in graphs:
        restorer.autoencoder = OnnxAutoencoder(
            graphs["encoder"], graphs["decoder"], autoencoder
        )
    if "predictor" in graphs:
        predictor = OnnxPredictor(graphs["predictor"])
    restorer.autoencoder.predictor = predictor
    restorer.score_model = OnnxScoreModel(graphs["score_model"], score_model.grid)
    restorer.set_precision("fp32")


def graph_names(autoencoder):
    """Names of the graphs that stand for a model, by its autoencoder."""
    names = ["score_model"]
    if not isinstance(autoencoder, IdentityAutoencoder):
        names = ["encoder", *names, "decoder"]
    if autoencoder.predicts:
        names = ["predictor", *names]
    return tuple(names)


def identity(restorer):
    """What graphs and restorer must agree on: a dict for ``onnx.json``."""
    frames = restorer.spectrogram(torch.zeros(1, restorer.plan.window)).shape[-1]
    return {
        "window_frames": frames,
        "autoencoder": fingerprint(restorer.autoencoder),
        "score_model": fingerprint(restorer.score_model),
    }


def sha256_of(path):
    """Hexadecimal hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require(*packages):
    """ImportError that says what to install, if one of them is missing."""
    missing = [p for p in packages if importlib.util.find_spec(p) is None]
    if missing:
        raise ImportError(
            f'ONNX needs {", ".join(missing)}: pip install "lafufu_sb[onnx]"'
        )


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
        raise UsageError(f"{path} is damaged. {_REMEDY}") from error
    return note


def _check_identity(note, restorer):
    if note.get("window_frames") != restorer["window_frames"]:
        raise UsageError(
            f"the ONNX graphs are of windows of {note.get('window_frames')} frames, "
            f"window_frames is {restorer['window_frames']}: the window is fixed at "
            f"export. {_REMEDY}"
        )
    for name in ("autoencoder", "score_model"):
        if note.get(name) != restorer[name]:
            raise UsageError(
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
        latent, *skips = self.encoder(spectrograms)
        return Encoded(latent, tuple(skips), tuple(spectrograms.shape[-2:]))

    def decode(self, latent, skips=(), size=None):
        """Latent and skips to (batch, 2, bins, frames), the size of the export."""
        return self.decoder(latent, *skips)[0]


class OnnxPredictor(nn.Module):
    """Predictor graph with the signature of ``GainPredictor``.

    Arguments
    ---------
    graph : Graph
        As ``write_graphs`` writes it.
    """

    def __init__(self, graph):
        super().__init__()
        self.graph = graph

    def forward(self, spectrograms):
        """(batch, 2, bins, frames), the size of the export, to the same."""
        return self.graph(spectrograms)[0]


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


def cpu_options(run_opts):
    """SpeechBrain's run options, whose device becomes the one that graphs compute on.

    Arguments
    ---------
    run_opts : dict, RunOptions or None
        As ``from_hparams`` takes them.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If they name another device.

    Example
    -------
    >>> cpu_options(None)
    {'device': 'cpu'}
    """
    if run_opts is not None and not isinstance(run_opts, dict):  # RunOptions
        run_opts = {name: run_opts[name] for name in run_opts.overridden_args}
    device = (run_opts or {}).get("device") or "cpu"
    if torch.device(device).type != "cpu":
        raise ValueError(
            f"backend 'onnx' computes on the CPU, not on {device}: leave the device "
            "out, or use backend 'torch'"
        )
    return (run_opts or {}) | {"device": "cpu"}
