"""What the YAML of a model says about its method, and where two methods differ."""

import inspect
import pydoc

import yaml

from lafufu_sb.inference.trust import Builder
from lafufu_sb.inference.yaml_nodes import SCALARS, NoModelError, compose

CLASS = "!new"  # key of an object's class
_REFERENCES = ("!ref", "!copy")


def describe(content, name):
    """Values of a model's YAML as plain data; nothing is built and no code runs.

    Arguments
    ---------
    content : bytes or str
        Of a ``hyperparams.yaml``.
    name : str
        Of the file, for messages.

    Returns
    -------
    restorer : dict
        Arguments of its restorer, references resolved. An object is a dict of its
        arguments, with its class as ``CLASS``.
    mark : str or None
        Its ``representation_fingerprint``.

    Raises
    ------
    NoModelError, UsageError
        If it has no restorer, or more than the limits of ``compose``.

    Example
    -------
    >>> text = "a: 3\\nrestorer: !new:x.R {process: !new:x.P {theta: !ref <a> / 2}}"
    >>> describe(text, "a.yaml")
    ({'!new': 'x.R', 'process': {'!new': 'x.P', 'theta': 1.5}}, None)
    """
    builder = _Describer(compose(content, name))
    mark = builder.keys.get("representation_fingerprint")
    restorer = builder.build(builder.node_of(["restorer"]))
    if not isinstance(restorer, dict) or CLASS not in restorer:
        raise NoModelError("its restorer is no object")
    return restorer, None if mark is None else mark.value


class _Describer(Builder):
    def _fresh(self, node, memo):
        plain = (*SCALARS, *_REFERENCES)
        if isinstance(node, yaml.ScalarNode) and node.tag not in plain:
            return {CLASS: node.tag.removeprefix("!new:")}, 1
        return super()._fresh(node, memo)

    def construct(self, node, arguments, options):
        """Class and arguments of an object."""
        numbered = {str(place): value for place, value in enumerate(arguments)}
        return {CLASS: node.tag.removeprefix("!new:")} | numbered | options


def differences(theirs, ours, name=""):
    """Where two described values differ.

    An argument that one of two objects of a class leaves out has its default.

    Arguments
    ---------
    theirs, ours : object
        Values of ``describe``.
    name : str
        Of the value, "" for the top.

    Yields
    ------
    tuple
        Dotted name, their value and ours.

    Example
    -------
    >>> list(differences({"a": [1], "b": {"c": 2}}, {"a": [1], "b": {"c": 3}}))
    [('b.c', 2, 3)]
    """
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        if _plain(theirs) != _plain(ours):
            yield name, _shown(theirs), _shown(ours)
        return
    if theirs.get(CLASS) != ours.get(CLASS):
        yield name, _shown(theirs), _shown(ours)
        return
    defaults = _defaults(ours.get(CLASS))
    theirs, ours = defaults | theirs, defaults | ours
    for key in sorted(theirs.keys() | ours.keys()):
        below = f"{name}.{key}" if name else key
        yield from differences(theirs.get(key), ours.get(key), below)


def _defaults(path):
    """Default arguments of a class of the caller's own recipe."""
    found = path and pydoc.locate(path)
    if not inspect.isclass(found):
        return {}
    parameters = inspect.signature(found).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _plain(value):
    """One name and a list of it are the same; so are lists and tuples."""
    if not isinstance(value, list | tuple):
        return value
    values = [_plain(part) for part in value]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else values


def _shown(value):
    return value.get(CLASS, value) if isinstance(value, dict) else value
