"""Manifests: the recordings they name, and rewriting that keeps everything else."""

import csv
import gzip
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from speechbrain.dataio.dataio import load_data_csv, load_data_json

from lafufu_sb.cleaning import manifests
from lafufu_sb.cleaning.manifests import (
    KINDS,
    Cleaned,
    Manifest,
    base,
    open_manifest,
    register,
)
from lafufu_sb.cleaning.manifests.base import resolve
from lafufu_sb.cleaning.plan import make_plan
from lafufu_sb.errors import UsageError


def renamed(manifest, drop=()):
    """Every recording moved to /new, except failed ones."""
    return {
        source: None
        if os.path.basename(source) in drop
        else Cleaned(f"/new/{os.path.basename(source)}", 16000, 100)
        for source in manifest.sources.values()
    }


def rewritten(manifest, path, **options):
    manifest.write(path, renamed(manifest, **options))
    return path.read_text()


NEMO = '{"audio_filepath": "/a.wav", "duration": 1.5}\n'
# A quotation mark in the first row that some mark in the last row closes
LOST = "ID,wav,text\na,/a.wav,{}\n" + "b,/b.wav,x\n" * 13 + "c,/c.wav,{}\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(
        "ID, duration, wav, wav_format, wrd\n"
        'u1, 1.5, /d/a.wav, wav, "hello, ""you"""\n'
        "u2, 2.5, /d/b.wav, wav, bye\n"
        "u3, 3.5, /d/a.wav, wav, again\n"
    )
    return path


def test_csv_keeps_columns_order_and_text(table, tmp_path):
    manifest = open_manifest(table)
    assert list(manifest.sources) == ["/d/a.wav", "/d/b.wav"]
    rewritten(manifest, tmp_path / "new.csv")
    with open(tmp_path / "new.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["ID", "duration", "wav", "wav_format", "wrd"],
        ["u1", "1.5", "/new/a.wav", "wav", 'hello, "you"'],
        ["u2", "2.5", "/new/b.wav", "wav", "bye"],
        ["u3", "3.5", "/new/a.wav", "wav", "again"],
    ]
    assert load_data_csv(tmp_path / "new.csv")["u1"]["wrd"] == 'hello, "you"'


def test_rows_without_a_result_are_left_out(table, tmp_path):
    text = rewritten(open_manifest(table), tmp_path / "new.csv", drop=["a.wav"])
    assert [line.split(",")[0] for line in text.splitlines()] == ["ID", "u2"]


@pytest.mark.parametrize(
    "header, row, columns, found",
    [
        ("ID,wav,other", "u,/a.wav,/b.wav", [], ["/a.wav"]),
        ("ID,path,text", "u,/a.flac,hi", [], ["/a.flac"]),
        ("ID,noisy_wav,clean_wav", "u,/a.wav,/b.wav", ["noisy_wav"], ["/a.wav"]),
        (
            "ID,noisy_wav,clean_wav",
            "u,/a.wav,/b.wav",
            ["noisy_wav", "clean_wav"],
            ["/a.wav", "/b.wav"],
        ),
    ],
)
def test_which_column_is_audio(tmp_path, header, row, columns, found):
    path = tmp_path / "t.csv"
    path.write_text(f"{header}\n{row}\n")
    assert list(open_manifest(path, columns=columns).sources) == found


def test_placeholders_are_filled_in_and_gone_afterwards(tmp_path):
    table, items = tmp_path / "t.csv", tmp_path / "t.json"
    table.write_text("ID,wav\nu,$data_root/a.wav\n")
    items.write_text('{"u": {"wav": "{data_root}/a.wav", "words": "{data_root}"}}')
    for path in (table, items):
        manifest = open_manifest(path, placeholders={"data_root": "/d"})
        assert list(manifest.sources.values()) == ["/d/a.wav"]
        new = tmp_path / f"new{path.suffix}"
        assert "/new/a.wav" in rewritten(manifest, new)
    assert load_data_json(new, {"data_root": "/d"})["u"] == {
        "wav": "/new/a.wav",
        "words": "/d",
    }


def test_json_keeps_all_fields_and_their_order(tmp_path):
    path = tmp_path / "t.json"
    items = {
        "z": {"wav": "/d/z.wav", "length": 1.25, "words": "ünï", "more": {"a": [1]}},
        "a": {"words": "", "wav": {"file": "/d/a.wav", "start": 5, "stop": 9}},
    }
    path.write_text(json.dumps(items))
    new = json.loads(rewritten(open_manifest(path), tmp_path / "new.json"))
    items["z"]["wav"] = "/new/z.wav"
    items["a"]["wav"]["file"] = "/new/a.wav"
    assert new == items
    assert [list(new), *map(list, new.values())] == [
        ["z", "a"],
        ["wav", "length", "words", "more"],
        ["words", "wav"],
    ]


def test_kaldi_keeps_utterances_and_order(tmp_path):
    path = tmp_path / "wav.scp"
    path.write_text("utt2  /d/b c.wav\n\nutt1\t/d/a.wav\n")
    manifest = open_manifest(path)
    assert list(manifest.sources) == ["/d/b c.wav", "/d/a.wav"]
    text = rewritten(manifest, tmp_path / "new.scp")
    assert text == "utt2 /new/b c.wav\nutt1 /new/a.wav\n"


def test_names_that_are_not_utf8_survive(tmp_path):
    path = tmp_path / "wav.scp"
    path.write_bytes(b"utt /d/\xff.wav\n")
    manifest = open_manifest(path)
    manifest.write(tmp_path / "new.scp", renamed(manifest))
    assert (tmp_path / "new.scp").read_bytes() == b"utt /new/\xff.wav\n"


def test_folder_names_its_recordings(corpus):
    names = list(open_manifest(corpus).sources)
    assert names == ["a.wav", "one/b.flac", "one/c.wav", "two/deep/d.ogg", "two/e.wav"]


def test_relative_paths_start_here_then_beside_the_manifest(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "beside").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    manifest = tmp_path / "beside" / "wav.scp"
    assert resolve("a.wav", manifest) == str(tmp_path / "here" / "a.wav")
    (tmp_path / "beside" / "a.wav").touch()
    assert resolve("a.wav", manifest) == str(tmp_path / "beside" / "a.wav")
    (tmp_path / "here" / "a.wav").touch()
    assert resolve("a.wav", manifest) == str(tmp_path / "here" / "a.wav")


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("wav.scp", "a /a.wav\nb sox b.wav -t wav - |\n", "line 2: 'b' is a command"),
        ("wav.scp", "a /a.ark:123\n", "line 1: 'a' must have the path of a recording"),
        ("wav.scp", "a\n", "line 1: 'a' must have the path of a recording"),
        ("wav.scp", "\n", "names no recordings"),
        ("wav.scp", "a /\0.wav\n", "is not UTF-8 text"),
        ("t.csv", "ID,wav\n", "names no recordings"),
        ("t.csv", "ID,wav\na,/a.wav,more\n", "line 2: 3 fields instead of 2"),
        ("t.csv", 'ID,wav,t\na,/a.wav,x\nb,/b.wav,"y\nc,/c.wav,z\n', "line 3: a quot"),
        ("t.csv", f'ID,wav\na,"{"x" * 140_000}', "line 2: not CSV .* quotation"),
        ("t.csv", f"ID,wav\na,{'x' * 140_000}\n", "line 2: not CSV .*131072"),
        ("t.csv", f'"{"x" * 140_000}",wav\na,b\n', "line 1: not CSV .*131072"),
        ("t.csv", LOST.format('"hello', 'hello"'), "line 2: .* into line 3, which"),
        ("t.csv", LOST.format('"hello', '"hello"'), "line 2: not CSV"),
        ("t.csv", LOST.format('"hello', 'hello""'), "line 2: a quotation mark is nev"),
        ("t.csv", 'ID,t,wav\n"a,x,/a.wav\nb",y,/b.wav\n', "line 2: .* line break"),
        ("t.csv", 'ID,wav\na,"/a\n.wav"\n', "line 2: a line break in '/a"),
        ("t.csv", "ID,wav\na,/a.wav\nb,/b.wav\na,/c.wav\n", "line 4: ID 'a' is al"),
        ("t.csv", "ID,wav,t,t\na,/a.wav,1,2\n", "line 1: two columns named 't'"),
        ("t.csv", "ID,wav,duration\na,/a.wav,nan\n", "line 2: the duration nan is"),
        ("t.csv", "ID,wav\na,s3://b/a.wav\n", "line 2: .* is an address: download"),
        ("t.csv", "ID,wav\n" + "a,/a.wav\n" * 999 + "b,\0", "line 1001: .* not UTF-8"),
        ("t.csv", "", "names no recordings"),
        ("t.tsv", "path\tsentence\n", "names no recordings"),
        ("t.tsv", "path\tsentence\na.mp3\n", "line 2: 1 fields instead of 2"),
        ("t.tsv", "path\tx\na.mp3\tb\nc.mp3\td\te\n", "line 3: 3 fields instead"),
        ("t.tsv", "path\tpath\na.mp3\tb\n", "line 1: two columns named 'path'"),
        ("segments", "a rec 0 1\n", "clean wav.scp. The results .* copy segments"),
        ("wav.scp", "a /a.wav\na /b.wav\n", "line 2: 'a' is there twice"),
        ("t.csv", "ID,wav,wav\na,/a.wav,/b.wav\n", "line 1: two columns named 'wav'"),
        ("t.csv", "ID,x,y\na,/a.wav,/b.wav\n", "several columns .* with --column"),
        ("t.csv", "ID,x\na,b\n", "no column of audio files"),
        ("t.csv", "ID,wav\na,$data_root/a.wav\n", "--placeholder data_root=FOLDER"),
        ("t.json", '{"a": {"wav": "{root}/a.wav"}}', "--placeholder root=FOLDER"),
        (
            "t.json",
            '{"a": {"wav": ["/a.wav", "/b.wav"]}}',
            "item 'a': 'wav' must be a path .* not an array",
        ),
        ("t.json", '{"a": {"wav": ""}}', "item 'a': the path .* is empty"),
        ("t.json", '{"a": {"wav": "\\ud800"}}', "item 'a': .* cannot be a file name"),
        ("t.json", '{"a": {"wav": "\\u0000"}}', "item 'a': .* cannot be a file name"),
        ("t.json", '{"a": 1}', "item 'a': a number instead of an object"),
        ("t.json", "[1]", "holds an array, no items"),
        ("t.json", "[" * 100_000, "nested too deeply"),
        ("t.json", f'{{"a": {{"wav": "/a", "x": {"[" * 200 + "]" * 200}}}}}', "nested"),
        ("t.json", '{"a": {"wav": "/a"}, "a": {"wav": "/b"}}', "'a' is there twice"),
        ("t.json", '{"a": {"wav": 5}}', "item 'a': .* not a number"),
        ("t.json", '{"a": {"wav": null}}', "item 'a': .* not null"),
        ("t.json", '{"a": {"wav": "/a", "duration": NaN}}', "item 'a': the duration n"),
        ("t.json", f'{{"a": {"9" * 5000}}}', "t.json cannot be used"),
        ("t.json", "", "line 1, column 1: not JSON"),
        ("n.json", NEMO + "\n[1]\n", "line 3: an array instead of"),
        ("n.json", NEMO + '{"audio_filepath": 5}', "line 2: .* it is a number"),
        ("n.json", NEMO + '{"text": "x"}', "line 2: 'audio_filepath' .* missing"),
        ("n.json", NEMO + '{"audio_filepath": ["/a", "/b"]}', "line 2: .* an array"),
        ("n.json", NEMO + NEMO.replace("1.5", "NaN"), "line 2: the duration nan is no"),
        ("n.json", NEMO + NEMO.replace("1.5", '"1.5"'), "line 2: .* it is a string"),
        ("n.json", NEMO.replace("{", '{"shard_id": 1,'), "line 1: .* clean the shards"),
        ("n.json", NEMO + "{" * 10, "line 2: not JSON"),
        ("n.json", NEMO + '{"x": ' + "[" * 100_000, "line 2: not JSON .*too deep"),
        ("t.json", '{\n"a"', "line 2, column 4: not JSON"),
        ("t.wav", "", "use `lafufu enhance`"),
        ("t.txt", "", "name the format with --kind"),
    ],
)
def test_malformed_manifests_are_refused_with_the_place(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        open_manifest(path)


def test_quoted_text_may_have_marks_and_line_breaks(tmp_path):
    path = tmp_path / "t.csv"
    rows = [["ID", "wav", "text"], ["a", "/new/a.wav", 'he said "x",\nand more,\n']]
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    rewritten(open_manifest(path), tmp_path / "new.csv")
    with open(tmp_path / "new.csv", newline="") as stream:
        assert list(csv.reader(stream)) == rows


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"mixed"])
def test_line_ends_and_the_mark_of_utf8_do_not_matter(tmp_path, end, mark):
    path = tmp_path / "t.csv"
    if end == b"mixed":
        path.write_bytes(mark + b"ID,wav\r\nu,/a.wav\nv,/b.wav\rw,/c.wav")
    else:
        rows = [b"ID,wav", b"u,/a.wav", b"v,/b.wav", b"w,/c.wav"]
        path.write_bytes(mark + end.join(rows))
    text = rewritten(open_manifest(path), tmp_path / "new.csv")
    assert text == "ID,wav\nu,/new/a.wav\nv,/new/b.wav\nw,/new/c.wav\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.json", "wav.scp", "n.jsonl"])
def test_other_encodings_are_refused(tmp_path, name, encoding):
    (tmp_path / name).write_text("ID\twav\n", encoding=encoding)
    kind = "nemo" if name == "n.jsonl" else None
    with pytest.raises(UsageError, match=f"{name}, line 1: .* convert .* to UTF-8"):
        open_manifest(tmp_path / name, kind)


@pytest.mark.parametrize("damage", ["cut", "header", "body", "not gzip", "name"])
@pytest.mark.parametrize("name", ["t.csv.gz", "t.tsv.gz", "t.json.gz", "n.jsonl.gz"])
def test_damaged_gzip_is_refused(tmp_path, name, damage):
    data = bytearray(gzip.compress(b"ID,wav\nu,/a.wav\n" * 99))
    path = tmp_path / (name.removesuffix(".gz") if damage == "name" else name)
    if damage == "cut":
        del data[-12:]
    elif damage == "not gzip":
        data = b"ID,wav\n"
    elif damage != "name":
        data[1 if damage == "header" else 14] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UsageError, match=f"{path.name} is .*gzip"):
        open_manifest(path, name.split(".")[1].replace("jsonl", "nemo"))


@pytest.mark.parametrize(
    "name, text",
    [
        ("t.csv", 'ID,duration,wav,w\n"a",1.5,/d/a.wav,"x, ""y"""\nb,2,/d/b.wav,z\n'),
        ("t.tsv", 'path\tduration\tw\n/d/a.wav\t1.5\t"x\n/d/b.wav\t2\tz\n'),
        ("t.json", '{"a": {"wav": {"file": "/d/a.wav"}, "duration": 1.5, "w": [{}]}}'),
        ("n.json", NEMO + '{"audio_filepath": "/b", "offset": 0.5, "w": [{}]}\n'),
        ("wav.scp", "a /d/a.wav\nb /d/b.wav\n"),
    ],
)
def test_no_damage_ends_in_a_traceback(tmp_path, name, text):
    chance = random.Random(name)
    inserts = [
        '"',
        "\0",
        "\n",
        "\r",
        ",",
        "\t",
        "NaN",
        "null",
        "5",
        "[]",
        "{}",
        "\\ud8ff",
    ]
    inserts += ["-1", "1e999", "9" * 5000, "x" * 140_000, "[" * 9999, "://", "\udcff"]
    path, said = tmp_path / name, set()
    for _ in range(150):
        start = chance.randrange(len(text))
        stop = min(len(text), start + chance.choice([0, 1, 4, 40]))
        insert = chance.choice(["", *inserts])
        damaged = text[:start] + insert + text[stop:]
        path.write_bytes(damaged.encode(errors="surrogateescape"))
        try:
            manifest = open_manifest(path)
            manifest.write(tmp_path / "new", renamed(manifest))
        except UsageError as error:
            assert str(path) in str(error)
            said.add(re.sub(r"\d+", "", str(error)))
    assert len(said) > 2


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        open_manifest(tmp_path / "t.csv")


def test_a_column_may_be_named_twice(table, tmp_path):
    manifest = open_manifest(table, columns=["wav", "wav"])
    assert "/new/a.wav" in rewritten(manifest, tmp_path / "new.csv")


@pytest.mark.parametrize(
    "name, text, seconds",
    [
        ("t.csv", "ID,wav,duration\na,/a.wav,2.5\nb,/a.wav,1\n", 2.5),
        ("t.csv", "ID,wav,duration\na,/a.wav,0:02\n", None),
        ("t.tsv", "path\tduration\n/a.wav\t2.5\n", 2.5),
        ("t.json", '{"a": {"wav": "/a.wav", "duration": 2.5}}', 2.5),
        ("t.json", '{"a": {"wav": "/a.wav", "duration": "long"}}', None),
        ("n.json", '{"audio_filepath": "/a.wav", "duration": 2, "offset": 7}', 9),
        ("n.json", '{"audio_filepath": "/a.wav", "duration": null}', None),
    ],
)
def test_stated_lengths_reach_the_plan(tmp_path, name, text, seconds):
    path = tmp_path / name
    path.write_text(text)
    (file,) = make_plan(open_manifest(path), tmp_path / "out")
    assert (file.source, file.stated) == ("/a.wav", seconds or 0.0)


def test_unknown_column_and_missing_file_are_refused(table):
    with pytest.raises(UsageError, match="no column 'x': choose from ID, dur"):
        open_manifest(table, columns=["x"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_manifest("missing.csv")


def test_another_rate_is_refused_where_fields_may_count_samples(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("ID,wav,start\nu,/a.wav,16000\n")
    with pytest.raises(UsageError, match="'start' may count samples"):
        open_manifest(path).check_rate_change()


def test_text_that_only_json_can_hold_survives(tmp_path):
    path = tmp_path / "t.json"
    path.write_bytes(b'{"a": {"wav": "/d/\xff.wav", "words": "\\ud800 \xc3\xbc"}}')
    manifest = open_manifest(path)
    manifest.write(tmp_path / "new.json", renamed(manifest))
    written = (tmp_path / "new.json").read_text("utf-8")  # SpeechBrain opens it so
    assert '"\\ud800 ü"' in written
    items = json.loads(written)
    assert os.fsencode(items["a"]["wav"]) == b"/new/\xff.wav"


def test_the_format_of_the_guide_needs_one_class(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "FORMATS", base.FORMATS.copy())
    monkeypatch.setattr(manifests, "FORMATS", base.FORMATS)
    guide = (Path(__file__).parents[2] / "docs" / "cleaning.md").read_text()
    (code,) = re.findall(r"```python\n(@register\n.*?)```", guide, re.DOTALL)
    exec(code, {"register": register, "Manifest": Manifest})
    path = tmp_path / "wavs.list"
    path.write_text("/d/a.wav\n/d/b.wav\n")
    text = rewritten(open_manifest(path), tmp_path / "new.list", drop=["a.wav"])
    assert text == "/new/b.wav\n"
    path.write_text("/d/a.wav\n\n")
    with pytest.raises(UsageError, match="wavs.list, line 2: .* is empty"):
        open_manifest(path)
    with pytest.raises(UsageError, match="--column does not apply to list"):
        open_manifest(path, columns=["wav"])


def test_two_formats_cannot_claim_one_ending():
    class Other(Manifest):
        kind, endings = "other", (".csv",)

    with pytest.raises(ValueError, match="both claim"):
        register(Other)


def test_formats_are_known_without_their_toolkits():
    code = (
        "import sys; from lafufu_sb.cleaning.manifests import KINDS; print(*KINDS, "
        "*{'lhotse', 'pyarrow', 'speechbrain', 'torch'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.split() == list(KINDS)
    assert {"folder", "csv", "json", "kaldi", "lhotse"} <= set(KINDS)
