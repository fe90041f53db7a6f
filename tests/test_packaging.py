"""What an installation needs, brings and imports."""

import ast
import importlib.util
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from runs import ROOT, train_environment

import lafufu_sb

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
# Distributions whose modules have another name
MODULES = {"ruamel.yaml": "ruamel", "pyyaml": "yaml"}


def modules_of(requirements):
    names = [Requirement(text).name for text in requirements]
    return {MODULES.get(name, name.replace("-", "_")) for name in names}


def outside_imports(nodes):
    """Top-level names of imported packages that are neither Python's nor ours."""
    names = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    tops = {name.split(".")[0] for name in names}
    return tops - sys.stdlib_module_names - {"lafufu_sb"}


def sources():
    trees = [ast.parse(p.read_text()) for p in (ROOT / "lafufu_sb").rglob("*.py")]
    assert len(trees) > 50
    return trees


def test_modules_import_core_dependencies_only_when_they_are_imported():
    found = set().union(*(outside_imports(tree.body) for tree in sources()))
    assert found <= modules_of(PROJECT["dependencies"])


def test_everything_imported_is_a_dependency_or_in_an_extra():
    extras = PROJECT["optional-dependencies"]
    wanted = [text for name in extras if name != "tests" for text in extras[name]]
    found = set().union(*(outside_imports(ast.walk(tree)) for tree in sources()))
    assert found <= modules_of(PROJECT["dependencies"] + wanted)
    assert "pesq" in found  # those inside functions are found


def test_only_the_extra_for_pesq_needs_a_compiler():
    extras = PROJECT["optional-dependencies"]
    with_pesq = {name for name in extras if "pesq" in modules_of(extras[name])}
    assert with_pesq == {"pesq"}
    assert "pesq" not in modules_of(PROJECT["dependencies"])


def test_everything_but_code_is_package_data():
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]
    folders = {name: ROOT / name.replace(".", "/") for name in patterns}
    folders["lafufu_sb.pretrained_interfaces"] = ROOT / "pretrained_interfaces"
    listed = {
        path
        for name, folder in folders.items()
        for pattern in patterns[name]
        for path in folder.glob(pattern)
    }
    roots = (ROOT / "lafufu_sb", ROOT / "pretrained_interfaces")
    found = {path for root in roots for path in root.rglob("*") if path.is_file()}
    left = [path for path in found - listed if path.suffix not in (".py", ".pyc")]
    assert len(listed) > 40 and left == []


def test_license_expression_has_a_file_for_each_licence():
    names = PROJECT["license"].split(" AND ")
    (pattern,) = PROJECT["license-files"]
    files = [path for path in ROOT.iterdir() if fnmatch(path.name, pattern)]
    texts = [path.read_text(encoding="utf-8") for path in files]
    assert len(names) == len(files) == 3
    for name in names[1:]:
        assert sum(f"SPDX-License-Identifier: {name}" in text for text in texts) == 1


@pytest.fixture(scope="module")
def metadata():
    """setup.py as a module."""
    spec = importlib.util.spec_from_file_location("metadata", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_are_absolute_in_the_long_description(metadata):
    text = "![a](docs/a.png) [b](LICENSE) [c](https://d.org/e) [f](#g) [h](x.md#y)"
    base = metadata.REPOSITORY
    assert metadata.absolute_links(text) == (
        f"![a]({base}/raw/main/docs/a.png) [b]({base}/blob/main/LICENSE) "
        f"[c](https://d.org/e) [f](#g) [h]({base}/blob/main/x.md#y)"
    )
    links = re.findall(r"\]\(([^)\s]+)\)", metadata.absolute_links(metadata.README))
    assert links and all(re.match(r"https?://|#", link) for link in links)


def test_relative_links_of_the_readme_exist(metadata):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", metadata.README)
    local = [link for link in links if not re.match(r"\w+:", link)]
    assert local and [link for link in local if not (ROOT / link).exists()] == []


def run_python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        env=train_environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_package_runs_as_a_module():
    assert run_python("-m", "lafufu_sb", "--version").strip() == lafufu_sb.__version__


def imported_by(code):
    listing = "import sys; print(*sys.modules)"
    return set(run_python("-c", f"{code}\n{listing}").split())


def test_help_does_not_wait_for_torch():
    names = imported_by("from lafufu_sb.cli.main import build_parser; build_parser()")
    assert "lafufu_sb.cli.main" in names
    assert names.isdisjoint({"torch", "numpy", "scipy", "speechbrain", "matplotlib"})


def test_restoration_does_not_wait_for_what_it_never_uses():
    names = imported_by("from lafufu_sb import EnhanceLatent")
    assert "lafufu_sb.restoration.restorer" in names
    unused = "scipy.stats scipy.signal matplotlib pandas transformers librosa pesq"
    unused += " pyloudnorm onnxruntime joblib"
    assert names & set(unused.split()) == set()


def test_scipys_statistics_are_there_when_they_are_used():
    code = (
        "import lafufu_sb.inference.pretrained\n"
        "import sys; before = 'scipy.stats' in sys.modules\n"
        "from speechbrain.dataio.sampler import lognorm\n"
        "print(before, round(float(lognorm.ppf(0.5, 1)), 3))"
    )
    assert run_python("-c", code).split() == ["False", "1.0"]


def test_public_names_are_listed_and_typed():
    assert set(lafufu_sb.__all__) <= set(dir(lafufu_sb))
    assert callable(lafufu_sb.shipped_model)
    assert Path(lafufu_sb.__file__).with_name("py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lafufu_sb.nothing
