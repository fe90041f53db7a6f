"""ONNX files that refer to other files or libraries never reach the runtime."""

import numpy as np
import onnxruntime
import pytest

from lafufu_sb.errors import UsageError
from lafufu_sb.restoration.onnx_runtime import Graph

onnx = pytest.importorskip("onnx")
helper = onnx.helper


def tensor(name="w", external=False):
    made = onnx.numpy_helper.from_array(np.ones(4, np.float32), name)
    if external:
        made.ClearField("raw_data")
        made.data_location = onnx.TensorProto.EXTERNAL
        entry = made.external_data.add()
        entry.key, entry.value = "location", "../../secret"
    return made


def model(nodes=None, weights=(), functions=(), domains=("",)):
    ends = [helper.make_tensor_value_info(n, 1, ["batch", 4]) for n in ("x", "y")]
    nodes = nodes or [helper.make_node("Add", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], list(weights))
    opsets = [helper.make_opsetid(domain, 17) for domain in domains]
    return helper.make_model(
        graph, opset_imports=opsets, functions=list(functions), ir_version=9
    )


def branch(*nodes, weights=()):
    end = helper.make_tensor_value_info("z", 1, [4])
    return helper.make_graph(list(nodes), "b", [], [end], list(weights))


def nested():
    inner = branch(
        helper.make_node("Identity", ["v"], ["z"]), weights=[tensor("v", True)]
    )
    known = helper.make_node(
        "Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array(True))
    )
    chosen = helper.make_node("If", ["c"], ["w"], then_branch=inner, else_branch=inner)
    return model([known, chosen, helper.make_node("Add", ["x", "w"], ["y"])])


def constant():
    made = helper.make_node("Constant", [], ["w"], value=tensor("w", True))
    return model([made, helper.make_node("Add", ["x", "w"], ["y"])])


def described_only():
    """Marked by its entries alone."""
    made = tensor("w", True)
    made.data_location = onnx.TensorProto.DEFAULT
    return model(weights=[made])


def foreign(op="Evil", domain="com.evil"):
    node = helper.make_node(op, ["x"], ["y"], domain=domain)
    return model([node], domains=("", domain))


def in_a_function():
    node = helper.make_node("Evil", ["a"], ["b"], domain="com.evil")
    own = helper.make_function(
        "own", "f", ["a"], ["b"], [node], [helper.make_opsetid("com.evil", 1)]
    )
    call = helper.make_node("f", ["x"], ["y"], domain="own")
    return model([call], functions=[own], domains=("", "own"))


REFUSED = {
    "initializer": (lambda: model(weights=[tensor("w", True)]), "data in another file"),
    "entries": (described_only, "data in another file"),
    "constant": (constant, "data in another file"),
    "nested": (nested, "data in another file"),
    "operator": (foreign, "com.evil.Evil, which is none of ONNX"),
    "function": (in_a_function, "com.evil.Evil, which is none of ONNX"),
}


def graph(path):
    return Graph(path, threads=1, optimization="none")


@pytest.mark.parametrize("kind", REFUSED)
def test_foreign_parts_are_refused_before_the_runtime(tmp_path, monkeypatch, kind):
    def never(*_, **__):
        pytest.fail("the runtime saw it")

    monkeypatch.setattr(onnxruntime, "InferenceSession", never)
    make, message = REFUSED[kind]
    (tmp_path / "a.onnx").write_bytes(make().SerializeToString())
    with pytest.raises(UsageError, match=message):
        graph(tmp_path / "a.onnx")


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", b"text"])
def test_files_that_are_no_graph_are_refused(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(UsageError, match="a.onnx"):
        graph(tmp_path / "a.onnx")


def test_graphs_of_their_own_weights_run(tmp_path):
    import torch

    (tmp_path / "a.onnx").write_bytes(model(weights=[tensor()]).SerializeToString())
    (result,) = graph(tmp_path / "a.onnx")(torch.ones(2, 4))
    assert torch.equal(result, torch.full((2, 4), 2.0))
