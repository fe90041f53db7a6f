import importlib.util
import zlib

import pytest
from runs import ROOT

from lafufu_sb.errors import UsageError

SPEC = importlib.util.spec_from_file_location(
    "make_mini_lists", ROOT / "recipes" / "EARS" / "make_mini_lists.py"
)
lists = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(lists)

FILES = [
    *(f"speech/ravdess/r0{number}/a.flac" for number in (1, 15, 16, 17, 18)),
    *(f"speech/gcompris/{name}/b.ogg" for name in ("de", "eu", "it")),
    *(f"rir/openair/{name}.flac" for name in ("MaesHowe", "TerrysTypingRoom")),
    "rir/openair/TyndallBruceMonument.flac",
    *(f"noise/esc10/{number}.ogg" for number in range(40)),
]


@pytest.fixture
def recordings(tmp_path):
    for name in [*FILES, "noise/README.md"]:
        path = tmp_path / "recordings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "recordings"


def test_each_recording_is_in_one_list_of_its_kind(recordings, tmp_path):
    lists.main([str(recordings), "-o", str(tmp_path / "lists")])
    found = {p.stem: p.read_text().split() for p in (tmp_path / "lists").iterdir()}
    assert len(found) == 9 and all(found.values())
    expected = sorted(str(recordings / name) for name in FILES)
    assert sorted(path for paths in found.values() for path in paths) == expected
    for kind_and_subset, paths in found.items():
        kind = kind_and_subset.partition("_")[0]
        assert all(f"/{kind}/" in path for path in paths)


def test_speakers_and_rooms_are_those_of_the_model_cards(recordings, tmp_path):
    lists.write_lists(recordings, tmp_path)
    speech = (tmp_path / "speech_test.txt").read_text()
    assert all(f"/{name}/" in speech for name in ("r015", "r016", "eu"))
    assert not any(f"/{name}/" in speech for name in ("r01", "r017", "it", "de"))
    assert (tmp_path / "rir_valid.txt").read_text().count("TyndallBruce") == 1


def test_noises_are_drawn_by_the_crc_of_their_names(recordings, tmp_path):
    lists.write_lists(recordings, tmp_path)
    for subset, remainder in (("test", 0), ("valid", 1)):
        names = {p.rpartition("/")[2] for p in _lines(tmp_path, f"noise_{subset}")}
        numbers = (f"{n}.ogg" for n in range(40))
        assert names == {n for n in numbers if zlib.crc32(n.encode()) % 8 == remainder}


def test_a_folder_without_rooms_is_refused(recordings, tmp_path):
    for path in (recordings / "rir").rglob("*.flac"):
        path.unlink()
    with pytest.raises(UsageError, match="rir has no recordings for train"):
        lists.write_lists(recordings, tmp_path / "lists")


def _lines(folder, name):
    return (folder / f"{name}.txt").read_text().split()
