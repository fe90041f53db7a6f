"""SpeechBrain's rules for a contributed recipe (docs/upstream.md).

The rules of its tests/consistency and tests/recipes, read line by line as its checks
do. With ``SPEECHBRAIN_CLONE`` set to a clone of its repository, the checks themselves
run too.
"""

import csv
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hyperpyyaml import load_hyperpyyaml
from runs import RECIPE, ROOT, train_environment
from speechbrain.utils.run_opts import RunOptions

from lafufu_sb.training.recipe import flatten_recipe

TABLE = ROOT / "tests" / "recipes" / "EARS.csv"
COLUMNS = (
    "Task,Dataset,Script_file,Hparam_file,Data_prep_file,Readme_file,Result_url,"
    "HF_repo,test_debug_flags,test_debug_checks"
).split(",")
DATASET = ROOT / "recipes" / "EARS"
LIBRARY = ("lobes", "diffusion")  # would become part of SpeechBrain's own library
YAMLS = sorted((RECIPE / "hparams").glob("*.yaml"))
CLONE = os.environ.get("SPEECHBRAIN_CLONE")
ALL_ROWS = os.environ.get("EARS_ROWS") == "all"  # half a minute each

with open(TABLE, newline="") as file:
    ROWS = list(csv.DictReader(file))


def is_recipe(path):
    return not {"models", "results", "pretrained_models"} & set(path.parts)


def test_every_recipe_has_a_row_with_flags():
    assert list(ROWS[0]) == COLUMNS
    listed = [row["Hparam_file"] for row in ROWS]
    found = [str(p.relative_to(ROOT)) for p in DATASET.rglob("*.yaml") if is_recipe(p)]
    assert sorted(listed) == sorted(found), f"add or remove rows of {TABLE}"
    for row in ROWS:
        assert row["Task"] and row["Dataset"] == "EARS" and row["test_debug_flags"]


def test_files_of_the_table_exist_and_links_are_in_the_readme():
    for row in ROWS:
        for name in ("Script_file", "Hparam_file", "Data_prep_file", "Readme_file"):
            assert (ROOT / row[name]).is_file(), row
        readme = (ROOT / row["Readme_file"]).read_text()
        for link in f"{row['Result_url']} {row['HF_repo']}".split():
            assert link in readme


def test_the_preparation_is_the_only_link():
    assert os.readlink(RECIPE / "ears_prepare.py") == "../../ears_prepare.py"
    links = [path for path in DATASET.rglob("*") if path.is_symlink()]
    assert links == [RECIPE / "ears_prepare.py"]


def upstream_recipe(path):
    """The flat recipe, its presets inside ``restorer``: a ``!ref`` above its key does
    not count upstream."""
    text = flatten_recipe(path)
    presets = r"^(\w+_presets):\n((?:  .*\n)+)"
    blocks = dict(re.findall(presets, text, re.MULTILINE))
    text = re.sub(presets, "", text, flags=re.MULTILINE)
    return re.sub(
        r"presets: !ref <(\w+)>\n",
        lambda match: "presets:\n" + textwrap.indent(blocks[match[1]], "  "),
        text,
    )


def unused_keys(text, script):
    """Top-level keys that neither a later ``!ref`` nor the script's text names."""
    waiting = []
    for line in text.splitlines():
        key = re.match(r"(\w+):", line)
        if key and "!apply" not in line and "!!" not in line:
            waiting.append(key[1])
        if "!ref" in line:
            used = re.findall(r"<(\w+)", line)
            waiting = [name for name in waiting if name not in used]
    options = {field.name for field in dataclasses.fields(RunOptions)}
    forms = '["{}"]', "hparams.{}", "modules.{}", 'hparams.get("{}'
    return [
        name
        for name in waiting
        if name not in options and not any(f.format(name) in script for f in forms)
    ]


def test_unused_keys_are_found():
    text = "a: 1\nb: !ref <a>\nc: 2\nd: !apply:print [1]\nprecision: fp32\n"
    assert unused_keys(text, 'hparams["b"]') == ["c"]


def test_every_key_is_used_in_the_yaml_or_named_in_the_script():
    script = (RECIPE / "train.py").read_text()
    unused = {p.name: unused_keys(upstream_recipe(p), script) for p in YAMLS}
    assert len(unused) > 20
    assert {name: keys for name, keys in unused.items() if keys} == {}


def test_speechbrains_loader_reads_the_flat_recipes(tmp_path):
    for path in YAMLS:
        text = upstream_recipe(path)
        assert "!PLACEHOLDER" not in text
        folders = {"data_folder": str(tmp_path), "output_folder": str(tmp_path / "out")}
        # smaller than in upstream's check, so that it is quick
        small = {"score_model": {"base_channels": 8, "multipliers": [1, 1]}}
        if "LatentRepresentation" in text:
            small["representation"] = {"channels": 4}
        hparams = load_hyperpyyaml(text, folders | small)  # refuses unknown keys
        assert {name: hparams[name] for name in folders} == folders, path.name


def missing_docstrings(text):
    """What lacks a docstring: the file, or definitions by their first line."""
    expected, missing = "the file", []
    for line in map(str.strip, text.splitlines()):
        if not line or line[0] == "#" or ">>>" in line or "..." in line:
            continue
        if expected:
            if not line.startswith(('"', 'r"')):
                missing.append(expected)
            expected = None
            continue
        public = re.match(r"def (?!_)\w+\(.*\):|class .*:", line)
        expected = line if public else None
    return missing


def test_missing_docstrings_are_found():
    text = '"""File."""\ndef f(a):\n    return a\nclass A:\n    """A."""\ndef _g(): 0'
    assert missing_docstrings(text) == ["def f(a):"]
    assert missing_docstrings("import os") == ["the file"]


def library_files():
    files = [p for name in LIBRARY for p in (ROOT / "lafufu_sb" / name).rglob("*.py")]
    assert len(files) > 10
    return [path for path in files if "__" not in path.name]


def test_everything_public_has_a_docstring():
    paths = [*library_files(), RECIPE / "train.py", DATASET / "ears_prepare.py"]
    missing = {
        str(path.relative_to(ROOT)): missing_docstrings(path.read_text())
        for path in paths
    }
    assert {path: names for path, names in missing.items() if names} == {}


@pytest.mark.skipif(not CLONE, reason="SPEECHBRAIN_CLONE names no clone")
def test_speechbrains_own_checks_pass(tmp_path):
    shutil.copytree(DATASET, tmp_path / "recipes" / "EARS", symlinks=True)
    for path in YAMLS:
        copy = tmp_path / path.relative_to(ROOT)
        copy.write_text(upstream_recipe(path))
    (tmp_path / "tests" / "recipes").mkdir(parents=True)
    shutil.copy(TABLE, tmp_path / "tests" / "recipes")
    library = tmp_path / "speechbrain" / "lobes" / "models" / "lafufu"
    for path in library_files():
        copy = library / path.relative_to(ROOT / "lafufu_sb")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    checks = Path(CLONE) / "tests" / "consistency"
    names = ("test_recipe.py", "test_yaml.py", "test_docstrings.py")
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *(str(checks / name) for name in names)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": CLONE},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout[-5000:]


def chosen_rows():
    if ALL_ROWS:
        return ROWS
    return [row for row in ROWS if row["Hparam_file"].endswith("mini_reverb.yaml")]


@pytest.mark.parametrize("row", chosen_rows(), ids=lambda row: row["Hparam_file"][13:])
def test_a_row_runs_as_upstream_would_run_it(row, tmp_path):
    environment = train_environment()
    environment["PYTHONPATH"] += f"{os.pathsep}{RECIPE}"
    command = (
        f"{sys.executable} {row['Script_file']} {row['Hparam_file']} "
        f"{row['test_debug_flags']} --device=cpu --output_folder={tmp_path}/run"
    )
    process = subprocess.run(
        command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-3000:]
    (files,) = re.findall(r"file_exists=\[(.*?)\]", row["test_debug_checks"])
    for name in files.split(","):
        assert (tmp_path / "run" / name).exists()
