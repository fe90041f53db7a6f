"""Results of several systems: joined by runs, compared on the same clips only."""

import argparse
import json
import math
import re

import pytest

from lafufu_sb.cli.evaluate import add_parser
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.clips import write_rows
from lafufu_sb.evaluation.plots import draw_quality_over_rtf
from lafufu_sb.evaluation.report import tables_of, whole_systems, write_report
from lafufu_sb.evaluation.results import read_results
from lafufu_sb.evaluation.runs import write_result
from lafufu_sb.evaluation.systems import read_naming, recipe_facts
from lafufu_sb.evaluation.tables import to_latex, to_markdown


def report(*arguments):
    """Run ``lafufu report``."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    options = parser.parse_args(["report", *map(str, arguments)])
    return options.run(options)


def row(name, si_sdr, rtf=None, note=""):
    cost = {} if rtf is None else {"rtf": rtf, "rtf_encoder": rtf / 4}
    return {
        "name": name,
        "seconds": 4.0,
        "before_si_sdr": 1.0,
        "before_pesq": 1.2,
        "si_sdr": si_sdr,
        "pesq": si_sdr / 5,
        "lsd": 20 - si_sdr,
        **cost,
        "note": note,
    }


@pytest.fixture
def result(tmp_path):
    """Writes a result folder: ``result(system, [[row, ...], ...])`` gives its path."""

    def make(system, runs, folder=None, task="denoising", corpus="EARS-WHAM", **own):
        folder = tmp_path / (folder or system)
        places = [f"run{i}" if len(runs) > 1 else "." for i in range(len(runs))]
        for place, rows in zip(places, runs, strict=True):
            write_rows(folder / place, rows)
        facts = {"task": task, "corpus": corpus, "device": "a CPU", "threads": 2}
        facts |= {"parameters": 4_000_000, "calls": 1, "sampling": "preset fast"}
        facts |= own
        write_result(folder, system, [{"folder": place} for place in places], **facts)
        return folder

    return make


@pytest.fixture
def folders(result):
    """Two systems and an ablation of one of them, on two clips."""
    return [
        result(
            "lafufu_mini_wham",
            [
                [row("a", 10 + shift, 0.2), row("b", 14 + shift, 0.4)]
                for shift in (0, 1, 2)
            ],
        ),
        result("sgmse_mini_wham", [[row("a", 8, 1.0), row("b", 9, 2.0)]]),
        result("lafufu_mini_noreg_wham", [[row("a", 6, 0.2), row("b", 6, 0.4)]]),
    ]


def test_the_runs_of_a_system_give_means_and_deviations(folders):
    number = read_results(folders)[0].numbers["si_sdr"]
    assert number.mean == pytest.approx(13)  # of 12, 13 and 14
    assert number.std == pytest.approx(2)  # of 10 and 14, in each run
    assert number.spread == pytest.approx(1)
    assert read_results(folders)[1].numbers["si_sdr"].spread is None


def test_folders_of_one_system_are_its_runs(result):
    trainings = [
        result("net", [[row("a", 10 + i)]], folder=f"{i}/report") for i in range(3)
    ]
    (joined,) = read_results([folder.parent for folder in trainings])
    assert len(joined.runs) == 3
    assert joined.numbers["si_sdr"].spread == pytest.approx(1)


def test_the_quality_table_shows_unprocessed_speech_and_the_best_in_bold(folders):
    quality = next(tables_of(read_results(folders)))
    lines = to_markdown(quality).splitlines()[2:]
    assert lines[0] == "|  | SI-SDR, dB | PESQ-WB | LSD | RTF |"
    assert lines[2].startswith("| Noisy | 1.00 ± 0.00 | 1.20 ± 0.00 | - |")
    assert lines[3].startswith("| LAFUFU mini | **13.00** ± 2.00 (1.00) |")
    assert lines[4].startswith("| SGMSE+ mini | 8.50 ± 0.50 |")
    assert len(lines) == 5  # the ablation has a table of its own


def test_ablations_stand_below_the_whole_system(folders):
    *_, ablation = tables_of(read_results(folders))
    titles = [cells[0] for cells in ablation.rows]
    assert titles == ["LAFUFU mini", "LAFUFU mini without Reg-Loss"]
    assert ablation.name == "ablation_lafufu_mini_wham"


def test_the_cost_table_has_parts_and_device(folders):
    _, cost, _ = tables_of(read_results(folders))
    assert cost.rows[0][:5] == ["LAFUFU mini", "4.00", "1", "0.300", "0.075"]
    assert cost.rows[0][-1] == "a CPU, threads: 2"


def test_means_over_fewer_clips_are_marked_and_never_the_best(result, tmp_path):
    worse = result("my_net", [[row("a", 5), row("b", 6)]])
    partly = result("a_net", [[row("a", 30), row("b", math.nan, note="is silent")]])
    other = result("third", [[row("a", 1), row("b", 1)]])
    write_report([worse, partly, other], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| my_net | **5.50** ± 0.50 |" in text
    assert "| a_net † | 30.00 ± 0.00 |" in text
    assert "† means over fewer clips; clips without a value: si_sdr 1, pesq 1" in text
    assert "`b`: is silent" in text


def test_times_of_several_machines_are_not_compared(folders, tmp_path):
    assert "**0.300**" in to_markdown(next(tables_of(read_results(folders))))
    path = folders[1] / "evaluation.json"
    path.write_text(path.read_text().replace("a CPU", "a GPU"))
    assert "**0.300**" not in to_markdown(next(tables_of(read_results(folders))))
    write_report(folders, tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "Timed on several machines" in text


def test_latex_is_balanced_and_escaped(result):
    results = read_results([result("my_net", [[row("a", 5), row("b", math.nan)]])])
    text = to_latex(next(tables_of(results)))
    assert text.count("\\begin{") == text.count("\\end{") == 2
    assert r"my\_net\,\textdagger{} & $5.00 \pm 0.00$" in text
    assert not re.search(r"(?<!\\)[_%#]", text.replace("tab:denoising_EARS", ""))
    widths = {line.count("&") for line in text.splitlines() if line.endswith(r"\\")}
    assert len(widths) == 1


def test_the_plot_has_a_panel_a_metric_and_needs_times(folders, result):
    families = read_naming().families
    results = whole_systems(read_results(folders))
    figure = draw_quality_over_rtf(results, families)
    assert [axes.get_ylabel() for axes in figure.axes] == ["SI-SDR, dB", "PESQ-WB"]
    labels = {text.get_text() for text in figure.axes[0].texts}
    assert labels == {"mini"}  # the family stands in the legend
    colours = {line.get_color() for line in figure.axes[0].lines}
    assert {families[name]["color"] for name in ("LAFUFU", "SGMSE+")} <= colours
    assert "a CPU" in figure.get_suptitle()
    untimed = read_results([result("my_net", [[row("a", 5)]], corpus="other")])
    assert draw_quality_over_rtf(untimed, families) is None


def test_report_writes_tables_of_each_corpus_and_plots(folders, result, tmp_path):
    reverb = result(
        "lafufu_mini_reverb",
        [[row("c", 3, 0.1)]],
        task="dereverberation",
        corpus="EARS-Reverb",
    )
    out = tmp_path / "out"
    assert report(*folders, reverb, "-o", out) == 0
    assert {path.name for path in out.iterdir()} == {
        "report.md",
        "denoising_EARS-WHAM.tex",
        "denoising_EARS-WHAM.png",
        "cost_denoising_EARS-WHAM.tex",
        "ablation_lafufu_mini_wham.tex",
        "dereverberation_EARS-Reverb.tex",
        "dereverberation_EARS-Reverb.png",
        "cost_dereverberation_EARS-Reverb.tex",
    }
    text = (out / "report.md").read_text()
    assert "(denoising_EARS-WHAM.png)" in text and "| Reverberant |" in text
    assert "LAFUFU mini: 2 clips, 3 runs" in text


def test_systems_on_other_clips_are_not_compared(result, tmp_path):
    folders = [result("one", [[row("a", 5)]]), result("two", [[row("b", 5)]])]
    with pytest.raises(UsageError, match="evaluate all systems on the same clips"):
        report(*folders, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_without_a_result_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no evaluation.json"):
        read_results([tmp_path])
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(UsageError, match="evaluation.json is not valid JSON"):
        read_results([tmp_path])
    (tmp_path / "evaluation.json").write_text('{"system": "a", "runs": []}')
    with pytest.raises(UsageError, match="evaluation.json lacks corpus, task"):
        read_results([tmp_path])


RECIPE = """
seed: {seed}
output_folder: !ref results/net/<seed>
init_from: {init}
score_lr: {lr}
objective: !new:lafufu_sb.diffusion.objectives.DataPrediction
"""


def recipe(seed=1, init="null", lr=0.001):
    return recipe_facts(RECIPE.format(seed=seed, init=init, lr=lr))


def test_only_runs_that_differ_in_the_seed_alone_are_one_system(result):
    scratch = [recipe(seed) for seed in (1, 2)]
    tuned = [recipe(seed, f"scratch/{seed}/model.ckpt") for seed in (1, 2)]
    folders = [
        result("net", [[row("a", 10 + i)]], folder=f"r{i}", recipe=facts)
        for i, facts in enumerate([*scratch, *tuned])
    ]
    plain, fitted = read_results(folders)
    assert len(plain.runs) == len(fitted.runs) == 2
    assert plain.numbers["si_sdr"].mean == 10.5
    assert plain.title == "net (init_from=None)"
    assert fitted.title == "net (init_from=scratch/<seed>/model.ckpt)"


def test_other_hyperparameters_or_settings_are_other_systems(result):
    kinds = {
        "net (score_lr=0.001)": {"recipe": recipe()},
        "net (score_lr=0.01)": {"recipe": recipe(lr=0.01)},
    }
    folders = [
        result("net", [[row("a", 10)]], folder=f"{i}", **facts)
        for i, facts in enumerate(kinds.values())
    ]
    assert [found.title for found in read_results(folders)] == list(kinds)
    paper = result("net", [[row("a", 9)]], folder="paper", sampling="preset paper")
    titles = [found.title for found in read_results([folders[0], paper])]
    assert titles == [
        "net (sampling=preset fast, recipe=known)",
        "net (sampling=preset paper, recipe=unknown)",
    ]


def test_titles_families_and_ablations_come_from_a_file(result, tmp_path):
    names = tmp_path / "mine.yaml"
    names.write_text(
        "families: {Mine: {color: black, marker: x}}\n"
        "systems: {My network: {family: Mine, names: [net]}}\n"
        "ablations: {net_small: net}\n"
    )
    folders = [result(name, [[row("a", 5, 0.1)]]) for name in ("net", "net_small")]
    report(*folders, "-o", tmp_path / "out", "--systems", names)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| My network |" in text
    assert (tmp_path / "out" / "ablation_net.tex").is_file()
    names.write_text("[My network]")
    with pytest.raises(UsageError, match="mine.yaml is not of the form of"):
        read_naming(names)


def test_a_result_says_with_what_it_was_made(folders):
    content = json.loads((folders[0] / "evaluation.json").read_text())
    assert {"torch", "lafufu_sb", "device", "runs", "system"} <= set(content)


def outside(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/../../../x", "..", "a\nb"])
@pytest.mark.parametrize("key", ["task", "corpus"])
def test_results_stay_in_the_report_folder(result, tmp_path, name, key):
    given = result("net", [[row("a", 10, 0.2)]], **{key: name})
    (tmp_path / "deep").mkdir()
    before = outside(tmp_path), outside(tmp_path.parent)
    output = tmp_path / "deep" / "report"
    written = write_report([given], output)
    assert {path.parent for path in written} == {output}
    assert all(path.is_file() for path in written) and len(written) == 4
    assert (outside(tmp_path), outside(tmp_path.parent)) == before
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["report"]


@pytest.mark.parametrize("place", ["../net", "/tmp", "run1/../../net", "a\0b"])
def test_runs_outside_their_result_are_refused(result, place):
    given = result("other", [[row("a", 10)]])
    result("net", [[row("a", 9)]])
    facts = json.loads((given / "evaluation.json").read_text())
    facts["runs"] = [{"folder": place}]
    (given / "evaluation.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="leads out of the folder|null byte"):
        read_results([given])


@pytest.mark.parametrize(
    "changes",
    [
        {"task": 3},
        {"corpus": ["EARS-WHAM"]},
        {"system": ""},
        {"runs": {}},
        {"runs": []},
        {"runs": [1]},
        {"runs": [{"seed": 1}]},
        {"runs": [{"folder": None}]},
        {"recipe": "text"},
        {"parameters": "many"},
        {"device": ["cpu"]},
    ],
)
def test_results_of_wrong_types_are_refused(result, changes):
    given = result("net", [[row("a", 10)]])
    facts = json.loads((given / "evaluation.json").read_text()) | changes
    (given / "evaluation.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="evaluation.json is no result"):
        read_results([given])


def test_names_cannot_write_markup(result, tmp_path):
    name = "a\\b{$x^2~|<img src=x>\x1b[2J\u202e"
    noted = row("c`l|i<p>", 10, 0.2, note="[x](http://y)")
    given = result(name, [[noted]], folder="net", corpus="$\\frac{")
    write_report([given], tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "\x1b" not in text and "\u202e" not in text
    assert r"a\\b{$x^2~\|\<img src=x\>\\x1b\[2J\\u202e" in text
    assert r"`c'l|i<p>`: \[x\](http://y)" in text
    (table,) = (tmp_path / "report").glob("denoising_*.tex")
    shown = r"a\textbackslash{}b\{\$x\textasciicircum{}2\textasciitilde{}"
    assert shown in table.read_text() and "\x1b" not in table.read_text()
    assert list((tmp_path / "report").glob("denoising_*.png"))  # drawn, not parsed


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]",
        "a: !!python/object/apply:os.system [x]",
        "a: [",
        "a: " + "[" * 5000,
    ],
    ids=["aliases", "python", "open", "deep"],
)
def test_recipes_that_only_do_harm_are_refused(text):
    with pytest.raises(UsageError, match="the recipe"):
        recipe_facts(text)
