"""Systems compared clip by clip."""

import math

import pytest

from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.pairing import (
    grouped,
    paired_differences,
    paired_table,
    share_made_worse,
    worse_table,
)
from lafufu_sb.evaluation.report import write_report
from lafufu_sb.evaluation.results import Result


def run(**pesq):
    return [{"name": name, "pesq": value} for name, value in pesq.items()]


def system(name, *runs, corpus="EARS-WHAM"):
    facts = {"system": name, "task": "denoising", "corpus": corpus}
    return Result(name, facts, name.title(), runs=list(runs))


def test_the_error_is_that_of_the_differences():
    ours, theirs = run(a=1.5, b=2.7, c=3.3), run(a=1.0, b=2.0, c=3.0)
    mean, error = paired_differences([ours], [theirs], "pesq")
    assert mean == pytest.approx(0.5)
    assert error == pytest.approx(0.2 / math.sqrt(3))


def test_runs_are_averaged_before_clips_are_compared():
    runs = [run(a=1.0, b=2.0), run(a=2.0, b=3.0)]
    mean, error = paired_differences(runs, [run(a=1.0, b=2.0)], "pesq")
    assert mean == pytest.approx(0.5) and error == pytest.approx(0.0)


def test_clips_without_a_value_are_left_out():
    ours, theirs = run(a=1.5, b=math.nan, c=2.5), run(a=1.0, b=2.0, c=2.0)
    assert paired_differences([ours], [theirs], "pesq") == pytest.approx((0.5, 0.0))
    assert math.isnan(paired_differences([run(a=1.0)], [theirs], "pesq")[0])


def test_bold_is_better_by_two_standard_errors():
    reference = system("ref", run(a=1.0, b=2.0, c=3.0))
    clear = system("clear", run(a=1.5, b=2.5, c=3.6))
    unclear = system("unclear", run(a=2.5, b=1.5, c=3.1))
    worse = system("worse", run(a=0.5, b=1.5, c=2.4))
    table = paired_table([reference, clear, unclear, worse], "ref")
    cells = {title: cell for title, cell in table.rows}
    assert cells["Clear"].mean == "+0.53" and cells["Clear"].bold
    assert not cells["Unclear"].bold and not cells["Worse"].bold
    with pytest.raises(UsageError, match="no system other"):
        paired_table([reference, clear], "other")


def test_a_lower_lsd_is_better():
    reference = system("ref", [{"name": n, "lsd": 2.0} for n in "ab"])
    ours = system("ours", [{"name": n, "lsd": 1.0} for n in "ab"])
    ((_, cell),) = paired_table([reference, ours], "ref").rows
    assert cell.mean == "-1.00" and cell.bold


def test_clips_made_worse_are_counted_by_the_better_direction():
    rows = [
        {"name": "a", "pesq": 2.0, "before_pesq": 1.0, "lsd": 2.0, "before_lsd": 1.0},
        {"name": "b", "pesq": 1.0, "before_pesq": 1.0, "lsd": 1.0, "before_lsd": 2.0},
        {"name": "c", "pesq": 0.9, "before_pesq": 1.0, "lsd": 3.0, "before_lsd": 2.0},
    ]
    assert share_made_worse([rows], "pesq") == pytest.approx(1 / 3)
    assert share_made_worse([rows], "lsd") == pytest.approx(2 / 3)
    assert math.isnan(share_made_worse([rows], "estoi"))
    assert worse_table([system("ours", rows)]).rows == [["Ours", "33%", "67%"]]
    assert worse_table([system("ours", run(a=1.0))]) is None


def test_a_clip_belongs_to_the_first_group_that_matches():
    ours = system("ours", run(**{"acted/1": 1.0, "read/1": 2.0, "read/2": 3.0}))
    acted, rest = grouped([ours], {"acted": "acted*", "none": "x*", "rest": "*"})
    assert acted.clips == ["acted/1"] and acted.place[1] == "EARS-WHAM, acted"
    assert rest.clips == ["read/1", "read/2"] and ours.place[1] == "EARS-WHAM"


def test_the_report_has_both_tables_for_each_group(tmp_path):
    from lafufu_sb.evaluation.clips import write_rows
    from lafufu_sb.evaluation.runs import write_result

    for name, gain in (("ref", 0.0), ("ours", 0.5)):
        rows = [
            {"name": f"{group}/{i}", "seconds": 4.0, "before_pesq": 1.2, "note": ""}
            | {"pesq": 1.0 + 0.3 * i + gain}
            for group in ("acted", "read")
            for i in range(2)
        ]
        write_rows(tmp_path / name, rows)
        facts = {"task": "denoising", "corpus": "voices"}
        write_result(tmp_path / name, name, [{"folder": "."}], **facts)
    folders = [tmp_path / "ref", tmp_path / "ours"]
    groups = {"acted": "acted*", "others": "*"}
    write_report(folders, tmp_path / "out", reference="ref", groups=groups)
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.count("Difference to ref on the same clips") == 2
    assert text.count("Clips worse than their input") == 2
    assert "| ours | **+0.50** ± 0.00 |" in text and "| ref | 50% |" in text
    with pytest.raises(UsageError, match="no clip belongs"):
        write_report(folders, tmp_path / "out", groups={"none": "x*"})
