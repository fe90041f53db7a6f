"""Checkpoints and weight files are whole or absent."""

import copy
import re
from pathlib import Path

import pytest
import torch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from torch import nn

from lafufu_sb.errors import UsageError
from lafufu_sb.inference import weights
from lafufu_sb.inference.weights import (
    fingerprint,
    load_weights,
    read_weights,
    save_weights,
)
from lafufu_sb.training.checkpoints import AtomicCheckpointer


@register_checkpoint_hooks
class Fragile:
    """A recoverable whose saving can fail after some bytes."""

    fails = False

    @mark_as_saver
    def save(self, path):
        Path(path).write_text("half of it")
        if self.fails:
            raise OSError("no space left on device")

    @mark_as_loader
    def load(self, path, end_of_epoch):
        Path(path).read_text()


def linear(seed=0, outputs=2):
    torch.manual_seed(seed)
    return nn.Linear(3, outputs)


def checkpointer(folder, module=None, fragile=None):
    recoverables = {"module": module or linear(), "fragile": fragile or Fragile()}
    return AtomicCheckpointer(folder, recoverables)


def same(first, second):
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_saved_checkpoint_is_where_it_says(tmp_path):
    module = linear()
    saved = checkpointer(tmp_path, module).save_checkpoint(meta={"epoch": 3})
    assert saved.path.is_dir() and saved.path.parent == tmp_path
    assert set(saved.paramfiles) == {"module", "fragile"}
    assert all(path.is_file() for path in saved.paramfiles.values())
    assert [c.path for c in checkpointer(tmp_path).list_checkpoints()] == [saved.path]
    assert saved.meta["epoch"] == 3


def test_a_saved_checkpoint_is_recovered(tmp_path):
    module, other = linear(seed=0), linear(seed=1)
    checkpointer(tmp_path, module).save_checkpoint()
    assert not same(module, other)
    checkpointer(tmp_path, other).recover_if_possible()
    assert same(module, other)


def test_a_checkpoint_that_failed_half_way_is_never_listed(tmp_path):
    fragile = Fragile()
    writer = checkpointer(tmp_path, fragile=fragile)
    fragile.fails = True
    with pytest.raises(OSError, match="no space left"):
        writer.save_checkpoint()
    assert any(tmp_path.rglob("CKPT.yaml"))  # the mark of a checkpoint was written
    assert writer.list_checkpoints() == []
    assert writer.recover_if_possible() is None


def test_after_a_failure_the_last_whole_checkpoint_is_recovered(tmp_path):
    fragile, module, other = Fragile(), linear(seed=0), linear(seed=1)
    writer = checkpointer(tmp_path, module, fragile)
    good = writer.save_checkpoint()
    fragile.fails = True
    with pytest.raises(OSError, match="no space left"):
        writer.save_checkpoint()
    recovered = checkpointer(tmp_path, other).recover_if_possible()
    assert recovered.path == good.path
    assert same(module, other)

    fragile.fails = False
    saved = writer.save_checkpoint()
    assert {c.path for c in writer.list_checkpoints()} == {good.path, saved.path}


def test_best_and_newest_are_kept(tmp_path):
    writer = checkpointer(tmp_path)
    for epoch, score in enumerate([1.0, 5.0, 3.0, 2.0]):
        writer.save_and_keep_only(
            meta={"si_sdr": score, "epoch": epoch}, max_keys=["si_sdr"]
        )
    assert sorted(c.meta["epoch"] for c in writer.list_checkpoints()) == [1, 3]
    assert writer.find_checkpoint(max_key="si_sdr").meta["epoch"] == 1


def test_names_are_not_for_the_caller(tmp_path):
    with pytest.raises(ValueError, match="chooses the names itself"):
        checkpointer(tmp_path).save_checkpoint(name="mine")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("half", [False, True])
def test_weights_round_trip(tmp_path, half):
    module, other = linear(seed=0), linear(seed=1)
    save_weights(module, tmp_path / "weights.ckpt", half=half)
    load_weights(other, tmp_path / "weights.ckpt")
    expected = module.half().float() if half else module
    assert same(other, expected)
    assert other.weight.dtype == torch.float32


def test_half_precision_leaves_counts_alone(tmp_path):
    module = nn.BatchNorm1d(2)
    module.num_batches_tracked += 70001
    save_weights(module, tmp_path / "weights.ckpt", half=True)
    stored = read_weights(tmp_path / "weights.ckpt")
    assert stored["weight"].dtype == torch.float16
    assert int(stored["num_batches_tracked"]) == 70001


def test_a_failed_save_leaves_the_old_weights_and_nothing_else(tmp_path, monkeypatch):
    path, module = tmp_path / "weights.ckpt", linear()
    save_weights(module, path)

    def fail(state, file):
        Path(file).write_text("half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(weights, "save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        save_weights(linear(seed=1), path)
    monkeypatch.undo()
    other = linear(seed=2)
    load_weights(other, path)
    assert same(module, other)
    assert list(tmp_path.iterdir()) == [path]


def change_of(state, change):
    """A state dict with one thing wrong."""
    state = dict(state)
    if change == "missing bias":
        del state["bias"]
    elif change == "unexpected extra":
        state["extra"] = torch.zeros(1)
    elif change == "weight is (2, 4) instead of (2, 3)":
        state["weight"] = torch.zeros(2, 4)
    return state


@pytest.mark.parametrize(
    "change",
    ["missing bias", "unexpected extra", "weight is (2, 4) instead of (2, 3)"],
)
def test_weights_of_another_model_are_refused_and_nothing_is_loaded(tmp_path, change):
    module = linear()
    before = copy.deepcopy(module)
    path = tmp_path / "weights.ckpt"
    torch.save(change_of(linear(seed=1).state_dict(), change), path)
    with pytest.raises(UsageError, match=rf"weights\.ckpt .*{re.escape(change)}"):
        load_weights(module, path)
    assert same(module, before)


def test_prefixed_weights_are_refused(tmp_path):
    """The state of a wrapped module would load "successfully" in SpeechBrain."""
    state = {f"module.{k}": v for k, v in linear().state_dict().items()}
    torch.save(state, tmp_path / "weights.ckpt")
    with pytest.raises(ValueError, match="4 differences: missing bias"):
        load_weights(linear(), tmp_path / "weights.ckpt")


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVEfmt ", b"PK\x03\x04 not a zip"])
def test_files_that_are_no_weights_are_refused(tmp_path, content):
    path = tmp_path / "weights.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="weights.ckpt is not a file of weights"):
        load_weights(linear(), path)


@pytest.mark.parametrize(
    "content",
    [3, None, torch.zeros(()), [1, 2], {"weight": 1.0, "bias": 2.0}],
    ids=["number", "none", "tensor", "list", "numbers"],
)
def test_files_of_something_else_than_weights_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.ckpt")
    with pytest.raises(ValueError, match="weights.ckpt"):
        load_weights(linear(), tmp_path / "weights.ckpt")


def test_absent_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.ckpt do not exist"):
        load_weights(linear(), tmp_path / "absent.ckpt")


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


def test_code_in_a_weight_file_is_refused_and_not_run(tmp_path):
    module = linear()
    state = {"weight": module.weight.data, "bias": Harmful(tmp_path / "harm")}
    torch.save(state, tmp_path / "weights.ckpt")
    with pytest.raises(ValueError, match="not a file of weights"):
        load_weights(module, tmp_path / "weights.ckpt")
    assert not (tmp_path / "harm").exists()


def test_fingerprint_tells_weights_apart():
    module = linear()
    mark = fingerprint(module)
    assert len(mark) == 16 and int(mark, 16) >= 0
    assert fingerprint(copy.deepcopy(module)) == mark
    assert fingerprint(linear(seed=1)) != mark
    with torch.no_grad():
        module.bias[1] += 0.01
    assert fingerprint(module) != mark


def test_fingerprint_is_the_same_in_half_precision_and_after_a_round_trip(tmp_path):
    module, other = linear(seed=0), linear(seed=1)
    save_weights(module, tmp_path / "weights.ckpt", half=True)
    load_weights(other, tmp_path / "weights.ckpt")
    assert fingerprint(other) == fingerprint(module)
    assert fingerprint(copy.deepcopy(module).half()) == fingerprint(module)


def test_fingerprint_sees_buffers_and_names():
    first, second = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    second.running_mean += 1
    assert fingerprint(first) != fingerprint(second)
    named = [nn.ModuleDict({name: nn.BatchNorm1d(2)}) for name in "ab"]
    assert fingerprint(named[0]) != fingerprint(named[1])
