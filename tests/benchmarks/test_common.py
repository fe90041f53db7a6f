"""Facts of the machine, peak memory, tables, files."""

from pathlib import Path

import pytest
import torch

import common
from common import (
    describe_run,
    put_into_document,
    run_alone,
    significant,
)
from lafufu_sb.evaluation.tables import markdown_table


def test_peak_memory_holds_what_was_freed_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(common.__file__).parent)!r})\n"
        "import torch\n"
        "from common import peak_rss\n"
        "before = peak_rss()\n"
        "for _ in range(3):\n"
        "    torch.ones(50_000_000)\n"  # 200 MB, freed at once
        "print(peak_rss() - before)\n"
    )
    assert 150e6 < run_alone(script) < 350e6


def test_a_process_alone_does_not_inherit_the_peak_of_its_parent(tmp_path):
    torch.ones(100_000_000)
    script = tmp_path / "script.py"
    script.write_text(
        "import json, sys\n"
        "line = next(x for x in open('/proc/self/status') if 'VmHWM' in x)\n"
        "print('noise')\n"
        "print(json.dumps([int(line.split()[1]), sys.argv[1:]]))\n"
    )
    kilobytes, arguments = run_alone(script, "a", 1)
    assert kilobytes < 100_000
    assert arguments == ["a", "1"]


def test_a_process_that_fails_says_why(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit('no such model')")
    with pytest.raises(RuntimeError, match="no such model"):
        run_alone(script)


def test_description_tells_device_threads_and_command():
    run = describe_run(torch.device("cpu"))
    assert run["command"].startswith("python ")
    assert run["threads"] == torch.get_num_threads()
    assert run["torch"] == torch.__version__
    assert "CPUs" in run["device"] or run["device"]


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (0.9996, "1.000"), (99.96, "100.0"), (2345.6, "2346"), (0.05, "0.0500")],
)
def test_numbers_keep_three_digits(value, text):
    assert significant(value) == text


def test_block_of_a_document_is_replaced_and_the_rest_stays(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text("# A\n<!-- x: begin -->\nold\n<!-- x: end -->\nB\n")
    put_into_document(document, "x", markdown_table(["m"], [["1"]]))
    put_into_document(document, "x", "new")
    expected = "# A\n<!-- x: begin -->\nnew\n<!-- x: end -->\nB\n"
    assert document.read_text() == expected


def test_document_without_the_block_is_refused_and_kept(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text("# A\n<!-- x: begin -->\nold\n")
    with pytest.raises(ValueError, match="x: end"):
        put_into_document(document, "x", "new")
    assert "old" in document.read_text()
