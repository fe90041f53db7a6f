"""A corpus in each manifest form, cleaned and read by the libraries of the forms."""

import csv
import gzip
import io
import json
import sys
import tarfile

import numpy as np
import pytest
import soundfile
from corpora import contents, write_noise

from lafufu_sb.cleaning.manifests import open_manifest
from lafufu_sb.errors import MissingPackageError, UsageError

WORDS = {"a.wav": "one", "b.flac": 'tw"o', "c.ogg": "thrée, 3", "bad.wav": "none"}


@pytest.fixture
def recordings(tmp_path):
    """Three recordings and a broken one, by name."""
    paths = {name: tmp_path / "corpus" / name for name in WORDS}
    for seed, (name, path) in enumerate(paths.items()):
        if name == "bad.wav":
            path.write_bytes(b"no audio")
        else:
            write_noise(path, 0.1, seed=seed)
    return paths


def table(folder, recordings, delimiter, name="t.csv", **quoting):
    path = folder / name
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n", **quoting)
    writer.writerow(["path", "words"])
    writer.writerows([str(p), WORDS[n]] for n, p in recordings.items())
    pack = gzip.compress if name.endswith(".gz") else bytes
    path.write_bytes(pack(text.getvalue().encode()))
    return path


def read_table(path, delimiter=",", **quoting):
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter, **quoting)
    return [(row["words"], row["path"]) for row in rows]


def json_items(folder, recordings):
    path = folder / "t.json"
    items = {n: {"wav": str(p), "words": WORDS[n]} for n, p in recordings.items()}
    path.write_text(json.dumps(items))
    return path


def read_json(path):
    return [(i["words"], i["wav"]) for i in json.loads(path.read_text()).values()]


def nemo(folder, recordings, name):
    items = [
        {"audio_filepath": str(p), "duration": 0.1, "text": WORDS[n], "offset": 0}
        for n, p in recordings.items()
    ]
    text = "".join(json.dumps(item) + "\n" for item in items).encode()
    (folder / name).write_bytes(gzip.compress(text) if "gz" in name else text)
    return folder / name


def read_nemo(path):
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    items = [json.loads(line) for line in lines]
    return [(item["text"], item["audio_filepath"]) for item in items]


def common_voice(folder, recordings):
    path = folder / "corpus" / "train.tsv"
    (folder / "corpus" / "clips").mkdir()
    for source in recordings.values():
        source.rename(folder / "corpus" / "clips" / source.name)
    lines = [f"{name}\t{words}\n" for name, words in WORDS.items()]
    path.write_text("".join(["path\twords\n", *lines]))
    return path


def read_common_voice(path):
    return read_table(path, "\t", quoting=csv.QUOTE_NONE)


def kaldi(folder, recordings):
    path = folder / "wav.scp"
    path.write_text("".join(f"{n} {p}\n" for n, p in recordings.items()))
    return path


def read_kaldi(path):
    pairs = [line.split(" ", 1) for line in path.read_text().splitlines()]
    return [(WORDS[name], path) for name, path in pairs]


def mls(folder, recordings):
    lines = []
    for number, source in enumerate(recordings.values()):
        name = f"1_2_00{number}"
        lines.append(f"{name}\t{WORDS[source.name]}\n")
        place = folder / "mls" / "audio" / "1" / "2" / f"{name}.flac"
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.name == "bad.wav":
            source.rename(place)
        else:
            soundfile.write(place, *soundfile.read(source))
    (folder / "mls" / "transcripts.txt").write_text("".join(lines))
    return folder / "mls" / "transcripts.txt"


def read_mls(path):
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    return [(w, path.parent / f"audio/1/2/{name}.flac") for name, w in rows]


def lhotse_cuts(folder, recordings):
    lhotse = pytest.importorskip("lhotse")
    cuts = []
    for name, path in recordings.items():
        source = lhotse.audio.AudioSource("file", [0], str(path))
        recording = lhotse.Recording(name, [source], 16000, 1600, 0.1)
        words = lhotse.SupervisionSegment(name, name, 0, 0.1, text=WORDS[name])
        cut = recording.to_cut()
        cut.supervisions = [words]
        cuts.append(cut)
    lhotse.CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")
    return folder / "cuts.jsonl.gz"


def read_lhotse(path):
    import lhotse

    cuts = lhotse.load_manifest(path)
    return [(c.supervisions[0].text, c.recording.sources[0].source) for c in cuts]


def arrow_table(recordings):
    pyarrow = pytest.importorskip("pyarrow")
    rows = [{"bytes": p.read_bytes(), "path": n} for n, p in recordings.items()]
    features = {
        "audio": {"_type": "Audio"},
        "words": {"dtype": "string", "_type": "Value"},
    }
    noted = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {"audio": [*rows, None], "words": [*WORDS.values(), "silent"]}
    return pyarrow.table(columns).replace_schema_metadata(noted)


def parquet(folder, recordings):
    rows = arrow_table(recordings)
    import pyarrow.parquet

    options = {"compression": {"audio.bytes": "none", "words": "zstd"}}
    pyarrow.parquet.write_table(rows, folder / "t.parquet", **options)
    return folder / "t.parquet"


def parquet_folder(folder, recordings):
    parquet(folder, recordings)
    (folder / "hub" / "data").mkdir(parents=True)
    return (folder / "t.parquet").rename(folder / "hub" / "data" / "x.parquet") and (
        folder / "hub"
    )


def audio_and_words(rows):
    return [
        (row["words"], row["audio"] and io.BytesIO(row["audio"]["bytes"]))
        for row in rows
    ]


def read_parquet(path):
    import pyarrow.parquet

    path = path if path.is_file() else path.parent / "data" / "x.parquet"
    return audio_and_words(pyarrow.parquet.read_table(path).to_pylist())


def saved_dataset(folder, recordings):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset(arrow_table(recordings))
    splits = datasets.DatasetDict({"train": rows, "test": rows.select(range(0))})
    splits.save_to_disk(folder / "saved", num_shards={"train": 2, "test": 1})
    return folder / "saved"


def read_saved(path):
    import datasets

    splits = datasets.load_from_disk(path.parent)
    assert list(splits) == ["train", "test"] and len(splits["test"]) == 0
    assert splits["train"].features["audio"]._type == "Audio"
    return audio_and_words(splits["train"].data.to_pylist())


def tar(folder, recordings, name="x.tar"):
    with tarfile.open(folder / name, "w") as shard:
        for path, words in zip(recordings.values(), WORDS.values(), strict=True):
            for extension, data in (
                ("txt", words.encode()),
                (path.suffix[1:], path.read_bytes()),
                ("json", b'{"x": 1}'),
            ):
                member = tarfile.TarInfo(f"clips/{path.stem}.{extension}")
                member.size, member.mtime, member.uname = len(data), 1.5, "me"
                shard.addfile(member, io.BytesIO(data))
    return folder / name


def read_tar(path):
    found = []
    with tarfile.open(path) as shard:
        for member in shard:
            assert (member.mtime, member.uname) == (1.5, "me")
            found.append((member.name, shard.extractfile(member).read()))
    names, data = zip(*found, strict=True)
    stems = [name.split(".")[0] for name in names]
    suffixes = [name.split(".")[1] for name in names]
    assert stems[::3] == stems[1::3] == stems[2::3]
    assert {*suffixes[::3]} == {"txt"} and {*suffixes[1::3]} <= {"wav", "flac"}
    assert {*data[2::3]} == {b'{"x": 1}'}
    pairs = zip(data[::3], data[1::3], strict=True)
    return [(words.decode(), io.BytesIO(audio)) for words, audio in pairs]


FORMS = {
    "csv": (lambda *a: table(*a, ","), read_table),
    "csv.gz": (lambda *a: table(*a, ",", "t.csv.gz"), read_table),
    "json": (json_items, read_json),
    "nemo": (lambda *a: nemo(*a, "train.json"), read_nemo),
    "nemo.gz": (lambda *a: nemo(*a, "train.jsonl.gz"), read_nemo),
    "tsv": (common_voice, read_common_voice),
    "kaldi": (kaldi, read_kaldi),
    "mls": (mls, read_mls),
    "lhotse": (lhotse_cuts, read_lhotse),
    "parquet": (parquet, read_parquet),
    "folder of parquet": (parquet_folder, read_parquet),
    "datasets": (saved_dataset, read_saved),
    "webdataset": (tar, read_tar),
}
PACKED = ["parquet", "folder of parquet", "datasets", "webdataset"]


@pytest.mark.parametrize("form", FORMS)
def test_the_written_manifest_names_the_results(
    halving, recordings, tmp_path, form, capsys
):
    write, read = FORMS[form]
    originals = {
        WORDS[n]: soundfile.read(p)[0] for n, p in recordings.items() if p.stem != "bad"
    }
    path = write(tmp_path, recordings)
    rows = halving(path, tmp_path / "out")
    assert [row["decision"] for row in rows] == ["restored"] * 3 + ["failed"]
    assert "4 files: 3 restored, 0 kept, 1 failed" in capsys.readouterr().out
    found = read(tmp_path / "out" / path.name)
    if form in PACKED[:3]:  # rows without audio stay
        assert found.pop() == ("silent", None)
    assert [words for words, _ in found] == [*WORDS.values()][:3]
    for words, audio in found:
        samples, rate = soundfile.read(audio)
        assert rate == 16000
        np.testing.assert_allclose(samples, originals[words] / 2, atol=1e-4)


@pytest.mark.parametrize("form", PACKED)
def test_packed_corpora_resume_and_are_divided(halving, recordings, tmp_path, form):
    write, _ = FORMS[form]
    path = write(tmp_path, recordings)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    halving(path, whole)
    with pytest.raises(OSError, match="no space"):
        halving(path, parts, stop_after=1, shard=(1, 2))
    halving(path, parts, shard=(2, 2))
    assert not any(p.suffix in (".parquet", ".tar", ".arrow") for p in parts.iterdir())
    halving(path, parts, shard=(1, 2))

    def files(folder):
        found = (p for p in sorted(folder.rglob("*")) if p.is_file())
        return {
            str(p.relative_to(folder)): p.read_bytes()
            for p in found
            if ".lafufu-clean" not in p.parts and "cleaning_report" not in p.name
        }

    assert files(whole) == files(parts)
    # Unpacked again, the recordings count as the same.
    assert not (parts / ".lafufu-clean" / "unpacked").exists()
    halving(path, parts, stop_after=1)
    report = (parts / "cleaning_report.csv").read_text()
    assert f"{path}" in report and "unpacked" not in report


def test_a_changed_part_is_cleaned_again(halving, recordings, tmp_path):
    path = tar(tmp_path, recordings)
    halving(path, tmp_path / "out")
    write_noise(recordings["a.wav"], 0.2, seed=9)
    tar(tmp_path, recordings)
    assert halving(path, tmp_path / "out")[0]["samples"] == 3200
    (_, first), *_ = read_tar(tmp_path / "out" / path.name)
    assert soundfile.info(first).frames == 3200


def test_a_restored_tar_shard_has_results_of_the_model(cleaning, recordings, tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    tar(folder, recordings, "0.tar")
    rows = cleaning(folder, "-o", tmp_path / "out")
    cleaning(recordings["a.wav"].parent, "-o", tmp_path / "files")
    files = contents(tmp_path / "files")
    decisions = sorted(row["decision"] for row in rows)
    assert decisions == ["failed"] + ["restored"] * 3
    restored = [audio.getvalue() for _, audio in read_tar(tmp_path / "out" / "0.tar")]
    assert restored == [files[name] for name in ("a.wav", "b.flac", "c.wav")]


def test_parquet_keeps_schema_compression_and_other_columns(
    halving, recordings, tmp_path
):
    path = parquet(tmp_path, recordings)
    import pyarrow.parquet

    halving(path, tmp_path / "out")
    old, new = (
        pyarrow.parquet.ParquetFile(p) for p in (path, tmp_path / "out" / path.name)
    )
    assert new.schema_arrow.equals(old.schema_arrow, check_metadata=True)
    for index in range(old.metadata.num_columns):
        columns = [f.metadata.row_group(0).column(index) for f in (old, new)]
        assert columns[0].compression == columns[1].compression
    paths = [row and row["path"] for row in new.read()["audio"].to_pylist()]
    assert paths == ["a.wav", "b.flac", "c.wav", None]


@pytest.mark.parametrize("kind", ["struct", "text"])
def test_paths_in_parquet_point_to_the_results(halving, recordings, tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    paths = [str(path) for path in recordings.values()]
    rows = [{"bytes": b"", "path": p} for p in paths]
    rows = [row | {"bytes": None} for row in rows] if kind == "struct" else paths
    types = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    column = pyarrow.array(rows, types if kind == "struct" else pyarrow.string())
    rows = pyarrow.table({"id": [*range(4)], "speech": column})
    parquet.write_table(rows, tmp_path / "t.parquet")
    out = tmp_path / "out"
    halving(tmp_path / "t.parquet", out)
    new = parquet.read_table(out / "t.parquet").to_pylist()
    found = [
        row["speech"]["path"] if kind == "struct" else row["speech"] for row in new
    ]
    assert found == [f"{out}/{name}" for name in ("a.wav", "b.flac", "c.wav")]


def test_saved_datasets_get_a_fingerprint_of_their_own(halving, recordings, tmp_path):
    path = saved_dataset(tmp_path, recordings)
    halving(path, tmp_path / "out")

    def mark(folder):
        return json.loads((folder / "train" / "state.json").read_text())["_fingerprint"]

    assert mark(path) != mark(tmp_path / "out")


@pytest.mark.parametrize(
    "columns, found, others",
    [
        (["noisy.flac"], ["000.noisy.flac"], {"000.clean.flac": b"clean"}),
        ([".MP3"], ["000.mp3.wav"], {"000.wav": b"wave"}),
    ],
)
def test_columns_of_tar_shards_are_extensions(
    halving, recordings, tmp_path, columns, found, others
):
    audio = recordings["b.flac"].read_bytes()
    with tarfile.open(tmp_path / "x.tar", "w") as shard:
        members = others | {"000.noisy.flac": audio, "000.mp3": audio}
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    with pytest.raises(
        UsageError, match="another recording of its sample: .* --column"
    ):
        halving(tmp_path / "x.tar", tmp_path / "refused")
    with pytest.raises(UsageError, match="no recordings in column 'opus'"):
        halving(tmp_path / "x.tar", tmp_path / "refused", columns=("mp3", "opus"))
    halving(tmp_path / "x.tar", tmp_path / "out", columns=columns)
    with tarfile.open(tmp_path / "out" / "x.tar") as shard:
        written = {m.name: shard.extractfile(m).read() for m in shard}
    assert [name for name in written if written[name] not in members.values()] == found
    assert len(written) == len(members) and written | others == written


@pytest.mark.parametrize(
    "damage", ["header", "cut", "between members", "joined", "empty"]
)
def test_damaged_tar_shards_are_refused(tmp_path, recordings, damage):
    path = tar(tmp_path, recordings)
    data = bytearray(path.read_bytes())
    if damage == "header":  # which tarfile takes for the end
        data[1024 + 5] ^= 1
    elif damage == "joined":
        data = data * 2
    else:
        with tarfile.open(path) as shard:
            second = shard.getmembers()[1].offset
        del data[{"cut": second + 700, "between members": second, "empty": 0}[damage] :]
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"x\.tar: (not a whole|damaged or|more data)"):
        open_manifest(path).unpack(tmp_path / "unpacked")


@pytest.mark.parametrize("form", ["parquet", "datasets"])
@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_truncated_tables_are_refused(tmp_path, recordings, form, share):
    path = FORMS[form][0](tmp_path, recordings)
    part = path if path.is_file() else next((path / "train").glob("*.arrow"))
    data = part.read_bytes()
    part.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UsageError, match=f"{part.name} (cannot be read|is incomplete)"):
        open_manifest(path).unpack(tmp_path / "unpacked")


@pytest.mark.parametrize(
    "name, content",
    [
        ("state.json", "{"),
        ("state.json", "[]"),
        ("state.json", "{}"),
        ("state.json", '{"_data_files": [{"filename": "../../x.arrow"}]}'),
        ("state.json", '{"_data_files": [{"filename": "\\u0000"}]}'),
        ("state.json", '{"_data_files": ["\\ud800"]}'),
        ("state.json", '{"_data_files": [], "_indices_files": ["x"]}'),
        ("../dataset_dict.json", '{"splits": ["../saved/train"]}'),
        ("../dataset_dict.json", '{"splits": 5}'),
    ],
)
def test_malformed_states_of_datasets_are_refused(tmp_path, recordings, name, content):
    path = saved_dataset(tmp_path, recordings)
    (path / "train" / name).write_text(content)
    with pytest.raises(UsageError, match=name.rpartition("/")[2]):
        open_manifest(path)


def test_two_columns_of_audio_must_be_chosen_from(tmp_path, recordings):
    rows = arrow_table(recordings)
    import pyarrow.parquet

    rows = rows.append_column("clean", rows["audio"]).replace_schema_metadata(None)
    pyarrow.parquet.write_table(rows, tmp_path / "t.parquet")
    with pytest.raises(UsageError, match=r"several columns .*audio, clean.* --column"):
        open_manifest(tmp_path / "t.parquet")
    assert open_manifest(tmp_path / "t.parquet", columns=["clean"])


def test_a_fixed_decoding_rate_keeps_the_rate(tmp_path, recordings):
    rows = arrow_table(recordings)
    import pyarrow.parquet

    features = {"audio": {"_type": "Audio", "sampling_rate": 16000}}
    noted = {"huggingface": json.dumps({"info": {"features": features}})}
    rows = rows.replace_schema_metadata(noted)
    pyarrow.parquet.write_table(rows, tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="decoded at 16000 Hz .* --sample-rate keep"):
        open_manifest(tmp_path / "t.parquet").check_rate_change()


def test_folders_with_recordings_are_folders(tmp_path, recordings):
    tar(tmp_path / "corpus", recordings)
    assert open_manifest(tmp_path / "corpus").kind == "folder"
    (tmp_path / "only").mkdir()
    tar(tmp_path / "only", recordings)
    assert open_manifest(tmp_path / "only").kind == "webdataset"


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_packed_corpora_are_not_written_over(halving, recordings, tmp_path, form):
    (tmp_path / "in").mkdir()
    path = FORMS[form][0](tmp_path / "in", recordings)
    with pytest.raises(UsageError, match="overwritten by the new manifest"):
        halving(path, tmp_path / "in")
    with pytest.raises(UsageError, match="is inside .*the folder to restore"):
        halving(tmp_path / "in", tmp_path / "in" / "out")
    assert [p.name for p in (tmp_path / "in").iterdir()] == [path.name]


def test_without_pyarrow_the_error_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"lafufu_sb\[datasets\]"):
        open_manifest(tmp_path / "t.parquet")
