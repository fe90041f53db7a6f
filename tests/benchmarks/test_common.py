"""Facts of the machine, peak memory, numbers, files."""

from types import SimpleNamespace

import pytest
import torch

from common import describe_run, publish, run_alone, significant
from lafufu_sb.errors import UsageError
from lafufu_sb.restoration.devices import peak_rss


def test_peak_memory_includes_freed_memory():
    before = peak_rss()
    torch.ones(before // 4 + 50_000_000)  # more than all of before, freed at once
    assert peak_rss() > before + 100e6


def test_a_process_alone_reports_its_own_peak(tmp_path):
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
    run = describe_run("cpu")
    assert run["command"].startswith("python ") and run["device"]
    assert run["threads"] == torch.get_num_threads()
    assert run["torch"] == torch.__version__


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (0.9996, "1.000"), (99.96, "100.0"), (2345.6, "2346"), (0.05, "0.0500")],
)
def test_numbers_keep_three_digits(value, text):
    assert significant(value) == text


def test_tables_replace_their_block_of_a_document(tmp_path, capsys):
    document = tmp_path / "performance.md"
    document.write_text("# A\n<!-- x: begin -->\nold\n<!-- x: end -->\nB\n")
    options = SimpleNamespace(output=tmp_path / "new" / "x", document=document)
    publish(options, {"rows": []}, "table")
    expected = "# A\n<!-- x: begin -->\ntable\n<!-- x: end -->\nB\n"
    assert document.read_text() == expected
    assert (tmp_path / "new" / "x.md").read_text() == capsys.readouterr().out
    assert (tmp_path / "new" / "x.json").read_text() == '{\n "rows": []\n}\n'
    options.output = tmp_path / "y"
    with pytest.raises(UsageError, match="y: begin"):
        publish(options, {}, "table")
    assert document.read_text() == expected
