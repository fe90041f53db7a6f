"""What survives a kill, and what is refused."""

import contextlib
import json
from pathlib import Path

import pytest
from moments import DISK_FULL, failing

from lafufu_sb.cleaning.journal import read_journal
from lafufu_sb.cleaning.plan import PlannedFile
from lafufu_sb.cleaning.state import State
from lafufu_sb.errors import UsageError


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path / "out")
    state.open()
    return state


def planned(state, name="a.wav", size=10):
    return PlannedFile(0, f"/in/{name}", str(state.output / name), size=size)


def row(file, size=3, decision="restored"):
    marks = {"source": file.source, "target": file.target, "size": file.size}
    return marks | {"mtime_ns": file.mtime_ns, "bytes": size, "decision": decision}


def write(shard, file, content=b"abc"):
    with shard.whole(file.target, file.index) as temporary:
        temporary.write_bytes(content)


def test_a_file_appears_when_it_is_whole(state):
    file = planned(state)
    with state.shard("1-of-1") as shard:
        with pytest.raises(ZeroDivisionError), shard.whole(file.target, 0) as temporary:
            temporary.write_bytes(b"ab")
            raise ZeroDivisionError
        assert list(state.output.rglob("*.wav")) == []
        write(shard, file)
    assert (state.output / "a.wav").read_bytes() == b"abc"


def test_rows_hold_while_recording_and_result_are_unchanged(state):
    file = planned(state)
    with state.shard("1-of-1") as shard:
        write(shard, file)
        shard.note(row(file))
    assert list(state.rows([file])) == [file.source]
    assert state.rows([planned(state, size=11)]) == {}  # the recording has changed
    assert state.rows([planned(state, name="b.wav")]) == {}
    (state.output / "a.wav").write_bytes(b"ab")
    assert state.rows([file]) == {}  # the result has


def test_a_result_counts_more_than_a_failure_before_or_after(state):
    file = planned(state)
    for name in ("1-of-2", "2-of-2"):
        with state.shard(name) as shard:
            shard.note(row(file, None, "failed"))
    assert state.rows([file])[file.source]["decision"] == "failed"
    with state.shard("1-of-2") as shard:
        write(shard, file)
        shard.note(row(file))
    assert state.rows([file])[file.source]["decision"] == "restored"


def test_an_incomplete_line_is_ignored_and_cut_off(state):
    file = planned(state)
    journal = state.folder / "shard-1-of-1" / "journal.jsonl"
    with state.shard("1-of-1") as shard:
        shard.note(row(file))
    whole = journal.read_bytes()
    for torn in (b'{"source": "/in', b'{"source": 1}', b"\xff"):
        journal.write_bytes(whole + torn)
        assert len(read_journal(journal)) == 1
        with state.shard("1-of-1"):
            assert journal.read_bytes() == whole


def test_temporary_files_of_killed_runs_are_swept(state):
    for name in ("1-of-1", "2-of-3"):
        folder = state.folder / f"shard-{name}" / "tmp"
        folder.mkdir(parents=True)
        (folder / "0.wav").write_bytes(b"half")
    state.open()
    assert list(state.folder.rglob("*.wav")) == []


def test_a_working_process_is_not_disturbed(state):
    with state.shard("1-of-1") as shard:
        other = State(state.output)
        with shard.whole(state.output / "a.wav", 0) as temporary:
            temporary.write_bytes(b"abc")
            other.open()
        with pytest.raises(UsageError, match="another process is working on"):
            with other.shard("1-of-1"):
                pass
        with pytest.raises(UsageError, match="another process is working on"):
            other.open(restart=True)
    assert (state.output / "a.wav").read_bytes() == b"abc"


def test_a_restart_discards_nothing_while_any_shard_is_at_work(state):
    file = planned(state)
    with state.shard("1-of-2") as shard:  # idle, and first in order
        write(shard, file)
        shard.note(row(file))
    with state.shard("2-of-2"):
        with pytest.raises(UsageError, match="working on shard 2-of-2 of"):
            State(state.output).open(restart=True)
        assert list(state.rows([file])) == [file.source]


@pytest.mark.parametrize("other", ["1-of-1", "2-of-3", "ray"])
def test_another_division_is_refused_while_a_shard_is_at_work(state, other):
    with state.shard("1-of-2"):
        with state.shard("2-of-2"):
            pass
        with pytest.raises(UsageError, match="working on shard 1-of-2 of"):
            with state.shard(other):
                pass
    with state.shard(other):
        pass


def test_two_writers_never_share_a_temporary_file(state, monkeypatch):
    """Even where the file system's locks do not work, as between two machines."""

    @contextlib.contextmanager
    def no_lock(path, what):
        yield

    monkeypatch.setattr("lafufu_sb.cleaning.state.locked", no_lock)
    with state.shard("1-of-1") as one, state.shard("1-of-1") as other:
        assert one.temporary("0.wav") != other.temporary("0.wav")
        with other.whole(state.output / "a.wav", 0) as temporary:
            temporary.write_bytes(b"abc")
    assert (state.output / "a.wav").read_bytes() == b"abc"


def test_a_row_that_does_not_fit_on_the_disk_leaves_the_journal_whole(
    state, monkeypatch
):
    file = planned(state)
    with state.shard("1-of-1") as shard:
        write(shard, file)
        shard.note(row(file))
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", failing(DISK_FULL))
            with pytest.raises(OSError, match="No space left.*journal.jsonl"):
                shard.note(row(file) | {"target": "another"})
        shard.note(row(file))
    journal = state.folder / "shard-1-of-1" / "journal.jsonl"
    assert read_journal(journal) == [row(file)] * 2


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match="is a file: choose an output folder"):
        State(tmp_path / "out").open()


def test_a_folder_that_another_process_begins_at_this_moment_is_no_obstacle(
    state, monkeypatch
):
    seen = iter([False])
    real = Path.is_dir

    def is_dir(path):  # the first time, the folder is not there yet
        return next(seen, True) if path == state.folder else real(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    State(state.output).open()


def test_a_file_system_without_locks_is_refused(state, monkeypatch):
    def acquire(lock):
        raise NotImplementedError

    monkeypatch.setattr("lafufu_sb.cleaning.locks.FileLock.acquire", acquire)
    with pytest.raises(UsageError, match="has no file locks"):
        state.open()


def test_changed_settings_are_refused_by_name_until_restarted(state):
    state.agree({"seed": 0, "sampler": ("ode", {"num_steps": 1})})
    state.agree({"seed": 0, "sampler": ["ode", {"num_steps": 1}]})
    with pytest.raises(UsageError, match="started with seed 0, now it is 1.*--restart"):
        state.agree({"seed": 1, "sampler": ["ode", {"num_steps": 1}]})
    state.open(restart=True)
    state.agree({"seed": 1})


def test_restart_discards_the_journals(state):
    file = planned(state)
    with state.shard("1-of-1") as shard:
        write(shard, file)
        shard.note(row(file))
    state.open(restart=True)
    assert state.rows([file]) == {}


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UsageError, match="is not empty and has no results"):
        State(tmp_path).open()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_journal_refuses_nan(state):
    with state.shard("1-of-1") as shard, pytest.raises(ValueError, match="not JSON"):
        shard.note({"snr": float("nan")})
    assert json.loads("[]") == read_journal(state.folder / "missing")
