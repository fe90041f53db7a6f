"""What the YAML of a model folder may build without trust.

HyperPyYAML builds any Python object that a YAML names, so reading a hyperparams.yaml
can run a program. Models of this package need a few classes only. Everything else is
refused before the YAML is built, unless the caller trusts it.
"""

import inspect
import pydoc
import re

import yaml

from lafufu_sb.errors import UsageError

# Classes defined in these packages are networks, processes and arithmetic.
PACKAGES = (
    "lafufu_sb.lobes",
    "lafufu_sb.diffusion",
    "lafufu_sb.restoration.restorer",
    "speechbrain.nnet",
    "torch.nn",
)
NAMES = (
    "lafufu_sb.inference.weights.load_weights",
    "speechbrain.utils.parameter_transfer.Pretrainer",
)
_TAG = re.compile(r"!(ref|copy|(new|name):([\w.]+))")


def refuse_untrusted(text, name):
    """Refuse a HyperPyYAML text that builds more than a model is made of.

    Nothing of the text is run. Allowed are plain values, ``!ref`` and ``!copy``, and
    ``!new:`` and ``!name:`` of classes defined in ``PACKAGES``, or of ``NAMES``.

    Arguments
    ---------
    text : str
        The YAML.
    name : str
        Name of the file, for the message.

    Raises
    ------
    UsageError
        Names the first thing that is not allowed, and its line.

    Example
    -------
    >>> refuse_untrusted("x: !new:torch.nn.Linear {in_features: 1}", "a.yaml")
    >>> refuse_untrusted("x: !apply:os.system [ls]", "a.yaml")
    Traceback (most recent call last):
    ...
    lafufu_sb.errors.UsageError: a.yaml asks for !apply:os.system (line 1), ...
    """
    for number, line in enumerate(text.splitlines(), start=1):
        # Every tag starts with an exclamation mark; comments must not contain one.
        for word in re.findall(r"!\S*", line):
            tag = _TAG.fullmatch(word)
            if not tag or tag[3] and not _is_known(tag[3]):
                _refuse(name, word, number)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        reason = str(error).replace("\n", " ")
        raise UsageError(f"{name} is not YAML ({reason})") from error
    for node in _scalars(root):
        # HyperPyYAML reads some values as YAML again; escapes can hide a tag in them.
        if "!" in node.value:
            _refuse(name, repr(node.value), node.start_mark.line + 1)


def _refuse(name, what, line):
    raise UsageError(
        f"{name} asks for {what} (line {line}), which no model of this package needs "
        "and which may run any program here. If you trust those who made it, load it "
        "with trust=True (--trust); see docs/security.md"
    )


def _scalars(root):
    """The scalars of a document, each once, because aliases can form cycles."""
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
        else:
            yield node


def _is_known(target):
    if target in NAMES:
        return True
    if not target.startswith(tuple(f"{package}." for package in PACKAGES)):
        return False
    # A path may lead out of a package, through what one of its modules imports.
    found = pydoc.locate(target)
    home = f"{getattr(found, '__module__', '')}."
    return inspect.isclass(found) and home.startswith(
        tuple(f"{package}." for package in PACKAGES)
    )
