"""Tables distinguish measured numbers from computed ones."""

import json

import pytest

from common import ROOT
from lafufu_sb.errors import UsageError
from rtf_tables import draw, empty_contender, merge, write_tables
from systems import PUBLISHED


def parts(call, encoder=0.0, **more):
    row = {"encoder": encoder, "call": call, "sampler": 0.0, "decoder": 0.0}
    return row | {"rest": 0.0, "run": 0} | more


def contender(system, way, latency=(), **sections):
    filled = empty_contender(system, system, way)
    filled["latency"] = list(latency)
    return filled | sections


def results(*contenders, **changes):
    run = {
        "command": "python benchmarks/rtf.py",
        "device": "Processor",
        "threads": 2,
        "torch": "2",
        "lafufu_sb": "1",
        "window_frames": 256,
        "window_seconds": 2.0,
        "compile": False,
        "peak": {"fp32": 100e9, "bf16": 400e9},
    }
    return {"runs": [run | changes], "contenders": list(contenders)}


def cells(text, *start):
    """Cells of the table row that begins with these."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()]
    return next(row for row in rows if row[: len(start)] == list(start))


def baseline(**sections):
    return contender("sgmse128", PUBLISHED, [parts(call=10.0)], **sections)


def test_real_time_factors_are_computed_from_the_parts():
    text = write_tables(results(contender("x", "fp32", [parts(1.0, encoder=4.0)])))
    row = cells(text, "x", "fp32")
    assert row[2:5] == ["4000", "1000", "< 1"]
    assert row[5] == "32.0 (32.0–32.0)"
    assert row[6:10] == ["17.0", "6.00", "4.00", "2.50"]


def test_median_and_range_are_over_the_rounds():
    rounds = [parts(call) for call in (1.0, 4.0, 2.0)]
    row = cells(write_tables(results(contender("x", "fp32", rounds))), "x", "fp32")
    assert row[5] == "60.0 (30.0–120)"


def test_ratios_compare_with_the_published_way_and_with_the_same_way():
    text = write_tables(
        results(
            baseline(),
            contender("sgmse128", "bf16", [parts(call=5.0)]),
            contender("lafufu128", "bf16", [parts(call=0.5, encoder=6.0)]),
        )
    )
    assert cells(text, "lafufu128", "bf16")[10:12] == ["16.7", "8.33"]


def test_without_the_baseline_there_are_no_ratios():
    text = write_tables(results(contender("lafufu128", "bf16", [parts(0.5)])))
    assert cells(text, "lafufu128", "bf16")[10:12] == ["–", "–"]


def test_share_of_peak_is_of_the_same_precision():
    cost = {
        "autoencoder_parameters": 0,
        "score_parameters": 2_500_000,
        "encoder_macs": 0,
        "call_macs": 50e9,
        "decoder_macs": 0,
    }
    text = write_tables(
        results(
            contender("x", "fp32", [parts(2.0)], cost=cost),
            contender("x", "bf16", [parts(1.0)], cost=cost),
        )
    )
    assert cells(text, "x", "fp32")[12] == "50 %"
    assert cells(text, "x", "bf16")[12] == "25 %"
    assert cells(text, "x", "0.00", "2.50")[3:] == ["0.0", "50.0", "0.0", "1500", "25"]


def test_peak_of_merged_runs_is_the_largest():
    runs = [results(peak={"fp32": flops}) for flops in (50e9, 200e9, 100e9)]
    assert "Measured peak, GFLOP/s: fp32 200." in write_tables(merge(runs))


def test_measured_whole_stands_beside_its_computation():
    whole = [{"calls": 4, "seconds": seconds, "run": 0} for seconds in (3.0, 4.0, 5.0)]
    slow = [{"calls": 4, "seconds": 40.0, "run": 0}]
    text = write_tables(
        results(
            baseline(end_to_end=slow),
            contender("x", "fp32", [parts(call=0.5, encoder=3.0)], end_to_end=whole),
        )
    )
    expected = ["4", "4.00 (3.00–5.00)", "5.00", "0.80", "2.00", "10.0"]
    assert cells(text, "x", "fp32", "4")[2:] == expected


def test_throughput_takes_the_best_batch_for_each_number_of_calls():
    sweep = [
        parts(1.0, encoder=1.0, batch=1),
        parts(1.5, encoder=8.0, batch=2),
        parts(4.0, encoder=50.0, batch=4),
    ]
    text = write_tables(results(contender("x", "fp32", throughput=sweep)))
    row = cells(text, "x", "fp32")
    assert row[2:5] == ["2", f"{2 / 49:.4f}", f"{61 / 49:.2f}"]
    assert row[5:8] == ["1", "1.00", "1.00"]
    assert row[8] == "1, 2, 4"


def test_only_measured_sections_have_tables():
    text = write_tables(results(contender("x", "fp32", memory=[{"bytes": 5e8}])))
    assert cells(text, "x", "fp32") == ["x", "fp32", "500"]
    assert text.count("|:--|") == 1


def test_merged_runs_keep_every_measurement_with_its_run():
    first = results(contender("x", "fp32", [parts(1.0)]), peak={"fp32": 1e9})
    second = results(
        contender("y", "fp32", [parts(5.0)]),
        contender("x", "fp32", [parts(3.0), parts(5.0)]),
    )
    merged = merge([first, second])
    assert [run["peak"]["fp32"] for run in merged["runs"]] == [1e9, 100e9]
    x, y = merged["contenders"]
    assert [(row["call"], row["run"]) for row in x["latency"]] == [
        (1, 0),
        (3, 1),
        (5, 1),
    ]
    assert [row["run"] for row in y["latency"]] == [1]
    assert cells(write_tables(merged), "x", "fp32")[3] == "3000"


@pytest.mark.parametrize("change", [{"device": "Other"}, {"threads": 1}])
def test_runs_under_other_conditions_do_not_merge(change):
    with pytest.raises(UsageError, match=f"differ in {next(iter(change))}"):
        merge([results(), results(**change)])


def test_plot_has_a_row_for_each_contender():
    figure = draw(results(baseline(), contender("x", "bf16", [parts(0.5)])))
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["x, bf16", "sgmse128, fp32, as published"]
    assert list(axes.lines[0].get_xdata()) == [15.0, 300.0]


def test_the_documented_tables_are_those_of_the_documented_measurements():
    measured = json.loads((ROOT / "docs/benchmarks/rtf_cpu.json").read_text())
    documented = (ROOT / "docs/benchmarks/rtf_cpu.md").read_text()
    assert write_tables(measured) + "\n" == documented
    assert documented in (ROOT / "docs/performance.md").read_text()
