"""Paths of results, refused plans, and shards of equal length."""

import os

import pytest
from corpora import write_noise

from lafufu_sb.cleaning import collisions
from lafufu_sb.cleaning.manifests import open_manifest
from lafufu_sb.cleaning.plan import PlannedFile, make_plan, split
from lafufu_sb.errors import UsageError


def targets(files, output):
    return [os.path.relpath(file.target, output) for file in files]


def scp(folder, *paths):
    path = folder / "wav.scp"
    path.write_text("".join(f"u{i} {path}\n" for i, path in enumerate(paths)))
    return open_manifest(path)


def test_folders_are_mirrored_and_headers_read(corpus, tmp_path):
    files = make_plan(open_manifest(corpus), tmp_path / "out")
    assert targets(files, tmp_path / "out") == [
        "a.wav",
        "one/b.flac",
        "one/c.wav",
        "two/deep/d.wav",
        "two/e.wav",
    ]
    assert [file.seconds for file in files] == pytest.approx(
        [0.11, 0.1, 0.05, 0.1, 0.2]
    )
    assert [file.channels for file in files] == [1, 2, 1, 1, 1]
    assert files[0].size == (corpus / "a.wav").stat().st_size


def test_manifests_mirror_below_the_folder_that_all_share(corpus, tmp_path):
    manifest = scp(
        tmp_path, corpus / "one" / "c.wav", corpus / "two" / "deep" / "d.ogg"
    )
    files = make_plan(manifest, tmp_path / "out")
    assert targets(files, tmp_path / "out") == ["one/c.wav", "two/deep/d.wav"]


@pytest.mark.parametrize(
    "audio_format, expected",
    [
        ("same", ["a.flac", "a.mp3.wav", "a.wav", "b.WAV"]),
        ("wav", ["a.flac.wav", "a.mp3.wav", "a.wav", "b.WAV"]),
        ("flac", ["a.flac", "a.mp3.flac", "a.wav.flac", "b.flac"]),
    ],
)
def test_names_that_would_clash_keep_both_suffixes(tmp_path, audio_format, expected):
    paths = [tmp_path / name for name in ("a.flac", "a.mp3", "a.wav", "b.WAV")]
    files = make_plan(scp(tmp_path, *paths), tmp_path / "out", audio_format)
    assert targets(files, tmp_path / "out") == expected


def test_clashes_that_remain_are_refused(tmp_path):
    paths = [tmp_path / name for name in ("a.mp3", "a.wav", "a.mp3.wav")]
    with pytest.raises(UsageError, match="would both become"):
        make_plan(scp(tmp_path, *paths), tmp_path / "out")


@pytest.mark.parametrize(
    "names, message",
    [
        (["a.mp3", "a.wav/b.wav"], r"a.mp3 and the folder of .*a.wav/b.wav would both"),
        (
            ["wav.scp/a.wav", "b.wav"],
            r"new version of .* and the folder of .*wav.scp/a",
        ),
        (["cleaning_report.csv/a.wav", "b.wav"], "report of the cleaning and the fold"),
        (["cleaning_report.html/a.wav", "b.wav"], "report of the cleaning and the f"),
        ([".lafufu-clean/a.wav", "b.wav"], "state of the cleaning and the folder of"),
        ([251 * "a" + ".mp3", 251 * "a" + ".ogg"], "too long for a file name"),
    ],
)
def test_what_cannot_all_be_written_is_refused_with_both_names(
    tmp_path, names, message
):
    manifest = scp(tmp_path, *(tmp_path / "in" / name for name in names))
    with pytest.raises(UsageError, match=message):
        make_plan(manifest, tmp_path / "out")


@pytest.mark.parametrize(
    "names", [("A.wav", "a.wav"), ("\u00e9.wav", "e\u0301.wav"), ("A/x.wav", "a/X.WAV")]
)
def test_spellings_clash_only_where_the_file_system_confuses_them(
    tmp_path, monkeypatch, names
):
    manifest = scp(tmp_path, *(tmp_path / "in" / name for name in names))
    monkeypatch.setattr(collisions, "_fold_of", lambda folder: str)
    assert targets(make_plan(manifest, tmp_path / "out"), tmp_path / "out") == [*names]
    monkeypatch.setattr(collisions, "_fold_of", lambda folder: collisions._folded)
    with pytest.raises(UsageError, match=f"{names[0]} and .*{names[1]} would both"):
        make_plan(manifest, tmp_path / "out")


def test_how_a_file_system_compares_names_is_tried_out(tmp_path):
    (tmp_path / "x").touch()
    ignores_case = (tmp_path / "X").exists()
    fold = collisions._fold_of(tmp_path / "missing" / "out")
    assert (fold("/out/A") == fold("/out/a")) is ignores_case
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    "obstacle, message",
    [("one/c.wav/x", "c.wav is a folder where a file"), ("one", "is a file where a f")],
)
def test_obstacles_in_the_output_folder_are_refused(
    corpus, tmp_path, obstacle, message
):
    obstacle = tmp_path / "out" / obstacle
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()
    with pytest.raises(UsageError, match=message):
        make_plan(open_manifest(corpus), tmp_path / "out")


def test_originals_are_never_overwritten(corpus, tmp_path):
    with pytest.raises(UsageError, match="would overwrite a recording"):
        make_plan(scp(tmp_path, corpus / "a.wav"), corpus)
    with pytest.raises(UsageError, match="overwritten by the new manifest"):
        make_plan(scp(tmp_path, corpus / "a.wav"), tmp_path)
    with pytest.raises(UsageError, match="is inside"):
        make_plan(open_manifest(corpus), corpus / "out")
    with pytest.raises(UsageError, match="is inside the output folder"):
        make_plan(open_manifest(corpus), tmp_path)


def test_files_that_cannot_be_read_are_planned_all_the_same(tmp_path):
    (tmp_path / "text.wav").write_text("text")
    manifest = scp(tmp_path, tmp_path / "missing.wav", tmp_path / "text.wav")
    missing, text = make_plan(manifest, tmp_path / "out")
    assert (missing.size, missing.channels, text.size, text.channels) == (-1, 0, 4, 0)


def test_shards_are_of_equal_cost_and_complete():
    files = [PlannedFile(i, str(i), "", 1.0 + i % 7, 1 + i % 2) for i in range(100)]
    shards = split(files, 8)
    costs = [sum(file.cost for file in shard) for shard in shards]
    assert max(costs) - min(costs) <= 2.0
    assert sorted(f.index for shard in shards for f in shard) == list(range(100))
    assert all(shard == sorted(shard, key=lambda f: f.index) for shard in shards)
    assert split(files, 8) == shards


def test_channels_and_very_short_files_count_in_the_cost():
    assert PlannedFile(0, "", "", 10.0, 2).cost == 20.0
    assert PlannedFile(0, "", "", 0.1, 1).cost == 1.0


def test_links_to_recordings_keep_their_own_names(corpus, tmp_path):
    (tmp_path / "link.wav").symlink_to(write_noise(corpus / "x.wav"))
    (file,) = make_plan(scp(tmp_path, tmp_path / "link.wav"), tmp_path / "out")
    assert file.target == str(tmp_path / "out" / "link.wav")
