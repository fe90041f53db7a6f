"""A cleaning that ends at any moment, in any way, resumes to the same bytes."""

import contextlib
import itertools
import os
import signal
import time

import moments
import pytest
from moments import (
    DISK_FULL,
    NO_PERMISSION,
    Moment,
    acting,
    clean_here,
    end_of,
    failing,
    outcome,
    start,
)

KILLS = [  # in about the order of a run
    Moment("cleaning.plan.read_header", 3),
    Moment("cleaning.state.State.open", after=True),
    Moment("cleaning.locks.FileLock.acquire", 1, after=True),
    Moment("cleaning.locks.FileLock.acquire", 3, after=True),
    Moment("cleaning.journal.tempfile.mkdtemp", after=True),
    Moment("cleaning.state.to_disk"),
    Moment("cleaning.state.State.agree", after=True),
    Moment("cleaning.work.opened", 2),
    Moment("cleaning.gate.Gate.__call__", 2),
    Moment("cleaning.work.save"),
    Moment("cleaning.journal.to_disk", 2),
    Moment("cleaning.journal.Shard.note"),
    Moment("cleaning.journal.Shard.note", 3, after=True),
    Moment("cleaning.work.FileSound"),
    Moment("cleaning.partial._sum", 3),
    Moment("audio.writer._FloatFile.finish", 4),
    Moment("cleaning.work.convert"),
    Moment("cleaning.partial.PartialResult.remove", after=True),
    Moment("cleaning.journal.Shard.close"),
    Moment("cleaning.job.Cleaned"),
    Moment("cleaning.manifests.csv.CsvManifest.write", after=True),
    Moment("cleaning.job.write_csv", after=True),
    Moment("cleaning.job.write_page", after=True),
    Moment("cleaning.state.State.forget_temporary"),
    Moment("cleaning.job.collect", after=True),
]
HALVES = [
    (Moment("cleaning.journal.Shard.note", 2), moments.half_a_row),
    (Moment("cleaning.results.shutil.copyfile"), moments.half_a_copy),
]
FAST = KILLS[3], KILLS[10], KILLS[11], KILLS[14], KILLS[20]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return moments.make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def whole(manifest, tmp_path_factory):
    """What an undisturbed run makes."""
    output = tmp_path_factory.mktemp("whole") / "out"
    assert clean_here(manifest, output) == 0
    made = outcome(output)
    decisions = [row["decision"] for row in made["report"]]
    assert decisions == ["restored", "kept", "restored", "restored", "restored"]
    assert made["left"] == ["journal.jsonl", "settings.json"]
    return made


def test_all_moments_are_moments_of_an_undisturbed_run(manifest, tmp_path):
    """Also of those below that only run by name."""
    chosen = [*KILLS, *(moment for moment, _ in [*HALVES, *ERRORS])]
    with contextlib.ExitStack() as stack:
        come = {
            moment: stack.enter_context(acting(moment, lambda *_: None))
            for moment in dict.fromkeys(chosen)
        }
        assert clean_here(manifest, tmp_path / "out") == 0
    assert [str(moment) for moment in come if not come[moment]] == []


@pytest.mark.parametrize(
    "moment",
    [
        moment if moment in FAST else pytest.param(moment, marks=pytest.mark.slow)
        for moment in KILLS
    ],
    ids=str,
)
def test_a_killed_run_resumes(manifest, whole, tmp_path, moment):
    output = tmp_path / "out"
    assert end_of(start(manifest, output, moment=moment)) == -signal.SIGKILL
    end_of(start(manifest, output, moment=moment))  # and perhaps once more
    assert clean_here(manifest, output) == 0
    assert outcome(output) == whole


@pytest.mark.parametrize("moment, act", HALVES, ids=["row", "copy"])
def test_what_was_half_written_is_written_again(manifest, whole, tmp_path, moment, act):
    output = tmp_path / "out"
    process = start(manifest, output, moment=moment, act=act)
    assert end_of(process) == -signal.SIGKILL
    assert clean_here(manifest, output) == 0
    assert outcome(output) == whole


@pytest.mark.parametrize(
    "name, status", [("SIGTERM", -15), ("SIGHUP", -1), ("SIGINT", 130)]
)
def test_a_signal_ends_a_run_that_resumes(manifest, whole, tmp_path, name, status):
    output = tmp_path / "out"
    moment = Moment("cleaning.partial._sum", 2)
    process = start(manifest, output, moment=moment, act=getattr(signal, name))
    assert end_of(process) == status
    assert clean_here(manifest, output) == 0
    assert outcome(output) == whole


def test_two_shards_are_killed_at_once(manifest, whole, tmp_path):
    output = tmp_path / "out"
    processes = [
        start(manifest, output, "--shard", f"{number}/2", moment=moment)
        for number, moment in ((1, FAST[3]), (2, FAST[2]))
    ]
    assert [end_of(process) for process in processes] == [-signal.SIGKILL] * 2
    assert clean_here(manifest, output, "--shard", "1/2") == 0
    assert clean_here(manifest, output) == 0  # in another division
    assert outcome(output) | {"left": []} == whole | {"left": []}


@pytest.mark.parametrize("call", [1, 2])
def test_a_restart_is_killed(manifest, whole, tmp_path, call):
    output = tmp_path / "out"
    assert clean_here(manifest, output, "--max-cer", "0.5", "--shard", "1/2") == 0
    assert clean_here(manifest, output, "--max-cer", "0.5", "--shard", "2/2") == 0
    moment = Moment("cleaning.state.shutil.rmtree", call)
    process = start(manifest, output, "--restart", moment=moment)
    assert end_of(process) == -signal.SIGKILL
    assert clean_here(manifest, output) == 2  # the old settings still hold
    assert clean_here(manifest, output, "--restart") == 0
    assert outcome(output) == whole


ERRORS = [
    (Moment("cleaning.state.to_disk"), DISK_FULL),
    (Moment("cleaning.journal.to_disk", 2), DISK_FULL),
    (Moment("cleaning.journal.os.fsync", 3), DISK_FULL),
    (Moment("cleaning.journal.os.replace", 2), NO_PERMISSION),
    (Moment("cleaning.journal.tempfile.mkdtemp"), NO_PERMISSION),
    (Moment("cleaning.partial._sum", 3), DISK_FULL),
    (Moment("audio.writer._FloatFile.finish", 4), DISK_FULL),
    (Moment("cleaning.manifests.csv.CsvManifest.write", after=True), DISK_FULL),
    (Moment("cleaning.job.write_csv", after=True), DISK_FULL),
    (Moment("cleaning.job.write_page"), NO_PERMISSION),
]


@pytest.mark.parametrize("moment, number", ERRORS, ids=str)
def test_a_file_error_is_one_line_and_the_run_resumes(
    manifest, whole, tmp_path, capsys, moment, number
):
    output = tmp_path / "out"
    with acting(moment, failing(number)) as come:
        assert clean_here(manifest, output) == 2
    assert come
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("lafufu: error: ") and os.strerror(number) in last
    assert clean_here(manifest, output) == 0
    assert outcome(output) == whole


def test_the_clock_may_jump(manifest, whole, tmp_path, monkeypatch):
    output, times = tmp_path / "out", itertools.cycle([2e9, 1.0, 1e9, 0.0, 5.0])
    monkeypatch.setattr(time, "time", lambda: next(times))
    with acting(Moment("cleaning.work.save", 3), failing(DISK_FULL)):
        assert clean_here(manifest, output) == 2
    assert clean_here(manifest, output) == 0
    assert outcome(output) == whole


def doubled(data):
    return data + data


def shortened(data):
    return data[: len(data) // 2]


def filled(data):
    """As after a power failure: the length is there, the content is not."""
    return data[: len(data) // 2] + b"\0" * (len(data) // 2)


def strange(data):
    rows = b'1\nnull\n[]\n{}\n{"source": 1}\n{"source": "a", "size": "b"}\n\xff\n'
    return rows + b"[" * 10_000 + b"\n" + data


@pytest.mark.parametrize("damage", [doubled, shortened, filled, strange, lambda _: b""])
def test_a_damaged_journal_costs_nothing_but_time(manifest, whole, tmp_path, damage):
    output = tmp_path / "out"
    with acting(Moment("cleaning.partial._sum"), failing(DISK_FULL)):
        assert clean_here(manifest, output) == 2
    (journal,) = output.rglob("journal.jsonl")
    data = journal.read_bytes()
    assert data.count(b"\n") == 4
    journal.write_bytes(damage(data))
    assert clean_here(manifest, output) == 0
    assert outcome(output) == whole


@pytest.mark.parametrize("text", ["", '{"seed": ', "[]"])
def test_damaged_settings_are_refused_until_restarted(
    manifest, whole, tmp_path, capsys, text
):
    output = tmp_path / "out"
    assert clean_here(manifest, output) == 0
    (output / ".lafufu-clean" / "settings.json").write_text(text)
    assert clean_here(manifest, output) == 2
    assert "settings.json is damaged" in capsys.readouterr().err
    assert clean_here(manifest, output, "--restart") == 0
    assert outcome(output) == whole


# Recordings that change --------------------------------------------------------


@pytest.fixture
def own(tmp_path):
    return moments.make_corpus(tmp_path / "corpus")


@pytest.mark.parametrize(
    "name, moment, counts",
    [
        ("b", Moment("cleaning.work.transfer"), "4 restored, 0 kept"),
        ("long", Moment("cleaning.work.FileSound", after=True), "3 restored, 1 kept"),
    ],
)
@pytest.mark.parametrize("change", ["vanishes", "changes", "becomes a pipe"])
def test_a_recording_that_changes_before_it_is_copied_fails_alone(
    own, tmp_path, capsys, name, moment, counts, change
):
    path = own.parent / f"{name[0]}_" / f"{name}.wav"

    def act(*_):
        if change == "changes":
            path.write_bytes(path.read_bytes()[:-2])
        else:
            path.unlink()
        if change == "becomes a pipe":
            os.mkfifo(path)

    with acting(moment, act) as come:
        assert clean_here(own, tmp_path / "out") == 1
    assert come
    out, err = capsys.readouterr()
    assert f"5 files: {counts}, 1 failed" in out
    assert f"lafufu: error: {path} " in err
    assert not (tmp_path / "out" / f"{name[0]}_" / f"{name}.wav").exists()
