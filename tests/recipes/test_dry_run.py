"""A dry run measures the stages that are left, and leaves nothing."""

import shutil

import pytest
from runs import train, write_tiny_recipe

STAGES = ("pre_enhancer", "autoencoder", "score", "few_step")


def table(output):
    """{stage: cells} of the printed table."""
    rows = [line.strip("| ").split(" | ") for line in output.splitlines()]
    return {row[0]: row[1:] for row in rows if row[0] in STAGES}


def files(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.mark.parametrize("spelling", ["--dry_run", "--dry-run"])
def test_every_stage_of_a_new_run_is_measured(tmp_path, spelling):
    recipe = write_tiny_recipe(
        tmp_path / "tiny.yaml",
        tmp_path / "run",
        base="lafufu_mini_pre_enhancer_wham",
        epochs=3,
    )
    before = files(tmp_path)
    process = train(recipe, spelling, "--few_step_epochs=1", "--ae_batch_size=4")
    assert process.returncode == 0, process.stderr[-3000:]
    found = table(process.stdout)
    assert tuple(found) == STAGES
    steps = {stage: int(cells[3]) for stage, cells in found.items()}  # of 5 pairs
    assert steps == {"pre_enhancer": 9, "autoencoder": 6, "score": 9, "few_step": 3}
    for cells in found.values():
        assert float(cells[0]) > 0 and float(cells[1]) > 0 and float(cells[2]) > 0
    assert "for 5 training pairs" in process.stdout
    assert "embedded mini corpus" in process.stdout
    assert files(tmp_path) == before


def test_finished_stages_are_not_measured(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    recipe = write_tiny_recipe(tmp_path / "tiny.yaml", run)
    before = files(tmp_path)
    process = train(recipe, "--dry_run", "--score_epochs=4")
    assert process.returncode == 0, process.stderr[-3000:]
    (cells,) = table(process.stdout).values()
    assert cells[3] == "9"  # three epochs of three steps
    process = train(recipe, "--dry_run")
    assert "no stage is left to train" in process.stdout
    assert files(tmp_path) == before


def test_a_given_model_leaves_the_score_stage(tiny_model, tmp_path):
    recipe = write_tiny_recipe(tmp_path / "tiny.yaml", tmp_path / "run")
    options = "--grad_accumulation_factor=2", "--score_epochs=1"
    process = train(recipe, "--dry_run", f"--init_from={tiny_model}", *options)
    assert process.returncode == 0, process.stderr[-3000:]
    assert list(table(process.stdout)) == ["score"]
    assert table(process.stdout)["score"][3] == "1"
    assert not (tmp_path / "run").exists()
