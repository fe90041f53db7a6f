"""Writing a model folder deletes nothing that it did not make."""

import pytest

from lafufu_sb.inference.folder import HYPERPARAMS, new_model_folder, weights_file


def written(folder, name="a"):
    with new_model_folder(folder) as temporary:
        (temporary / HYPERPARAMS).write_text("x: 1")
        (temporary / name).write_text(name)


@pytest.mark.parametrize("name", ["model.part", ".model.part", ".model.x.part"])
def test_other_folders_beside_it_stay(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("precious")
    written(tmp_path / "model")
    assert (tmp_path / name / "thesis.txt").read_text() == "precious"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"model", name}


def test_two_writers_do_not_share_a_folder(tmp_path):
    with new_model_folder(tmp_path / "model") as one:
        with new_model_folder(tmp_path / "model") as other:
            assert one != other
            (other / HYPERPARAMS).write_text("x: 2")
        (one / HYPERPARAMS).write_text("x: 1")
    assert (tmp_path / "model" / HYPERPARAMS).read_text() == "x: 1"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="full"), new_model_folder(tmp_path / "model"):
        raise OSError("disk full")
    assert not list(tmp_path.iterdir())


def test_dangling_links_are_not_replaced(tmp_path):
    (tmp_path / "model").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match="not a model folder"):
        written(tmp_path / "model")
    assert not (tmp_path / "elsewhere").exists()


def test_new_weights_replace_those_of_earlier_versions(tmp_path):
    folder = tmp_path / "model"
    written(folder)
    for name in ("score_model.ckpt", "representation.ckpt", "notes.ckpt"):
        (folder / name).write_text("old")
    assert weights_file(folder, "score_model").suffix == ".ckpt"
    written(folder, "score_model.safetensors")
    left = {path.name for path in folder.glob("*.ckpt")}
    assert left == {"representation.ckpt", "notes.ckpt"}
    assert weights_file(folder, "score_model").suffix == ".safetensors"
