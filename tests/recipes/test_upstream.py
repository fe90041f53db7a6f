"""What SpeechBrain's repository asks of a recipe (docs/upstream.md)."""

import ast
import csv
import dataclasses
import os
import re
import subprocess
import sys

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
# Folders whose content would become part of the library, with its rule on docstrings.
LIBRARY = ("lobes", "diffusion", "ears")
YAMLS = sorted(path.name for path in (RECIPE / "hparams").glob("*.yaml"))


def read_table():
    with open(TABLE, newline="") as file:
        return list(csv.DictReader(file))


ROWS = read_table()


def test_every_recipe_has_a_row_with_flags():
    assert list(ROWS[0]) == COLUMNS
    listed = [row["Hparam_file"] for row in ROWS]
    found = {
        str(path.relative_to(ROOT))
        for path in DATASET.rglob("*.yaml")
        if not {"models", "results", "pretrained_models"} & set(path.parts)
    }
    assert sorted(listed) == sorted(found), f"add or remove rows of {TABLE}"
    for row in ROWS:
        assert row["Task"] and row["Dataset"] == "EARS" and row["test_debug_flags"]


def test_files_of_the_table_exist_and_links_are_in_the_readme():
    for row in ROWS:
        names = ("Script_file", "Hparam_file", "Data_prep_file", "Readme_file")
        for name in names:
            assert (ROOT / row[name]).is_file(), row
        readme = (ROOT / row["Readme_file"]).read_text()
        for link in f"{row['Result_url']} {row['HF_repo']}".split():
            assert link in readme


def test_the_preparation_is_a_link_within_the_data_set():
    link = RECIPE / "ears_prepare.py"
    assert os.readlink(link) == "../../ears_prepare.py"
    links = [path for path in DATASET.rglob("*") if path.is_symlink()]
    assert links == [link]  # no YAML is one


def bases(name):
    """Text of a recipe file and of all it is based on."""
    text = (RECIPE / "hparams" / name).read_text()
    base = re.search(r"^base: (\S+)", text, re.M)
    return text + (bases(base[1]) if base else "")


@pytest.mark.parametrize("name", YAMLS)
def test_every_key_is_used_in_the_yaml_or_named_in_the_script(name):
    """Upstream searches the text of the script; imports are not followed."""
    script = (RECIPE / "train.py").read_text()
    stages = re.findall(r'stage_brain\(\s*\w+,\s*"(\w+)"', script)
    stages += re.findall(r'latent_brain\("(\w+)"', script)
    assert {"ae", "score", "few_step"} <= set(stages)
    options = {field.name for field in dataclasses.fields(RunOptions)}
    text = flatten_recipe(RECIPE / "hparams" / name)
    keys = re.findall(r"^(\w+):(?! *!apply)", text, re.M)
    assert {"data_folder", "output_folder"} <= set(keys)
    unused = []
    for key in keys:
        named = [f'"{key}"', f"hparams.{key}"]
        for stage in stages:
            if key.startswith(f"{stage}_"):
                rest = key.removeprefix(f"{stage}_")
                named += [f'"{rest}"', f"{{prefix}}_{rest}", f"{{stage}}_{rest}"]
        used = f"<{key}" in bases(name) or key in options
        if not used and not any(mention in script for mention in named):
            unused.append(key)
    assert unused == []


@pytest.mark.parametrize("name", YAMLS)
def test_speechbrains_loader_reads_the_flat_recipe(name, tmp_path):
    text = flatten_recipe(RECIPE / "hparams" / name)
    assert "!PLACEHOLDER" not in text
    overrides = {
        "data_folder": str(tmp_path),
        "output_folder": str(tmp_path / "out"),
        # smaller than upstream's check, so that it is quick
        "score_model": {"base_channels": 8, "multipliers": [1, 1]},
    }
    if "IdentityAutoencoder" not in text:
        overrides["autoencoder"] = {"channels": 4}
    hparams = load_hyperpyyaml(text, overrides)  # unknown keys would raise
    assert hparams["data_folder"] == str(tmp_path)
    assert hparams["output_folder"] == str(tmp_path / "out")


def public_definitions(tree):
    kinds = ast.FunctionDef | ast.ClassDef
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef):
            for child in node.body:
                if isinstance(child, kinds) and not child.name.startswith("_"):
                    yield child


def test_everything_public_has_a_docstring():
    files = [RECIPE / "train.py", DATASET / "ears_prepare.py"]
    for folder in LIBRARY:
        files += sorted((ROOT / "lafufu_sb" / folder).glob("*.py"))
    missing = []
    for path in files:
        tree = ast.parse(path.read_text())
        if tree.body and not ast.get_docstring(tree):
            missing.append(path.name)
        for node in public_definitions(tree):
            if node.name != "forward" and not ast.get_docstring(node):
                missing.append(f"{path.name}:{node.name}")
    assert missing == []


def test_no_file_of_the_recipe_is_large():
    sizes = {path: path.stat().st_size for path in DATASET.rglob("*") if path.is_file()}
    assert max(sizes.values()) < 1_000_000
    requirements = (DATASET / "extra_requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", line) for line in requirements)


ONE = "lafufu_mini_reverb.yaml"  # all with EARS_ROWS=all: half a minute each


@pytest.mark.parametrize("row", ROWS, ids=[row["Hparam_file"][38:] for row in ROWS])
def test_a_row_runs_as_upstream_would_run_it(row, tmp_path):
    if os.environ.get("EARS_ROWS") != "all" and not row["Hparam_file"].endswith(ONE):
        pytest.skip("EARS_ROWS=all runs every row")
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
