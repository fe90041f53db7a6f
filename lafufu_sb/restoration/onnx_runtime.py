"""ONNX Runtime sessions in place of a restorer's networks.

Spectrogram, levels, sampler, windows and overlap-add are those of the restorer: there
is no second inference path. ``training.onnx_export`` writes the graphs.
"""

import importlib.util
import json
from pathlib import Path

import torch

from lafufu_sb.errors import MissingPackageError, UsageError
from lafufu_sb.lobes.fingerprint import fingerprint
from lafufu_sb.lobes.pre_enhancer import PreEnhancer
from lafufu_sb.lobes.representations import Encoded, Representation
from lafufu_sb.lobes.score_network import ScoreNetwork
from lafufu_sb.restoration.onnx_files import read_graph, refuse_foreign_parts

GRAPHS_NOTE = "onnx.json"  # in the model folder: what the graphs belong to
_LONGEST_NOTE = 10_000  # characters
PARTS = ("representation", "pre_enhancer", "score_model")
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
        With the networks of the model folder, on the CPU. Its networks are replaced in
        place. Graphs compute in "fp32", which its settings say afterwards.
    find : callable
        ``find(name)`` gives the path of a file of the model folder.
    threads : int, optional
        Of each session, by default as many as PyTorch uses.
    optimization : str
        Of the graphs when they are loaded: "all", "extended", "basic" or "none".

    Raises
    ------
    MissingPackageError
        If onnxruntime is not installed.
    FileNotFoundError
        If the folder has no graphs, or not all of them.
    UsageError
        If the graphs are of other weights or another window, damaged, or an option
        does not exist.
    """
    require("onnxruntime", "onnx")
    threads = torch.get_num_threads() if threads is None else threads
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise UsageError(f"threads must be a whole number of at least 1, got {threads}")
    if optimization not in OPTIMIZATIONS:
        raise UsageError(
            f"optimization must be one of {', '.join(OPTIMIZATIONS)}, got "
            f"{optimization!r}"
        )
    note = _read_note(find(GRAPHS_NOTE))
    _check_identity(note, identity(restorer))
    graphs = {}
    for name in graph_names(restorer):
        path = _existing(find(f"{name}.onnx"))
        graphs[name] = Graph(path, threads, optimization, note["sha256"].get(name, ""))
    representation, grid = restorer.representation, restorer.score_model.grid
    if "encoder" in graphs:
        restorer.representation = OnnxRepresentation(
            graphs["encoder"], graphs["decoder"], representation
        )
    if "pre_enhancer" in graphs:
        restorer.pre_enhancer = OnnxPreEnhancer(graphs["pre_enhancer"])
    restorer.score_model = OnnxScoreModel(graphs["score_model"], grid)
    precision = restorer.score_model.fixed_precision
    restorer.settings = restorer.settings.changed(precision=precision)


def graph_names(restorer):
    """Names of the graphs that stand for a restorer's networks.

    Raises
    ------
    UsageError
        For networks that cannot be graphs.
    """
    names = []
    if isinstance(restorer.pre_enhancer, PreEnhancer):  # others see whole signals
        names.append("pre_enhancer")
    if any(True for _ in restorer.representation.parameters()):
        return (*names, "encoder", "score_model", "decoder")
    return (*names, "score_model")


def identity(restorer):
    """What graphs and restorer must agree on: a dict for ``onnx.json``."""
    features = restorer.representation.features(torch.zeros(1, restorer.plan.window))
    parts = {name: getattr(restorer, name) for name in PARTS}
    marks = {n: fingerprint(part) for n, part in parts.items() if part is not None}
    return {"window_frames": features.shape[-1]} | marks


def require(*packages):
    """Raise MissingPackageError if one of the packages is not installed."""
    missing = [p for p in packages if importlib.util.find_spec(p) is None]
    if missing:
        raise MissingPackageError(
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
        with open(_existing(path), encoding="utf-8") as file:
            note = json.loads(file.read(_LONGEST_NOTE))
        note["sha256"].keys()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged. {_REMEDY}") from error
    return note


def _check_identity(note, restorer):
    if note.get("window_frames") != restorer["window_frames"]:
        raise UsageError(
            f"the ONNX graphs are of windows of {note.get('window_frames')} frames, "
            f"window_frames is {restorer['window_frames']}: the window is fixed at "
            f"export. {_REMEDY}"
        )
    for name in PARTS:
        if note.get(name) != restorer.get(name):
            raise UsageError(
                f"the ONNX graphs are stale: the weights of {name} have changed since "
                f"the export (fingerprint {restorer.get(name)}, expected "
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
    sha256 : str, optional
        Hash that the file must have.

    Raises
    ------
    UsageError
        If the file is another one, or refers to other files or libraries.
    """

    def __init__(self, path, threads, optimization, sha256=None):
        import onnxruntime

        content, found = read_graph(path)
        if sha256 not in (None, found):
            raise UsageError(
                f"{path} is damaged or of another export than {GRAPHS_NOTE}. {_REMEDY}"
            )
        refuse_foreign_parts(content, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = getattr(
            onnxruntime.GraphOptimizationLevel, OPTIMIZATIONS[optimization]
        )
        options.log_severity_level = 3  # errors
        self.name = path.stem
        try:
            self.session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of the runtime's own classes
            raise UsageError(f"{path} is no graph that runs ({error})") from error
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
        UsageError
            For other shapes than those that the graph was exported with.
        """
        shapes = [list(tensor.shape[1:]) for tensor in tensors]
        if shapes != list(self.inputs.values()):
            expected = ", ".join(f"{n} {tuple(s)}" for n, s in self.inputs.items())
            raise UsageError(
                f"the ONNX graph {self.name} takes {expected} after the batch, got "
                f"{', '.join(str(tuple(s)) for s in shapes)}"
            )
        arrays = [tensor.detach().float().contiguous().numpy() for tensor in tensors]
        try:
            named = dict(zip(self.inputs, arrays, strict=True))
            outputs = self.session.run(None, named)
        except Exception as error:  # of the runtime's own classes
            raise UsageError(f"the ONNX graph {self.name} fails ({error})") from error
        return [torch.from_numpy(output) for output in outputs]


class OnnxRepresentation(Representation):
    """Encoder and decoder graphs around the features of a representation.

    The graphs include the latent scale.

    Arguments
    ---------
    encoder, decoder : Graph
        As ``write_graphs`` writes them.
    like : Representation
        The representation that they were exported from.
    """

    def __init__(self, encoder, decoder, like):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.hop_length, self.grid = like.hop_length, like.grid
        self.latent_channels = like.latent_channels
        self.phase_turns = like.phase_turns
        self.features, self.waveforms = like.features, like.waveforms
        self.samples, self.turn = like.samples, like.turn
        self.join, self.joined_inputs = like.join, like.joined_inputs

    def encode_features(self, features):
        """(batch, 2, bins, frames) to ``Encoded``; sizes are those of the export."""
        latent, *skips = self.encoder(features)
        return Encoded(latent, tuple(skips), tuple(features.shape[-2:]))

    def decode_features(self, latent, skips=(), size=None):
        """Latent and skips to features, the size of the export."""
        return self.decoder(latent, *skips)[0]


class OnnxPreEnhancer(PreEnhancer):
    """A pre-enhancer's graph.

    Arguments
    ---------
    graph : Graph
        As ``write_graphs`` writes it.
    """

    def __init__(self, graph):
        super().__init__()
        self.graph = graph

    def forward(self, features):
        """Features to features, the size of the export."""
        return self.graph(features)[0]


class OnnxScoreModel(ScoreNetwork):
    """A score network's graph.

    Arguments
    ---------
    graph : Graph
        As ``write_graphs`` writes it.
    grid : int
        That of the network that it was exported from.
    """

    fixed_precision = "fp32"

    def __init__(self, graph, grid):
        super().__init__()
        self.graph, self.grid = graph, grid

    def forward(self, x_t, condition, t):
        """See ``ScoreNetwork``."""
        inputs = (x_t, t) if condition is None else (x_t, condition, t)
        return self.graph(*inputs)[0]


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
    UsageError
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
        raise UsageError(
            f"backend 'onnx' computes on the CPU, not on {device}: leave the device "
            "out, or use backend 'torch'"
        )
    return (run_opts or {}) | {"device": "cpu"}
