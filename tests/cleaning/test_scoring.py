"""``lafufu score`` from the command line to table and manifest."""

import csv
import json
import tarfile

import pytest
from corpora import write_noise

from lafufu_sb.cleaning import opinions, scoring
from lafufu_sb.cli.main import main
from lafufu_sb.errors import UsageError

FAST = ("bandwidth", "clipping", "loudness")


@pytest.fixture
def score(monkeypatch):
    """``score(*arguments)``: exit status, without restoring errors' one line."""

    def run(*arguments, metrics=FAST):
        chosen = ["--metrics", *metrics] if metrics else []
        return main(["score", *map(str, arguments), *chosen, "--threads", "2"])

    return run


@pytest.fixture
def fake(monkeypatch):
    """Opinions, and speech in the first half of each channel, without networks."""

    def score(wav, rate, names):
        return [len(name) + float(wav[0]) * 0 for name in names]

    monkeypatch.setattr(opinions, "_of_piece", score)
    monkeypatch.setattr(scoring, "vad_hint", lambda: "")
    monkeypatch.setattr(scoring, "missing_hints", lambda names: [])
    monkeypatch.setattr(
        scoring, "find_speech", lambda s: [[(0.0, s.seconds / 2)]] * s.channels
    )


def table(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_row_per_recording_with_all_metrics(score, fake, corpus, tmp_path):
    out = tmp_path / "new" / "scores.csv"
    assert score(corpus, "-o", out, metrics=None) == 0
    rows = table(out)
    assert [row["source"] for row in rows] == sorted(map(str, corpus.rglob("*.*")))
    facts = ["source", "seconds", "channels", "sample_rate"]
    assert list(rows[0]) == [*facts, *scoring.METRICS, "reason"]
    flac = next(row for row in rows if row["source"].endswith("b.flac"))
    assert [flac[name] for name in facts[1:]] == ["0.100", "2", "44100"]
    assert (flac["dnsmos_sig"], flac["speech"]) == ("10.000", "0.500")
    assert {row["reason"] for row in rows} == {""}
    assert all(0 < float(r["bandwidth"]) <= int(r["sample_rate"]) / 2 for r in rows[:4])


def test_a_broken_file_is_a_row_with_its_reason(score, corpus, tmp_path, capsys):
    (corpus / "a.wav").write_bytes(b"RIFF")
    out = tmp_path / "scores.csv"
    assert score(corpus, "-o", out) == 1
    told = capsys.readouterr()
    assert "5 files: 4 scored, 1 failed" in told.out
    (failed,) = [row for row in table(out) if row["reason"]]
    assert failed["source"] == str(corpus / "a.wav") and failed["loudness"] == ""
    assert "is not audio that can be read" in failed["reason"]
    write_noise(corpus / "a.wav", 0.5)
    assert score(corpus, "-o", out) == 0
    assert [row["reason"] for row in table(out)] == [""] * 5


def test_a_metric_that_fails_is_a_row_too(score, corpus, tmp_path, monkeypatch):
    def fails(sound, *_):
        raise RuntimeError("size\nmismatch")

    monkeypatch.setattr(scoring, "measure_all", fails)
    assert score(corpus, "-o", tmp_path / "s.csv") == 1
    reasons = {row["reason"] for row in table(tmp_path / "s.csv")}
    assert reasons == {"a metric failed: RuntimeError size mismatch"}


def entries(corpus):
    return [(f"u{i}", str(p)) for i, p in enumerate(sorted(corpus.rglob("*.*")))]


def test_a_csv_manifest_gets_columns(score, corpus, tmp_path):
    path = tmp_path / "train.csv"
    lines = [f"{key},{wav},3.5,word {key}" for key, wav in entries(corpus)]
    path.write_text("\n".join(["ID,wav,score_clipping,wrd", *lines]) + "\n")
    (corpus / "a.wav").write_text("x")
    score(path, "-o", tmp_path / "scores.csv")
    rows, scores = (
        table(tmp_path / "scores-manifest" / "train.csv"),
        table(tmp_path / "scores.csv"),
    )
    names = ["seconds", *FAST, "reason"]
    assert list(rows[0]) == ["ID", "wav", "wrd", *(f"score_{name}" for name in names)]
    assert [row["wav"] for row in rows] == [wav for _, wav in entries(corpus)]
    assert [row["wrd"] for row in rows] == [f"word {key}" for key, _ in entries(corpus)]
    for name in FAST:  # an earlier score_clipping is replaced
        told = [row[name] and float(row[name]) for row in scores]
        kept = [row[f"score_{name}"] for row in rows]
        assert [cell and float(cell) for cell in kept] == told
    assert "not audio" in rows[0]["score_reason"] and rows[0]["score_loudness"] == ""


def test_two_audio_columns_have_scores_of_their_own(score, corpus, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(f"ID,noisy,clean\nu,{corpus}/one/c.wav,{corpus}/two/e.wav\nv,,\n")
    columns = ["--column", "noisy", "--column", "clean"]
    score(path, "-o", tmp_path / "s.csv", *columns, metrics=["bandwidth"])
    first, second = table(tmp_path / "s-manifest" / "pairs.csv")
    assert float(first["noisy_score_bandwidth"]) == 24000
    assert float(first["clean_score_bandwidth"]) == 4000
    assert second["noisy_score_bandwidth"] == second["noisy"] == ""


def test_a_json_manifest_gets_fields(score, corpus, tmp_path):
    path = tmp_path / "t.json"
    item = {"wav": "{root}/two/e.wav", "words": "hi", "length": 0.2}
    path.write_text(json.dumps({"u": item}))
    score(path, "-o", tmp_path / "s.csv", "--placeholder", f"root={corpus}")
    new = json.loads((tmp_path / "s-manifest" / "t.json").read_text())["u"]
    assert new["wav"] == f"{corpus}/two/e.wav" and new["words"] == "hi"
    assert new["score_bandwidth"] == 4000 and new["score_loudness"] is None  # too short
    assert new["score_seconds"] == 0.2 and new["score_reason"] == ""


def test_lhotse_cuts_get_custom_fields(score, corpus, tmp_path):
    lhotse = pytest.importorskip("lhotse")
    recording = lhotse.Recording.from_file(corpus / "a.wav", recording_id="a")
    cut = recording.to_cut()
    cut.custom = {"mine": 1}
    path = tmp_path / "cuts.jsonl.gz"
    lhotse.CutSet.from_cuts([cut]).to_file(path)
    score(path, "-o", tmp_path / "s.csv")
    (new,) = lhotse.load_manifest(tmp_path / "s-manifest" / "cuts.jsonl.gz")
    assert new.custom["mine"] == 1 and new.custom["score_bandwidth"] == 8000
    assert new.recording.sampling_rate == 16000
    assert new.load_audio().shape == cut.load_audio().shape


@pytest.mark.parametrize("name", ["train.tsv", "nemo.jsonl"])
def test_other_tables_get_columns_too(score, corpus, tmp_path, name):
    path, wavs = tmp_path / name, [str(corpus / n) for n in ("a.wav", "two/e.wav")]
    if name.endswith("tsv"):
        path.write_text("path\tsentence\n" + "".join(f"{w}\thi\n" for w in wavs))
    else:
        items = [{"audio_filepath": wav, "duration": 0.1} for wav in wavs]
        path.write_text("".join(json.dumps(item) + "\n" for item in items))
    score(path, "-o", tmp_path / "s.csv")
    new = (tmp_path / "s-manifest" / name).read_text().splitlines()
    if name.endswith("tsv"):
        header, *rows = (line.split("\t") for line in new)
        found = [dict(zip(header, row, strict=True)) for row in rows]
        assert [item["path"] for item in found] == wavs
    else:
        found = [json.loads(line) for line in new]
        assert [item["duration"] for item in found] == [0.1, 0.1]
    assert [float(item["score_bandwidth"]) for item in found] == [8000, 4000]


def test_tar_shards_get_a_file_for_each_sample(score, corpus, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number, name in enumerate(("a.wav", "two/e.wav"), 1):
            tar.add(corpus / name, f"u{number}.wav")
            (tmp_path / "words").write_text(f"word {number}")
            tar.add(tmp_path / "words", f"u{number}.txt")
    score(tmp_path / "a.tar", "-o", tmp_path / "s.csv")
    rows = table(tmp_path / "s.csv")
    assert [row["source"].endswith(f"(u{i}.wav)") for i, row in enumerate(rows, 1)]
    assert [row["sample_rate"] for row in rows] == ["16000", "8000"]
    new = tmp_path / "s-manifest" / "a.tar"
    for source in (new, tmp_path / "a.tar"):  # scores of the scored: once
        score(source, "-o", tmp_path / "t.csv", "--restart")
        with tarfile.open(tmp_path / "t-manifest" / "a.tar") as tar:
            found = {m.name: tar.extractfile(m).read() for m in tar}
        kinds = ("wav", "txt", "score.json")
        assert list(found) == [f"u{i}.{kind}" for i in (1, 2) for kind in kinds]
        scores = json.loads(found["u2.score.json"])
        assert scores["score_bandwidth"] == 4000 and scores["score_reason"] == ""
        assert found["u1.wav"] == (corpus / "a.wav").read_bytes()
        assert found["u2.txt"] == b"word 2"


@pytest.mark.parametrize("form", ["parquet", "datasets"])
def test_datasets_get_columns(score, corpus, tmp_path, form):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    datasets = pytest.importorskip("datasets")
    audio = [
        {"bytes": (corpus / name).read_bytes(), "path": f"{i}.wav"}
        for i, name in enumerate(["a.wav", "two/e.wav"])
    ]
    noted = {"audio": {"_type": "Audio", "decode": False}}
    for name, dtype in (("words", "string"), ("score_clipping", "int64")):
        noted[name] = {"dtype": dtype, "_type": "Value"}
    values = {"audio": audio, "words": ["one", "two"], "score_clipping": [9, 9]}
    metadata = {"huggingface": json.dumps({"info": {"features": noted}})}
    rows = pyarrow.table(values).replace_schema_metadata(metadata)
    path, new = tmp_path / "d", tmp_path / "s-manifest"
    if form == "parquet":
        path = tmp_path / "d.parquet"
        pyarrow.parquet.write_table(rows, path)
    else:
        datasets.Dataset(rows).save_to_disk(path)
    assert score(path, "-o", tmp_path / "s.csv") == 0
    if form == "parquet":
        read = datasets.Dataset(pyarrow.parquet.read_table(new / "d.parquet"))
    else:
        read = datasets.load_from_disk(new)
    found = read.data.to_pydict()
    assert found["audio"] == audio and found["words"] == ["one", "two"]
    assert found["score_bandwidth"] == [8000, 4000] and found["score_clipping"] == [
        0,
        0,
    ]
    assert found["score_loudness"] == [None, None]  # too short
    assert read.features["score_clipping"] == datasets.Value("float64")
    assert read.features["score_reason"] == datasets.Value("string")
    assert read.features["audio"]._type == "Audio" and "score_snr" not in found


def test_a_recording_shorter_than_stated_or_changing_is_a_failed_row(
    score, corpus, tmp_path, monkeypatch
):
    path, real = tmp_path / "t.csv", scoring.measure_all
    path.write_text(f"ID,duration,wav\nu,9,{corpus}/a.wav\nv,0.2,{corpus}/two/e.wav\n")

    def changing(*arguments):
        write_noise(corpus / "two" / "e.wav", 0.3)
        return real(*arguments)

    monkeypatch.setattr(scoring, "measure_all", changing)
    assert score(path, "-o", tmp_path / "s.csv") == 1
    short, changed = table(tmp_path / "s.csv")
    assert "has 0.11 seconds, but the manifest states 9.00" in short["reason"]
    assert "has changed since the run began" in changed["reason"]


def test_wav_scp_has_no_columns(score, corpus, tmp_path, capsys):
    path = tmp_path / "wav.scp"
    path.write_text(f"u1 {corpus}/a.wav\n")
    score(path, "-o", tmp_path / "s.csv")
    assert "kind kaldi gets no columns" in capsys.readouterr().out
    assert [p.name for p in tmp_path.glob("s*")] == ["s.csv"]


def test_a_killed_run_goes_on_to_the_same_bytes(
    score, fake, corpus, tmp_path, monkeypatch
):
    metrics = [*FAST, "snr", "distillmos"]
    score(corpus, "-o", tmp_path / "whole.csv", metrics=metrics)
    out, real, scored = tmp_path / "killed.csv", scoring.score_file, []

    def killed(file, **options):
        scored.append(file.source)
        if len(scored) == 3:
            raise KeyboardInterrupt
        return real(file, **options)

    monkeypatch.setattr(scoring, "score_file", killed)
    assert score(corpus, "-o", out, "--threads", "1", metrics=metrics) == 130
    assert not out.exists()
    assert score(corpus, "-o", out, metrics=metrics) == 0
    assert len(scored) < 2 * 5  # the journal was used
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_shards_and_threads_give_the_bytes_of_one_run(score, corpus, tmp_path, capsys):
    manifest = tmp_path / "t.csv"
    manifest.write_text("\n".join(["ID,wav", *map(",".join, entries(corpus))]) + "\n")
    score(manifest, "-o", tmp_path / "whole.csv", "--threads", "1")
    for shard in ("1/3", "3/3", "2/3"):
        assert not (tmp_path / "parts.csv").exists()
        score(manifest, "-o", tmp_path / "parts.csv", "--shard", shard)
    for name in ("{}.csv", "{}-manifest/t.csv"):
        whole, parts = (tmp_path / name.format(side) for side in ("whole", "parts"))
        assert parts.read_bytes() == whole.read_bytes()
    assert "belong to other shards" in capsys.readouterr().out


def test_changed_files_are_scored_again_and_settings_refused(
    score, corpus, tmp_path, capsys, monkeypatch
):
    out, scored, real = tmp_path / "s.csv", [], scoring.score_file

    def spy(file, **options):
        scored.append(file.source)
        return real(file, **options)

    monkeypatch.setattr(scoring, "score_file", spy)
    score(corpus, "-o", out)
    write_noise(corpus / "a.wav", 0.7, seed=9)
    score(corpus, "-o", out)
    assert scored[5:] == [str(corpus / "a.wav")]
    assert float(table(out)[0]["seconds"]) == 0.7
    assert score(corpus, "-o", out, metrics=["loudness"]) == 2
    assert "was started with metrics" in capsys.readouterr().err
    assert score(corpus, "-o", out, "--restart", metrics=["loudness"]) == 0
    assert len(scored) == 11 and "bandwidth" not in table(out)[0]


def test_missing_packages_are_named_or_refused(
    score, corpus, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(scoring, "vad_hint", lambda: 'pip install "lafufu_sb[vad]"')
    monkeypatch.setattr(
        scoring, "missing_hints", lambda names: [f"{names[0]} needs a package"]
    )
    assert score(corpus, "-o", tmp_path / "s.csv", metrics=None) == 0
    left_out = [
        line for line in capsys.readouterr().err.splitlines() if "left out" in line
    ]
    assert len(left_out) == 1 and "lafufu_sb[vad]" in left_out[0]
    assert "snr" in left_out[0] and "distillmos needs a package" in left_out[0]
    assert set(table(tmp_path / "s.csv")[0]) >= set(FAST)
    assert "snr" not in table(tmp_path / "s.csv")[0]
    for name, message in (("snr", "[vad]"), ("dnsmos", "dnsmos needs a package")):
        assert score(corpus, "-o", tmp_path / "t.csv", metrics=[name]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["{corpus}", "-o", "s.txt"], "must be a .csv file"),
        (["{corpus}", "-o", "mine.csv"], "was not written by `lafufu score`"),
        (["mine.csv", "-o", "mine.csv"], "would overwrite its input"),
        (["missing", "-o", "s.csv"], "missing does not exist"),
        (["{corpus}", "-o", "s.csv", "--metrics", "polqa"], "unknown metric 'polqa'"),
        (["{corpus}", "-o", "s.csv", "--threads", "0"], "--threads must be"),
        (["{corpus}", "-o", "s.csv", "--pieces", "-1"], "--pieces must be"),
    ],
)
def test_what_is_refused(corpus, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine.csv"
    mine.write_text(f"ID,wav\nu,{corpus}/a.wav\n")
    before = mine.read_bytes()
    assert main(["score", *(a.format(corpus=corpus) for a in arguments)]) == 2
    assert message in capsys.readouterr().err
    assert mine.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["corpus", "mine.csv"]


def test_options_from_python_are_checked(corpus, tmp_path):
    with pytest.raises(UsageError, match="must be a .csv file"):
        scoring.score(scoring.ScoringOptions(str(corpus), str(tmp_path / "scores")))
