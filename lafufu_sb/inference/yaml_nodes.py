"""The YAML of a model folder as nodes: read once, bounded, nothing built."""

import re

import yaml

from lafufu_sb.errors import UsageError

MAX_BYTES = 65_536
MAX_NODES = 5_000
MAX_DEPTH = 16
MAX_CHARACTERS = 1_000  # of a value
_YAML = "tag:yaml.org,2002:"
STRING, MAPPING, SEQUENCE = (f"{_YAML}{kind}" for kind in ("str", "map", "seq"))
SCALARS = {STRING, *(f"{_YAML}{kind}" for kind in ("int", "float", "bool", "null"))}
_KEY = re.compile(r"\w[\w .+-]{0,63}")


class NoModelError(ValueError):
    """A YAML that is harmless and describes no model. ``explained`` names the file."""


class _Loader(yaml.SafeLoader):
    """Composes nodes of a bounded number and depth, with plain and unique keys."""

    def __init__(self, text):
        super().__init__(text)
        self.depth = self.nodes = 0

    def compose_node(self, parent, index):
        """Compose a node, or find that of an alias."""
        self.depth, self.nodes = self.depth + 1, self.nodes + 1
        mark = self.peek_event().start_mark
        if self.depth > MAX_DEPTH:
            raise _refusal(f"nests more than {MAX_DEPTH} levels", mark)
        if self.nodes > MAX_NODES:
            raise _refusal(f"has more than {MAX_NODES} values", mark)
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode) and len(node.value) > MAX_CHARACTERS:
            raise _refusal(f"has a value of over {MAX_CHARACTERS} characters", mark)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor):
        """Compose a mapping whose keys are strings, each there once."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != STRING:
                raise _refusal("has a key that is no plain string", key.start_mark)
            if not _KEY.fullmatch(key.value):
                raise _refusal(f"has the key {key.value!r}", key.start_mark)
            if key.value in seen:
                raise _refusal(f"has the key {key.value} twice", key.start_mark)
            seen.add(key.value)
        return node


# The core schema of YAML 1.2, as HyperPyYAML reads it: no "yes", octals or dates.
_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(
        f"{_YAML}{_kind}", re.compile(rf"(?:{_pattern})\Z"), list(_first)
    )


def _refusal(problem, mark):
    return UsageError(f"{problem} (line {mark.line + 1})")


class _Dumper(yaml.SafeDumper):
    """Writes subclasses of plain types, such as those of ruamel.yaml, as these."""


for _kind in (dict, list, tuple, str, int, float):
    _plain = list if _kind is tuple else _kind

    def _represent(dumper, value, plain=_plain):
        return dumper.represent_data(plain(value))

    _Dumper.add_multi_representer(_kind, _represent)
_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)


def compose(content, name):
    """Parse a YAML to a mapping node.

    Arguments
    ---------
    content : bytes or str
        Of the file.
    name : str
        Of the file, for messages.

    Returns
    -------
    yaml.MappingNode

    Raises
    ------
    NoModelError
        For something else than a mapping.
    UsageError
        For more than the limits of this module, keys that are no plain strings, and
        keys that appear twice.
    """
    if len(content) > MAX_BYTES:
        raise UsageError(f"{name} is larger than {MAX_BYTES} bytes: no model's YAML is")
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        root = _Loader(text).get_single_node()
    except UsageError as error:
        raise UsageError(f"{name} {error}, which no model needs") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = str(error).replace("\n", " ")
        raise UsageError(f"{name} is not YAML ({reason})") from error
    if not isinstance(root, yaml.MappingNode) or root.tag != MAPPING:
        raise NoModelError("it is no mapping of keys")
    return root


def with_overrides(root, overrides, must_match=True):
    """Merge a caller's overrides into a mapping node, as HyperPyYAML does.

    Arguments
    ---------
    root : yaml.MappingNode
        Changed in place.
    overrides : dict or str
        Values, or YAML text.
    must_match : bool
        Whether a top-level key that ``root`` does not have is an error.

    Raises
    ------
    UsageError
        If the overrides are no mapping of plain values, or a key does not match.
    """
    if not overrides:
        return
    if not isinstance(overrides, str):
        try:
            overrides = yaml.dump(overrides, Dumper=_Dumper)
        except yaml.YAMLError as error:
            raise UsageError(f"overrides are plain values of YAML ({error})") from error
    _update(root, compose(overrides, "overrides"), must_match)


def _update(node, changes, must_match=False):
    places = {key.value: place for place, (key, _) in enumerate(node.value)}
    for key, value in changes.value:
        place = places.get(key.value)
        if place is None:
            if must_match:
                raise UsageError(
                    f"override {key.value} is no key of the YAML: it has "
                    f"{', '.join(places)}"
                )
            node.value.append((key, value))
            continue
        old_key, old = node.value[place]
        if isinstance(old, yaml.MappingNode) and isinstance(value, yaml.MappingNode):
            _update(old, value)
        else:
            node.value[place] = old_key, value


def nodes_of(root):
    """All nodes below a node and itself, each once, in the order of the text."""
    seen, waiting = {}, [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen[id(node)] = node
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return sorted(seen.values(), key=lambda node: node.start_mark.index)


def plain_value(node):
    """Value of a scalar node with one of the tags ``SCALARS``."""
    return _Loader("").construct_object(node)
