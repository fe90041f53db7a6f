"""Restoring a shard: results, kept originals, and what results depend on."""

import numpy as np
import pytest
import soundfile
import torch
from corpora import contents, small_model, write_noise
from small import Entangled
from sounds import RATE, SECONDS, encoded, with_size

from lafufu_sb.cleaning import work
from lafufu_sb.cleaning.gate import Gate, Verdict
from lafufu_sb.cleaning.manifests import open_manifest
from lafufu_sb.cleaning.partial import PartialResult
from lafufu_sb.cleaning.plan import make_plan, split
from lafufu_sb.cleaning.state import State
from lafufu_sb.cleaning.work import Cleaner
from lafufu_sb.lobes.score_network import ScoreNetwork


def clean(corpus, output, gate=None, shards=1, audio_format="same", **options):
    """Rows by file name; ``options`` are those of ``Cleaner``, or ``model``."""
    model = options.pop("model", None) or small_model()
    files = make_plan(open_manifest(corpus), output, audio_format)
    state = State(output)
    state.open()
    rows = []
    for number, shard_files in enumerate(split(files, shards)):
        with state.shard(str(number)) as shard:
            cleaner = Cleaner(model, gate or Gate(), **options)
            cleaner.run(shard_files, shard, rows.append)
    return {row["source"].rpartition("/")[2]: row for row in rows}


def object_to(name):
    return lambda before, after: Verdict({}, "no" if before.samples == name else "")


def test_rates_channels_lengths_and_formats_are_kept(corpus, tmp_path):
    rows = clean(corpus, tmp_path / "out")
    for source in corpus.rglob("*.*"):
        target = (tmp_path / "out" / source.relative_to(corpus)).with_suffix(
            ".wav" if source.suffix == ".ogg" else source.suffix
        )
        old, new = soundfile.info(source), soundfile.info(target)
        assert (new.frames, new.samplerate, new.channels, new.subtype) == (
            old.frames,
            old.samplerate,
            old.channels,
            "PCM_16",  # what the corpus is made of, and what Ogg becomes
        )
        row = rows[source.name]
        assert (row["decision"], row["reason"]) == ("restored", "")
        assert (row["samples"], row["sample_rate"]) == (new.frames, new.samplerate)
        assert row["rtf"] > 0


def test_a_file_becomes_what_enhance_file_makes_of_it(corpus, tmp_path):
    clean(corpus, tmp_path / "out")
    model = small_model()
    for name in ("a.wav", "one/b.flac"):
        target = tmp_path / "alone.wav"
        model.enhance_file(corpus / name, target, keep_sample_rate=True)
        alone, _ = soundfile.read(target)
        together, _ = soundfile.read(tmp_path / "out" / name)
        np.testing.assert_allclose(alone, together, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"shards": 3}, {"threads": 1}, {"threads": 4, "shards": 2}]
)
def test_bytes_depend_on_neither_neighbours_nor_threads(corpus, tmp_path, options):
    for seed in range(6):
        write_noise(corpus / f"more{seed}.wav", 0.02 + 0.01 * seed, seed=10 + seed)
    clean(corpus, tmp_path / "one")
    clean(corpus, tmp_path / "other", **options)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert len(contents(tmp_path / "one")) == 11


def test_seed_and_dry_are_the_models(corpus, tmp_path):
    wavs = []
    for name, seed, dry in (("a", 0, 0.0), ("b", 1, 0.0), ("c", 0, 1.0)):
        model = small_model().with_settings(seed=seed, dry=dry)
        clean(corpus, tmp_path / name, model=model)
        wavs.append(soundfile.read(tmp_path / name / "one" / "c.wav")[0])
    original = soundfile.read(corpus / "one" / "c.wav")[0]
    assert not np.array_equal(wavs[0], wavs[1])
    # What lies below 20 Hz is gone from the share of the input too.
    change = np.diff(wavs[2] - original)
    np.testing.assert_allclose(change, 0.0, atol=1e-4)


def test_what_a_judge_objects_to_is_kept_byte_for_byte(corpus, tmp_path):
    rows = clean(corpus, tmp_path / "out", object_to(1760))
    assert (rows["a.wav"]["decision"], rows["a.wav"]["reason"]) == ("kept", "no")
    assert rows["e.wav"]["decision"] == "restored"
    assert (tmp_path / "out" / "a.wav").read_bytes() == (corpus / "a.wav").read_bytes()


def test_kept_originals_are_converted_only_where_the_format_needs_it(corpus, tmp_path):
    gate = Gate([lambda before, after: Verdict({}, "no")])
    rows = clean(
        corpus, tmp_path / "out", gate, audio_format="wav", sample_rate="model"
    )
    assert {row["decision"] for row in rows.values()} == {"kept"}
    out = tmp_path / "out"
    assert (out / "one" / "c.wav").read_bytes() == (
        corpus / "one" / "c.wav"
    ).read_bytes()
    for name, row in rows.items():
        info = soundfile.info(row["target"])
        assert (info.samplerate, info.format) == (48000, "WAV"), name
        assert info.frames == row["samples"]


@pytest.mark.parametrize("memory", [600.0, 0.0], ids=["memory", "disk"])
@pytest.mark.parametrize("decision", ["restored", "kept"])
def test_sample_format_of_results(tmp_path, monkeypatch, memory, decision):
    monkeypatch.setattr(work, "IN_MEMORY", memory)
    loud = np.random.default_rng(0).normal(0, 1.0, 4000)
    for name, subtype in (("a.wav", "PCM_24"), ("b.wav", "FLOAT"), ("c.flac", None)):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        with soundfile.SoundFile(path, "w", 48000, 1, subtype) as file:
            file.title = "A title"
            file.write(loud if subtype == "FLOAT" else 0.1 * loud)
    judge = [] if decision == "restored" else [lambda before, after: Verdict({}, "no")]
    for chosen, expected in ((None, ["PCM_24", "FLOAT", "PCM_16"]), ("PCM_16", [])):
        out = tmp_path / str(chosen)
        rows = clean(tmp_path / "in", out, Gate(judge), subtype=chosen)
        assert {row["decision"] for row in rows.values()} == {decision}
        paths = sorted(out.glob("?.*"))
        formats = [soundfile.info(path).subtype for path in paths]
        assert formats == (expected or ["PCM_16"] * 3)
        for path in paths:
            assert soundfile.SoundFile(path).title == "A title"
        assert ("gain_db" in rows["b.wav"]) == (chosen is not None)


def test_the_models_rate_on_request(corpus, tmp_path):
    rows = clean(corpus, tmp_path / "out", sample_rate="model")
    info = soundfile.info(tmp_path / "out" / "a.wav")
    assert (info.samplerate, info.frames) == (48000, 3 * 1760)
    assert rows["a.wav"]["samples"] == info.frames


def test_flac_is_turned_down_where_it_would_clip_and_wav_is_not(tmp_path):
    for suffix in ("wav", "flac"):
        write_noise(tmp_path / "in" / f"{suffix}.{suffix}", 0.1, level=0.5)
    model = small_model(score_model=Louder())
    rows = clean(tmp_path / "in", tmp_path / "out", model=model)
    loud, _ = soundfile.read(tmp_path / "out" / "wav.wav")
    fits, _ = soundfile.read(tmp_path / "out" / "flac.flac")
    assert np.abs(loud).max() > 1.0 and "gain_db" not in rows["wav.wav"]
    gain = 10 ** (rows["flac.flac"]["gain_db"] / 20)
    np.testing.assert_allclose(fits, gain * loud, atol=1e-4)
    assert np.abs(fits).max() == pytest.approx(1.0, abs=1e-6)


class Louder(ScoreNetwork):
    def forward(self, x_t, condition, t):
        return condition


class Broken(ScoreNetwork):
    def forward(self, x_t, condition, t):
        return condition * float("nan")


@pytest.mark.parametrize("in_memory", [600.0, 0.0])
def test_samples_that_are_not_finite_never_pass(
    corpus, tmp_path, monkeypatch, in_memory
):
    monkeypatch.setattr(work, "IN_MEMORY", in_memory)
    model = small_model(score_model=Broken())
    rows = clean(corpus, tmp_path / "out", model=model)
    assert {row["decision"] for row in rows.values()} == {"kept"}
    assert all("not finite" in row["reason"] for row in rows.values())
    assert (tmp_path / "out" / "a.wav").read_bytes() == (corpus / "a.wav").read_bytes()


def test_long_files_go_from_disk_to_disk_with_the_same_result(
    corpus, tmp_path, monkeypatch
):
    short = clean(corpus, tmp_path / "short", object_to(1760))
    monkeypatch.setattr(work, "IN_MEMORY", 0.0)
    long = clean(corpus, tmp_path / "long", object_to(1760))
    for name, row in short.items():
        old, _ = soundfile.read(row["target"])
        new, _ = soundfile.read(long[name]["target"])
        np.testing.assert_allclose(new, old, atol=2**-14)  # of 16 bits
        assert row["decision"] == long[name]["decision"]
        assert row["snr"] == pytest.approx(long[name]["snr"], abs=0.01)
    assert sorted(contents(tmp_path / "long")) == sorted(contents(tmp_path / "short"))


def test_file_longer_than_its_header_says_is_not_taken_into_memory(
    corpus, tmp_path, monkeypatch
):
    """The plan has one second of it, and the memory takes two."""
    pytest.importorskip("av")
    joined = encoded("FLAC") + encoded("FLAC")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.flac").write_bytes(joined)
    monkeypatch.setattr(work, "IN_MEMORY", SECONDS + 0.5)
    row = clean(tmp_path / "in", tmp_path / "out")["a.flac"]
    assert row["decision"] == "restored"
    assert (
        soundfile.info(row["target"]).duration == 2 * SECONDS == row["samples"] / RATE
    )


def test_header_without_a_length_is_in_the_report_and_not_copied(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(with_size("WAV", 0))
    keep = Gate([lambda before, after: Verdict({}, "no")])
    for gate, reason in ((None, "was never"), (keep, "no; was never")):
        row = clean(tmp_path / "in", tmp_path / reason, gate)["a.wav"]
        assert row["reason"].startswith(reason)
        assert soundfile.info(row["target"]).duration == SECONDS


def test_file_shorter_than_the_manifest_states_is_not_restored(tmp_path):
    for name in ("a", "b", "c"):
        write_noise(tmp_path / f"{name}.wav", 1.0)
    rows = f"1,1.004,{tmp_path}/a.wav\n2,24,{tmp_path}/b.wav\n3,0.2,{tmp_path}/c.wav\n"
    (tmp_path / "t.csv").write_text(f"ID,duration,wav\n{rows}4,?,{tmp_path}/c.wav\n")
    rows = clean(tmp_path / "t.csv", tmp_path / "out")
    assert [row["decision"] for row in rows.values()].count("restored") == 2
    assert rows["b.wav"]["decision"] == "failed"
    assert "has 1.00 seconds, but the manifest states 24.00" in rows["b.wav"]["reason"]


@pytest.mark.parametrize("in_memory", [600.0, 0.0])
@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_file_that_needs_too_much_memory_is_a_failed_row(
    corpus, tmp_path, monkeypatch, in_memory, error
):
    monkeypatch.setattr(work, "IN_MEMORY", in_memory)
    really = work.Recording.blocks

    def blocks(recording):
        if recording.path.name == "a.wav":
            raise error
        return really(recording)

    monkeypatch.setattr(work.Recording, "blocks", blocks)
    rows = clean(corpus, tmp_path / "out")
    assert rows["a.wav"]["decision"] == "failed"
    assert "a.wav needs more memory" in rows["a.wav"]["reason"]
    assert [r["decision"] for r in rows.values()].count("restored") == 4
    assert not (tmp_path / "out" / "a.wav").exists()


class Watched(Entangled):
    """Counts windows and stops the run after ``most``."""

    def __init__(self, most=10**9):
        super().__init__()
        self.windows, self.most = 0, most

    def forward(self, x_t, condition, t):
        self.windows += len(t)
        if self.windows > self.most:
            raise KeyboardInterrupt
        return super().forward(x_t, condition, t)


def partial_results(output):
    found = (output / ".lafufu-clean" / "partial").glob("*")
    return [path for path in found if path.suffix != ".lock"]


@pytest.mark.parametrize("damage", [None, b"", b"\x00"])
def test_long_files_resume_where_they_stopped(corpus, tmp_path, monkeypatch, damage):
    """The bytes are the same even if the end of the partial result is damaged."""
    monkeypatch.setattr(work, "IN_MEMORY", 0.0)
    made = {}
    for name, most in (("whole", 10**9), ("killed", 100), ("again", 10**9)):
        model = small_model(score_model=Watched(most), windows_per_batch=4)
        out = tmp_path / ("whole" if name == "whole" else "killed")
        if name == "killed":
            with pytest.raises(KeyboardInterrupt):
                clean(corpus, out, model=model)
            (begun,) = partial_results(out)
            if damage is not None:  # the last samples cut off, or zero
                data = begun.read_bytes()
                begun.write_bytes(data[:-4] + damage * 4)
        else:
            clean(corpus, out, model=model)
        made[name] = model.restorer.score_model.windows
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    again = made["killed"] + made["again"] - made["whole"]
    assert 0 < again <= 3 * (4 + 4 + 4 + 1)  # three calls for each window
    assert not partial_results(tmp_path / "killed")


def test_a_restart_discards_partial_results(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "IN_MEMORY", 0.0)
    model = small_model(score_model=Watched(100), windows_per_batch=4)
    with pytest.raises(KeyboardInterrupt):
        clean(corpus, tmp_path / "out", model=model)
    assert len(partial_results(tmp_path / "out")) == 1
    State(tmp_path / "out").open(restart=True)
    assert not partial_results(tmp_path / "out")


def test_two_processes_do_not_share_a_partial_result(tmp_path):
    def make(begin):
        return iter(torch.arange(6.0).reshape(3, 1, 2)[begin:])

    one, other = (PartialResult(tmp_path / "a" / "b", 1, [2, 2, 2]) for _ in range(2))
    first, second = one.blocks(make), other.blocks(make)
    for block in (next(first), next(second)):
        assert block.tolist() == [[0.0, 1.0]]
    assert torch.cat([*second], 1).tolist() == [[2.0, 3.0, 4.0, 5.0]]
    assert torch.cat([*first], 1).tolist() == [[2.0, 3.0, 4.0, 5.0]]
    assert torch.cat([*other.blocks(None)], 1).tolist() == [[0.0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("in_memory", [600.0, 0.0])
def test_broken_files_are_reported_and_the_run_goes_on(
    corpus, tmp_path, monkeypatch, in_memory
):
    monkeypatch.setattr(work, "IN_MEMORY", in_memory)
    (corpus / "0.wav").write_text("not audio")
    (corpus / "empty.wav").touch()
    rows = clean(corpus, tmp_path / "out")
    failed = {name for name, row in rows.items() if row["decision"] == "failed"}
    assert failed == {"0.wav", "empty.wav"}
    assert "0.wav is not audio" in rows["0.wav"]["reason"]
    assert len(contents(tmp_path / "out")) == 5


@pytest.mark.parametrize("in_memory", [600.0, 0.0])
def test_a_write_error_ends_the_run(corpus, tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(work, "IN_MEMORY", in_memory)
    out = tmp_path / "out"
    with pytest.raises(OSError, match="one"):
        out.mkdir()
        files = make_plan(open_manifest(corpus), out)
        state = State(out)
        (out / ".lafufu-clean").mkdir()
        state.open()
        (out / "one").write_text("a file where a folder must be")
        with state.shard("1") as shard:
            Cleaner(small_model(), Gate()).run(files, shard)
    assert not list((out / ".lafufu-clean").rglob("tmp/*"))
