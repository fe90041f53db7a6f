"""The study of schedules: settings, kept results, tables."""

import json

import numpy as np
import pytest
import soundfile
from small import Entangled, small_model

import schedules as study
from lafufu_sb.diffusion.processes import OUVESDE, VP, SchroedingerBridge
from lafufu_sb.diffusion.registry import fitting_samplers

GRID = "[{sampler: bridge_ode, spacing: [uniform, quadratic], num_steps: [2, 1]}]"


@pytest.fixture
def small_models(monkeypatch):
    """Any model is a small one with the bridge, as ``ModelChoice`` loads it."""

    class Choice:
        def __init__(self, model, device):
            self.model = model

        def load(self):
            if self.model.startswith("./"):
                raise FileNotFoundError(f"{self.model} does not exist")
            return small_model(score_model=Entangled())

    monkeypatch.setattr(study, "ModelChoice", Choice)


@pytest.fixture
def arguments(tmp_path, small_models):
    (tmp_path / "grid.yaml").write_text(GRID)
    random = np.random.default_rng(0)
    for side in ("noisy", "clean"):
        (tmp_path / "clips" / side).mkdir(parents=True)
        for name in ("00000", "00001"):
            wav = random.normal(0, 0.1, 12000)
            soundfile.write(tmp_path / "clips" / side / f"{name}.wav", wav, 48000)
    return [
        *["--models", "model", "-o", str(tmp_path / "out")],
        *["--grid", str(tmp_path / "grid.yaml")],
        *["--clips", str(tmp_path / "clips"), "--max-clips", "1"],
        *["--metrics", "si_sdr"],
    ]


@pytest.mark.parametrize("process", [OUVESDE(), VP(), SchroedingerBridge()])
def test_default_grid_fits_every_process(process):
    settings = study.settings_for(process, study.read_grid())
    samplers = {setting.sampler for setting in settings}
    fitting = set(fitting_samplers(process))
    assert samplers == fitting
    assert len({repr(setting) for setting in settings}) == len(settings) > 50


def test_asked_calls_are_made_by_those_that_can():
    wanted = [60, 30, 16, 8, 4, 2, 1]
    found = {}
    for setting in study.settings_for(
        OUVESDE(), study.read_grid(name="few_calls"), wanted
    ):
        name = setting.sampler, setting.options.get("corrector")
        found.setdefault(name, []).append((setting.calls, setting.options["num_steps"]))
    plain = [(calls, calls) for calls in wanted]
    corrected = [(calls, calls // 2) for calls in wanted if calls > 1]
    assert found == {
        ("predictor_corrector", "ald"): corrected,
        ("predictor_corrector", "none"): plain,
        ("probability_flow", None): plain,
    }


def test_heun_is_found_by_its_odd_calls():
    heun = [{"sampler": "probability_flow", "method": "heun"}]
    settings = study.settings_for(OUVESDE(), heun, [15, 8, 1])
    assert [(s.calls, s.options["num_steps"]) for s in settings] == [(15, 8), (1, 1)]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([{"sampler": "magic"}], "'magic': choose from ancestral, bridge_ode"),
        ([{"num_steps": 3}], "sampler None"),
        ([{"sampler": "bridge_ode"}], "no entry of the grid fits a OUVESDE"),
        ([{"sampler": "probability_flow", "snr": 1}], "no option snr"),
    ],
)
def test_grid_that_cannot_be_run_is_refused(grid, message):
    with pytest.raises(ValueError, match=message):
        study.settings_for(OUVESDE(), grid)


def test_study_writes_a_table_for_each_metric(arguments, tmp_path):
    rows = study.main(arguments)
    assert [(str(setting), setting.calls) for _, setting, _ in rows] == [
        (f"bridge_ode spacing={spacing}", calls)
        for spacing in ("uniform", "quadratic")
        for calls in (2, 1)
    ]
    values = [summary["si_sdr"]["mean"] for *_, summary in rows]
    assert all(value < 200 for value in values)
    assert all(summary["rtf"]["mean"] > 0 for *_, summary in rows)
    # One call is made at time 1 whatever the spacing.
    assert values[1] == values[3] != values[0]
    text = (tmp_path / "out" / "schedules.md").read_text()
    shown = " | ".join(f"{value:.2f}" for value in values[:2])
    assert f"| model | `bridge_ode spacing=uniform` | {shown} |" in text
    assert "| model | sampler | 2 | 1 |" in text and "--max-clips 1" in text
    assert "## SI-SDR, dB (input " in text and "## RTF" in text


def test_an_interrupted_study_continues(arguments, tmp_path, monkeypatch):
    before = study.main(arguments)
    measured = []
    run_system = study.run_system

    def counted(system, *given, **options):
        measured.append(system.model.restorer.settings.sampler_options())
        return run_system(system, *given, **options)

    monkeypatch.setattr(study, "run_system", counted)
    assert study.main(arguments) == before and not measured
    folder = next((tmp_path / "out" / "runs").rglob("*uniform"))
    (folder / "evaluation.json").unlink()
    study.main(arguments)
    assert len(measured) == 1 and measured[0]["spacing"] == "uniform"
    study.main([*arguments, "--seed", "1"])  # the results are of another seed
    assert len(measured) == 5
    kept = json.loads((folder / "evaluation.json").read_text())
    assert kept["seed"] == 1 and kept["options"]["spacing"] == "uniform"


def test_models_stand_side_by_side(arguments, tmp_path):
    models = ["--models", "model", "twin", "--calls", "2", "1"]
    (tmp_path / "grid.yaml").write_text("[{sampler: bridge_ode}]")
    rows = study.main([*arguments, *models])
    assert [(model, setting.calls) for model, setting, _ in rows] == [
        (model, calls) for model in ("model", "twin") for calls in (2, 1)
    ]
    values = [summary["si_sdr"]["mean"] for *_, summary in rows]
    assert values[:2] == values[2:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--metrics", "mos"], "Unknown metrics"),
        (["--clips", "nowhere"], "nowhere"),
        (["--models", "./nowhere"], "./nowhere does not exist"),
        (["--grid", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_wrong_use_is_one_line(arguments, change, message):
    with pytest.raises(SystemExit, match=message) as ended:
        study.main([*arguments, *change])
    assert "\n" not in str(ended.value)
