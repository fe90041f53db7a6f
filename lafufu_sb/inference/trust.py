"""Models without trust: what a YAML may build, and building exactly that.

HyperPyYAML can run any program that a YAML names, so it reads trusted files only.
Without trust the package parses the YAML once, checks every node of it, resolves the
references of these nodes and builds the parts of a model from them. No text is read
twice.
"""

import contextlib
import functools
import inspect
import pydoc
import re

import torch
import yaml

from lafufu_sb.diffusion.objectives import Objective
from lafufu_sb.diffusion.processes import Process
from lafufu_sb.errors import UsageError
from lafufu_sb.inference.folder import LOADABLES
from lafufu_sb.inference.references import evaluate, number, whole_path
from lafufu_sb.inference.yaml_nodes import (
    MAPPING,
    SCALARS,
    SEQUENCE,
    NoModelError,
    compose,
    nodes_of,
    plain_value,
    with_overrides,
)
from lafufu_sb.lobes.pre_enhancer import PreEnhancer, SignalPreEnhancer
from lafufu_sb.lobes.representations import Representation
from lafufu_sb.lobes.score_network import ScoreNetwork
from lafufu_sb.lobes.spectrogram import CompressedSpectrogram
from lafufu_sb.restoration.restorer import Restorer

# Where the classes are defined that a YAML may build.
PACKAGES = ("lafufu_sb.lobes.", "lafufu_sb.diffusion.")
PACKAGES += ("lafufu_sb.restoration.restorer.",)
ROLES = {  # arguments of a restorer that are objects
    "representation": Representation,
    "pre_enhancer": (PreEnhancer, SignalPreEnhancer, type(None)),
    "score_model": ScoreNetwork,
    "process": Process,
    "objective": Objective,
}
KINDS = (CompressedSpectrogram, Restorer, Representation, PreEnhancer)
KINDS += (SignalPreEnhancer, ScoreNetwork, Process, Objective)
MAX_EXPANDED = 20_000  # values, with those that references and aliases repeat
_NEW = "!new:"
_REFERENCES = ("!ref", "!copy")
_PRETRAINER = f"{_NEW}speechbrain.utils.parameter_transfer.Pretrainer"
_HOOK = "!name:lafufu_sb.inference.weights.load_weights"


class UntrustedModel:
    """A model as its YAML describes it, checked; built without running its code.

    Allowed are plain values, ``!ref`` and ``!copy`` of paths and arithmetic, and
    ``!new:`` of the parts of a method that the package defines.

    Arguments
    ---------
    content : bytes
        The YAML.
    name : str
        Of the file, for messages.
    hidden : sequence of str
        Keys that ``build`` leaves out; references may use them.
    overrides : dict or str
        The caller's changes.
    overrides_must_match : bool
        Whether changes of keys that do not exist are refused.

    Raises
    ------
    NoModelError, UsageError
        Names the first thing that is not allowed, and its line.

    Example
    -------
    >>> UntrustedModel(b"restorer: !apply:os.system [ls]", "a.yaml")
    Traceback (most recent call last):
    ...
    lafufu_sb.errors.UsageError: a.yaml asks for !apply:os.system (line 1), ...
    """

    def __init__(
        self, content, name, hidden=(), overrides=None, overrides_must_match=True
    ):
        self.name, self.hidden = name, hidden
        self.root = compose(content, name)
        with_overrides(self.root, overrides, overrides_must_match)
        self._pretrainer = self._take("pretrainer")
        for node in nodes_of(self.root):
            self._check(node)

    def parts(self):
        """The parts of the restorer that have weights, by name, without their memory.

        Returns
        -------
        dict of str to torch.nn.Module
            On the meta device.

        Raises
        ------
        NoModelError, UsageError
            If the YAML describes no restorer of this version.
        """
        builder = Builder(self.root)
        restorer = builder.node_of(["restorer"])
        if restorer.tag != f"{_NEW}{Restorer.__module__}.{Restorer.__name__}":
            raise NoModelError(f"its restorer is no {Restorer.__name__}")
        with torch.device("meta"):
            arguments, options = builder.arguments(restorer)
            if arguments:
                raise NoModelError("a restorer has arguments by name only")
        for role, kind in ROLES.items():
            if not isinstance(options.get(role), kind):
                raise NoModelError(f"{role} of its restorer is none")
        parts = {name: options.get(name) for name in LOADABLES}
        parts = {n: p for n, p in parts.items() if p is not None and p.state_dict()}
        self._check_pretrainer(parts)
        return parts

    def build(self):
        """Build everything.

        Returns
        -------
        dict
            Values of all keys; ``modules`` holds the restorer alone.

        Raises
        ------
        NoModelError, UsageError
            If a value does not fit, or an object is built that is no part of the
            restorer.
        """
        builder = Builder(self.root)
        restorer = builder.build(builder.node_of(["restorer"]))
        for node in nodes_of(self.root):
            if node.tag.startswith(_NEW) and id(node) not in builder.built:
                _refuse(
                    self.name, f"{node.tag}, which the restorer does not use,", node
                )
        values = {key: builder.build(builder.node_of([key])) for key in builder.keys}
        if values.get("modules") != {"restorer": restorer}:
            raise NoModelError("its modules must be the restorer and nothing else")
        mark = builder.keys.get("representation_fingerprint")
        if mark is not None:  # digits alone are a string too
            values["representation_fingerprint"] = mark.value
        return {key: value for key, value in values.items() if key not in self.hidden}

    def _take(self, name):
        """Remove a top-level key; its node, or None."""
        found = [pair for pair in self.root.value if pair[0].value == name]
        self.root.value = [pair for pair in self.root.value if pair[0].value != name]
        return found[0][1] if found else None

    def _check(self, node):
        kind = type(node)
        if node.tag.startswith(_NEW):
            if _part(node.tag.removeprefix(_NEW)) is None:
                _refuse(self.name, node.tag, node)
            fits = kind is not yaml.ScalarNode or not node.value
        elif kind is yaml.ScalarNode:
            fits = node.tag in (*SCALARS, *_REFERENCES)
        else:
            fits = node.tag == (MAPPING if kind is yaml.MappingNode else SEQUENCE)
        if not fits:
            _refuse(self.name, node.tag, node)
        # HyperPyYAML takes such a text for a tuple, and reads it as YAML again.
        if kind is yaml.ScalarNode and re.fullmatch(r"(?s)\(.*\)", node.value.strip()):
            if node.tag not in _REFERENCES:
                _refuse(self.name, repr(node.value), node)

    def _check_pretrainer(self, parts):
        """Earlier versions wrote a pretrainer. It is not obeyed, and must be theirs."""
        if self._pretrainer is None:
            return
        wanted = {
            "loadables": {name: ("!ref", f"<{name}>") for name in parts},
            "custom_hooks": {name: (_HOOK, "") for name in parts},
        }
        found = _plain_tree(self._pretrainer)
        if self._pretrainer.tag != _PRETRAINER or found != wanted:
            raise UsageError(
                f"{self.name}: its pretrainer does not load exactly the weights of "
                f"{', '.join(parts)}, each by load_weights. Models need no pretrainer: "
                "remove it, or export the model again"
            )


def _plain_tree(node):
    if isinstance(node, yaml.MappingNode):
        return {key.value: _plain_tree(value) for key, value in node.value}
    if isinstance(node, yaml.ScalarNode):
        return node.tag, node.value
    return None


@functools.cache
def _part(target):
    """The class, if it is a part of a method that the package defines, else None."""
    if not target.startswith(PACKAGES):
        return None
    with contextlib.suppress(pydoc.ErrorDuringImport):
        found = pydoc.locate(target)
        # A path may lead out of a package, through what one of its modules imports.
        if inspect.isclass(found) and f"{found.__module__}.".startswith(PACKAGES):
            return found if issubclass(found, KINDS) else None
    return None


def _refuse(name, what, node):
    what = what.replace("tag:yaml.org,2002:", "!!")
    raise UsageError(
        f"{name} asks for {what} (line {node.start_mark.line + 1}), which no model of "
        "this package needs and which may run any program here. If you trust those who "
        "made it, load it with trust=True (--trust); see docs/security.md"
    )


class Builder:
    """Builds values from checked nodes: each node once, references the same object."""

    def __init__(self, root):
        self.keys = {key.value: node for key, node in root.value}
        self.built = set()  # ids of nodes that were built
        self._memo = {}  # id of node: value and expanded size
        self._open = set()

    def node_of(self, path):
        """The node that a path of keys leads to."""
        node = self.keys.get(path[0])
        for part in path[1:]:
            if isinstance(node, yaml.MappingNode):
                node = {key.value: value for key, value in node.value}.get(part)
            else:
                node = None
        if node is None:
            shown = path[0] + "".join(f"[{part}]" for part in path[1:])
            raise NoModelError(f"it has no {shown}")
        return node

    def build(self, node):
        """Value of a node."""
        return self._sized(node, self._memo)[0]

    def _sized(self, node, memo):
        """Value of a node, and its size with all repetitions written out."""
        if id(node) in memo:
            return memo[id(node)]
        where = f"line {node.start_mark.line + 1}"
        if id(node) in self._open:
            raise NoModelError(f"{where}: a value contains itself")
        self._open.add(id(node))
        try:
            found = self._fresh(node, memo)
        except UsageError as error:
            raise NoModelError(f"{where}: {error}") from error
        self._open.remove(id(node))
        self.built.add(id(node))
        memo[id(node)] = found
        return found

    def _fresh(self, node, memo):
        if node.tag in _REFERENCES:
            return self._referred(node)
        if isinstance(node, yaml.ScalarNode) and not node.tag.startswith(_NEW):
            value = plain_value(node)
            if isinstance(value, int | float) and not isinstance(value, bool):
                number(value)
            return value, 1
        arguments, options, size = self._children(node, memo)
        if node.tag == MAPPING:
            return options, size
        if node.tag == SEQUENCE:
            return arguments, size
        return self.construct(node, arguments, options), size

    def construct(self, node, arguments, options):
        """The object of a ``!new:`` node."""
        part = _part(node.tag.removeprefix(_NEW))
        try:
            return part(*arguments, **options)
        except (UsageError, MemoryError):
            raise
        except Exception as error:  # whatever a wrong value leads to
            line = node.start_mark.line + 1
            raise NoModelError(
                f"line {line}, {part.__name__}: {type(error).__name__}: {error}"
            ) from error

    def arguments(self, node):
        """Positional and named arguments of a node of an object."""
        return self._children(node, self._memo)[:2]

    def _children(self, node, memo):
        arguments, options, size = [], {}, 1
        if isinstance(node, yaml.MappingNode):
            pairs = [(key.value, child) for key, child in node.value]
        else:
            pairs = [(None, child) for child in node.value]  # of a scalar: none
        for key, child in pairs:
            value, more = self._sized(child, memo)
            size += more
            if size > MAX_EXPANDED:
                raise UsageError(f"repetitions give more than {MAX_EXPANDED} values")
            if key is None:
                arguments.append(value)
            else:
                options[key] = value
        return arguments, options, size

    def _referred(self, node):
        path = whole_path(node.value)
        if path is None:
            found = evaluate(node.value, lambda path: self.build(self.node_of(path)))
            return found, 1
        target = self.node_of(path)
        return self._sized(target, {} if node.tag == "!copy" else self._memo)
