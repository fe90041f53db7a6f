"""``lafufu clean`` from the command line to manifest and report."""

import csv
import json

import pytest
import soundfile
from corpora import contents, small_model, write_noise
from films import write_container

from lafufu_sb.cleaning import gate, opinions
from lafufu_sb.cli.main import main
from lafufu_sb.errors import UsageError


@pytest.fixture
def table(corpus, tmp_path):
    path = tmp_path / "train.csv"
    rows = [f"u{i},{p},word {i}" for i, p in enumerate(sorted(corpus.rglob("*.*")))]
    path.write_text("\n".join(["ID,wav,wrd", *rows]) + "\n")
    return path


def report(output):
    with open(output / "cleaning_report.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_manifest_and_report_agree(cleaning, table, tmp_path):
    out = tmp_path / "out"
    rows = cleaning(table, "-o", out)
    with open(out / "train.csv", newline="") as stream:
        written = list(csv.DictReader(stream))
    told = report(out)
    assert [row["wav"] for row in written] == [row["target"] for row in told]
    assert [row["wrd"] for row in written] == [f"word {i}" for i in range(5)]
    assert len(rows) == 5 and all(soundfile.info(row["wav"]) for row in written)
    page = (out / "cleaning_report.html").read_text()
    assert "data:image/png;base64," in page and "restored" in page


@pytest.mark.parametrize("rate", ["keep", "model"])
def test_lhotse_loads_the_results(cleaning, corpus, tmp_path, rate):
    lhotse = pytest.importorskip("lhotse")
    recordings = [
        lhotse.Recording.from_file(path, recording_id=path.name)
        for path in sorted(corpus.rglob("*.*"))
    ]
    path = tmp_path / "cuts.jsonl.gz"
    cuts = [recording.to_cut() for recording in recordings]
    lhotse.CutSet.from_cuts(cuts).to_file(path)
    cleaning(path, "-o", tmp_path / "out", "--sample-rate", rate)
    written = lhotse.load_manifest(tmp_path / "out" / path.name)
    for old, new in zip(cuts, written, strict=True):
        assert new.recording.sources[0].source.startswith(str(tmp_path / "out"))
        assert new.sampling_rate == (48000 if rate == "model" else old.sampling_rate)
        assert new.load_audio().shape[1] == new.num_samples
        assert new.supervisions == old.supervisions and new.id == old.id


@pytest.mark.parametrize(
    "options, expected", [((), "PCM_16"), (("--subtype", "float"), "FLOAT")]
)
def test_kaldi_can_read_the_results(cleaning, tmp_path, options, expected):
    soundfile.write(tmp_path / "a.wav", [0.1, -0.1] * 2000, 16000, "PCM_24")
    (tmp_path / "wav.scp").write_text(f"utt {tmp_path / 'a.wav'}\n")
    cleaning(tmp_path / "wav.scp", "-o", tmp_path / "out", *options)
    assert soundfile.info(tmp_path / "out" / "a.wav").subtype == expected


def test_containers_become_wav_with_their_sound(cleaning, tmp_path):
    pytest.importorskip("av")
    (tmp_path / "in").mkdir()
    for name, pictures in (("a.m4a", None), ("b.mp4", "mpeg4")):
        write_container(tmp_path / "in" / name, pictures=pictures)
    cleaning(tmp_path / "in", "-o", tmp_path / "out")
    for name in "ab":
        info = soundfile.info(tmp_path / "out" / f"{name}.wav")
        assert (info.frames, info.subtype) == (48000, "PCM_16")


def test_kaldi_and_json_point_to_results(cleaning, corpus, tmp_path):
    path = tmp_path / "wav.scp"
    path.write_text(f"u1 {corpus}/a.wav\nu2 {corpus}/one/b.flac\n")
    cleaning(path, "-o", tmp_path / "kaldi")
    out = tmp_path / "kaldi"
    expected = f"u1 {out}/a.wav\nu2 {out}/one/b.flac\n"
    assert (out / "wav.scp").read_text() == expected
    path = tmp_path / "t.json"
    path.write_text('{"u": {"wav": "{data_root}/two/e.wav", "words": "hi"}}')
    cleaning(path, "-o", tmp_path / "json", "--placeholder", f"data_root={corpus}")
    written = json.loads((tmp_path / "json" / "t.json").read_text())
    assert written == {"u": {"wav": f"{tmp_path}/json/e.wav", "words": "hi"}}


def test_the_gate_of_the_options_decides(cleaning, corpus, tmp_path, monkeypatch):
    def score(wav, rate, names):
        return [3.0 if rate == 48000 else 2.0] * len(names)

    monkeypatch.setattr(opinions, "_of_piece", score)
    monkeypatch.setattr(gate, "find_speech", lambda s: [[(0, s.seconds)]] * s.channels)
    arguments = [corpus, "-o", tmp_path / "out", "--gate", "dnsmos"]
    rows = cleaning(*arguments, "--sample-rate", "model", "--max-dnsmos-drop", "0.5")
    assert {row["decision"] for row in rows} == {"restored"}
    assert {r["dnsmos_before"] for r in report(tmp_path / "out")} == {"2.000", "3.000"}


def test_a_second_run_has_nothing_to_do(cleaning, corpus, tmp_path):
    cleaning(corpus, "-o", tmp_path / "out")
    before = contents(tmp_path / "out")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.wav")}
    model = small_model()
    model.restorer.stream = lambda signals, *_, **__: iter(list(signals))
    rows = cleaning(corpus, "-o", tmp_path / "out", model=model)
    assert len(rows) == 5
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert contents(tmp_path / "out") == before


def test_changed_recordings_and_missing_results_are_redone(cleaning, corpus, tmp_path):
    out = tmp_path / "out"
    cleaning(corpus, "-o", out)
    before = contents(out)
    (out / "a.wav").unlink()
    write_noise(corpus / "one" / "c.wav", 0.07, 48000, seed=9)
    write_noise(corpus / "new.wav", 0.05, seed=8)
    assert len(cleaning(corpus, "-o", out)) == 6
    after = contents(out)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"one/c.wav", "new.wav"}
    assert len(report(out)) == 6


def test_shards_give_the_results_of_one_run(cleaning, table, tmp_path, capsys):
    cleaning(table, "-o", tmp_path / "whole")
    for shard in ("1/3", "3/3", "2/3"):
        assert not (tmp_path / "parts" / "train.csv").exists()
        cleaning(table, "-o", tmp_path / "parts", "--shard", shard)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    written = (tmp_path / "parts" / "train.csv").read_text()
    assert (
        written.replace("/parts/", "/whole/")
        == (tmp_path / "whole" / "train.csv").read_text()
    )
    assert "files belong to other shards" in capsys.readouterr().out


def test_another_model_or_setting_is_refused_unless_restarted(
    cleaning, corpus, tmp_path
):
    out = tmp_path / "out"
    cleaning(corpus, "-o", out)
    for arguments, name in (
        (["--sample-rate", "model"], "sample_rate 'keep'"),
        (["--max-cer", "0.5"], "max_cer 0.1"),
        (["--windows-per-batch", "3"], "windows_per_batch 16"),
    ):
        with pytest.raises(UsageError, match=f"was started with {name}"):
            cleaning(corpus, "-o", out, *arguments)
    other = small_model().with_settings(seed=5)
    with pytest.raises(UsageError, match="was started with seed 0, now it is 5"):
        cleaning(corpus, "-o", out, model=other)
    before = contents(out)
    cleaning(corpus, "-o", out, "--restart", model=other)
    assert contents(out).keys() == before.keys() and contents(out) != before


def test_broken_files_are_left_out_and_retried(cleaning, table, corpus, tmp_path):
    out, broken = tmp_path / "out", corpus / "a.wav"
    whole = broken.read_bytes()
    broken.write_bytes(b"RIFF")
    rows = cleaning(table, "-o", out)
    assert [r["source"] for r in rows if r["decision"] == "failed"] == [str(broken)]
    assert str(out / "a.wav") not in (out / "train.csv").read_text()
    assert "a.wav is not audio" in (out / "cleaning_report.html").read_text()
    broken.write_bytes(whole)
    assert all(r["decision"] == "restored" for r in cleaning(table, "-o", out))
    assert str(out / "a.wav") in (out / "train.csv").read_text()


def test_exit_status_and_one_line_errors(untrained_model, corpus, tmp_path, capsys):
    (corpus / "broken.wav").write_text("x")
    command = [
        "clean",
        str(corpus),
        "-o",
        str(tmp_path / "out"),
        "-m",
        str(untrained_model),
    ]
    assert main([*command, "--gate", "none"]) == 1
    told = capsys.readouterr()
    assert "lafufu: error: " in told.err and "broken.wav is not audio" in told.err
    assert "6 files: 5 restored, 0 kept, 1 failed" in told.out
    assert main([*command, "--gate", "none", "--seed", "1"]) == 2
    assert "was started with seed 0" in capsys.readouterr().err
    (corpus / "broken.wav").unlink()
    assert main([*command, "--gate", "none"]) == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["missing", "-o", "out"], "missing does not exist"),
        (["{corpus}", "-o", "{corpus}/out"], "is inside"),
        (["{corpus}/a.wav", "-o", "out"], "use `lafufu enhance`"),
        (["{corpus}", "-o", "{corpus}/a.wav"], "is inside"),
        (["/dev/null", "-o", "out"], "is neither a file nor a folder"),
        (["{corpus}", "-o", "out", "--recogniser", "no"], "model folder no does not"),
        (
            ["{corpus}", "-o", "out", "--column", "x"],
            "does not apply to folder",
        ),
    ],
)
def test_a_usage_error_is_one_line(
    untrained_model, corpus, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    arguments = [a.format(corpus=corpus) for a in arguments]
    assert main(["clean", *arguments, "-m", str(untrained_model)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("lafufu: error: ") and message in error


def test_the_journal_is_lines_of_json(cleaning, corpus, tmp_path):
    cleaning(corpus, "-o", tmp_path / "out")
    (journal,) = (tmp_path / "out").rglob("journal.jsonl")
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(rows) == 5 and {row["decision"] for row in rows} == {"restored"}
