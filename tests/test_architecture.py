"""The code is laid out as docs/architecture.md says, in small modules and functions."""

import ast

import make_architecture
from runs import ROOT

FOLDERS = ("lafufu_sb", "benchmarks", "recipes", "docs")
FILES = [path for name in FOLDERS for path in sorted((ROOT / name).rglob("*.py"))]
SOURCES = {str(p.relative_to(ROOT)): p.read_text() for p in FILES if not p.is_symlink()}


def test_the_page_is_generated_from_the_docstrings():
    written = make_architecture.PAGE.read_text(encoding="utf-8")
    assert written == make_architecture.page(), "run python docs/make_architecture.py"


def test_the_page_lists_every_module():
    text = make_architecture.page()
    names = [name for name in SOURCES if name.startswith("lafufu_sb/")]
    inner = [name for name in names if name.count("/") > 1]
    missing = [
        name for name in inner if "__init__" not in name and f"../{name}" not in text
    ]
    assert len(inner) > 50 and missing == []


def test_every_module_has_a_docstring():
    trees = {name: ast.parse(text) for name, text in SOURCES.items()}
    assert [name for name, tree in trees.items() if not ast.get_docstring(tree)] == []


def functions(tree):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def test_modules_are_short(limit=350):
    lines = {name: len(text.splitlines()) for name, text in SOURCES.items()}
    long = {name: count for name, count in lines.items() if count > limit}
    assert long == {}, f"modules of more than {limit} lines"


def test_functions_are_short(limit=60):
    long = {
        f"{name}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for name, text in SOURCES.items()
        for node in functions(ast.parse(text))
        if node.end_lineno - node.lineno >= limit
    }
    assert long == {}, f"functions of more than {limit} lines"
