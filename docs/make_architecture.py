"""Write docs/architecture.md from the docstrings and imports of the package.

Nothing is imported, so that the page can be made without the package's dependencies.

To run:
> python docs/make_architecture.py
"""

import ast
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "lafufu_sb"
PAGE = DOCS / "architecture.md"
HEAD = """\
<!-- Generated from the docstrings by docs/make_architecture.py. Do not edit. -->
# Architecture

The package has ten subpackages in layers, above two small modules that all of them may
use. An import may only point down. Subpackages on one line do not import each other,
and there are no cycles inside a subpackage either. `lint-imports` checks this against
the contracts in `pyproject.toml`.

These rules hold everywhere:

- `Restorer` is the only inference path: validation, test, `EnhanceLatent`, the command
  line and corpus cleaning all call it.
- Networks know no process, and processes know no network. An objective joins them.
- Samplers are pure functions with an explicit source of noise.
- Networks see real tensors only. The networks that train, are saved and compared are
  float32; inference copies of them restore.
- A result depends on the recording, the settings and the seed, not on its neighbours
  in the batch: windows are fixed, levels belong to one recording, and noise belongs to
  a position in it.
- Each number is written in YAML once and exported into the model folder.
- Files appear under their final name when they are complete.
- Memory does not grow with the length of a recording.
- Nothing in a model folder is executed unless the user trusts it
  ([security](security.md)).
"""


def layers():
    """Rows of the import contract, from top to bottom."""
    text = (DOCS.parent / "pyproject.toml").read_text(encoding="utf-8")
    rows = re.search(r"^layers = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    names = [tuple(row.split(" | ")) for row in re.findall(r'"(.+?)"', rows)]
    return [row for row in names if row != ("__main__",)]


def docstring(path):
    """Docstring of a module, as Markdown."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return text.replace("``", "`").replace("::\n", ":\n")


def first_sentence(text):
    """First sentence of a docstring, on one line."""
    line = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", line)[0]


def imported(path):
    """Names that a module imports from the package, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def dependencies():
    """Which subpackages and top-level modules each subpackage imports."""
    names = [name for layer in layers() for name in layer]
    found = {name: set() for name in names}
    for name in names:
        folder = PACKAGE / name
        paths = folder.rglob("*.py") if folder.is_dir() else [PACKAGE / f"{name}.py"]
        for module in {module for path in paths for module in imported(path)}:
            top, _, rest = module.partition(".")
            target = rest.split(".")[0]
            if top == PACKAGE.name and target in found and target != name:
                found[name].add(target)
    return found


def reachable(edges, start):
    """All that ``start`` depends on, directly or not."""
    seen, waiting = set(), [start]
    while waiting:
        new = edges[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def graph():
    """Mermaid graph of the dependencies, without those that follow from others."""
    edges = dependencies()
    lines = ["```mermaid", "flowchart TB"]
    for name, targets in edges.items():
        indirect = {far for near in targets for far in reachable(edges, near)}
        lines += [f"    {name} --> {target}" for target in sorted(targets - indirect)]
    return "\n".join([*lines, "```"])


def modules(folder):
    """One line for each module of a folder, those of its subpackages after them."""
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            where = path.relative_to(DOCS.parent).as_posix()
            sentence = first_sentence(docstring(path))
            yield f"- [`{path.stem}`](../{where}): {sentence}"
    for inner in sorted(folder.glob("*/__init__.py")):
        yield f"\n### {inner.parent.relative_to(PACKAGE).as_posix()}\n"
        yield docstring(inner).split("\n\n")[0] + "\n"
        yield from modules(inner.parent)


def page():
    """The page's text."""
    ladder = "\n".join("  |  ".join(layer) for layer in layers())
    parts = [HEAD, f"```\n{ladder}\n```\n", graph() + "\n"]
    for name in (name for layer in layers() for name in layer):
        folder = PACKAGE / name
        if folder.is_dir():
            text = docstring(folder / "__init__.py")
            lines = "\n".join(modules(folder))
            parts.append(f"## {name}\n\n{text}\n\n{lines}\n")
        else:
            sentence = docstring(PACKAGE / f"{name}.py")
            parts.append(f"## {name}\n\n{sentence}\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
