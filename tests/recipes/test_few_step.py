"""The few-step stage: after a finished run, from a model folder, from the start."""

import shutil

import torch
from runs import train, write_tiny_recipe

from lafufu_sb import EnhanceLatent
from lafufu_sb.inference.weights import read_weights


def few_step_recipe(tmp_path, **options):
    """A recipe that fits a bridge's score model to two steps."""
    more = "few_step_epochs: 1\nbridge_presets: {balanced: {num_steps: 2}}"
    return write_tiny_recipe(
        tmp_path / "tiny.yaml", tmp_path / "run", more=more, **options
    )


def assert_few_step_model(run, sampler, options):
    """The exported model has the few-step weights and sampler, and restores."""
    checkpoints = list((run / "few_step").glob("CKPT*/ema.ckpt"))
    averages = [torch.load(path, weights_only=True) for path in checkpoints]
    exported = {
        f"{prefix}{name}".replace(".", "/"): tensor
        for prefix, file in (("score_model/", "score_model"), ("", "representation"))
        for name, tensor in read_weights(run / "model" / f"{file}.safetensors").items()
    }
    assert any(
        all(torch.equal(exported[k], v) for k, v in a.items() if "/" in k)
        for a in averages
    )
    model = EnhanceLatent.from_hparams(source=run / "model")
    assert model.restorer.settings.sampler == sampler
    assert model.restorer.settings.sampler_options().items() >= options.items()
    wav = torch.randn(1, 9000, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(model.enhance_batch(wav)).all()


def test_finished_run_goes_on_to_few_steps(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    recipe = few_step_recipe(tmp_path)
    process = train(recipe, "--stage", "test")
    assert process.returncode == 1
    assert "few_step has no checkpoint of a validated epoch" in process.stderr
    process = train(recipe, "--stage", "few_step")
    assert process.returncode == 0, process.stderr[-3000:]
    process = train(recipe, "--stage", "test")
    assert process.returncode == 0, process.stderr[-3000:]
    tested = f"Testing the weights in {run / 'few_step'}: preset balanced, 2 calls"
    assert tested in process.stdout + process.stderr
    assert "FewStepBrain" in (run / "train_log.txt").read_text()
    assert (run / "few_step_report" / "summary.json").exists()
    assert_few_step_model(run, "bridge_ode", {"num_steps": 2})


def test_few_step_stage_starts_from_a_model_folder(tiny_run, tmp_path):
    """Alone, without the run that the folder was exported from."""
    model, run = shutil.copytree(tiny_run / "model", tmp_path / "m"), tmp_path / "run"
    given = f"--init_from={model}", "--score_epochs=0"
    process = train(few_step_recipe(tmp_path), *given)
    assert process.returncode == 0, process.stderr[-3000:]
    log = (run / "train_log.txt").read_text()
    assert "FewStepBrain" in log and "ScoreBrain" not in log
    assert_few_step_model(run, "bridge_ode", {"num_steps": 2})
    before, after = (
        [
            read_weights(folder / f"{name}.safetensors")
            for folder in (model, run / "model")
        ]
        for name in ("representation", "score_model")
    )
    assert all(torch.equal(before[0][k], before[1][k]) for k in before[0])
    assert not all(torch.equal(after[0][k], after[1][k]) for k in after[0])


def test_few_steps_of_ouve_from_the_start(tmp_path):
    more = (
        "few_step_decoded_loss: !new:lafufu_sb.training.losses.SpectrogramLoss\n"
        "score_sampler_options: {num_steps: 2}"
    )
    recipe = write_tiny_recipe(
        tmp_path / "tiny.yaml", tmp_path / "run", base="lafufu_mini_crp_wham", more=more
    )
    process = train(recipe, "--few_step_epochs=1")
    assert process.returncode == 0, process.stderr[-3000:]
    lines = (tmp_path / "run" / "train_log.txt").read_text().splitlines()
    (corrected,) = (line for line in lines if "FewStepBrain, epoch: 1" in line)
    assert "train decoded_loss" in corrected and "loss_t" not in corrected
    options = {"num_steps": 1, "t_start": 0.5, "corrector": "none"}
    assert_few_step_model(tmp_path / "run", "predictor_corrector", options)
