"""The report: a line per file, and a page with a summary."""

import csv
import re

from lafufu_sb.cleaning.report import COLUMNS, write_csv, write_page


def row(name, decision, **more):
    base = {"source": name, "target": f"/out{name}", "decision": decision}
    return base | {"reason": "", "seconds": 3600.0, "channels": 1} | more


ROWS = [
    row(
        "/a.wav",
        "restored",
        dnsmos_before=2.0,
        dnsmos_after=3.0,
        dnsmos_p808_before=2.5,
        dnsmos_p808_after=3.5,
        snr=5.0,
        rtf=0.2,
    ),
    row(
        "/b.wav", "kept", reason="<fell>", dnsmos_before=4.0, dnsmos_after=3.5, snr=15.0
    ),
    row("/c.wav", "failed", reason="not audio"),
]


def test_csv_has_a_line_per_file_and_empty_cells(tmp_path):
    path = tmp_path / "r.csv"
    write_csv(path, [*ROWS, row("/\udcff.wav", "kept", snr=None)])
    with open(path, newline="", errors="surrogateescape") as stream:
        lines = list(csv.DictReader(stream))
    assert list(lines[0]) == list(COLUMNS)
    assert (lines[0]["seconds"], lines[0]["dnsmos_after"]) == ("3600.000", "3.000")
    assert [line["snr"] for line in lines] == ["5.00", "15.00", "", ""]
    assert lines[3]["source"] == "/\udcff.wav"


def test_page_sums_up_and_names_what_was_not_restored(tmp_path):
    path = tmp_path / "r.html"
    write_page(path, ROWS, "my <corpus>", {"seed": 0})
    page = path.read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    assert "Cleaning of my &lt;corpus&gt;" in text
    expected = "restored 1 1.00", "DNSMOS 3.00 3.25", "SNR, dB 10"
    for cells in (*expected, "DNSMOS P.808 2.50 3.50"):
        assert cells in text
    assert "/b.wav &lt;fell&gt;" in text and "/c.wav not audio" in text
    assert "data:image/png;base64,iVBOR" in page and "http" not in page


def test_page_of_failures_alone(tmp_path):
    path = tmp_path / "r.html"
    write_page(path, ROWS[2:], "x", {})
    assert "/c.wav" in path.read_text()
