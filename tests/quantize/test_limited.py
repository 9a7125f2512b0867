"""What other libraries compute of a foreign graph beforehand has an end."""

import numpy as np
import onnx
import pytest
from foreign_graphs import constant, decibels, head, images, model_of, node, run, stem
from onnx import TensorProto, helper

from edgecnn.errors import ArtifactError, EngineError
from edgecnn.quantize.graph import limited_process
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.runtime import load, ort_engine


def with_constant(nodes, constants, result="k"):
    """A network that adds a number which these nodes compute."""
    return model_of(
        stem(), head(result="l"), ([*nodes, node("Add", ["l", result], ["y"], name="last")], constants)
    )


def loop(turns):
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Add", ["v", "one"], ["w"]), node("Identity", ["going"], ["on"])],
        "body",
        [value("i", TensorProto.INT64, []), value("going", TensorProto.BOOL, []), value("v", 1, [])],
        [value("on", TensorProto.BOOL, []), value("w", 1, [])],
    )
    nodes = [node("Loop", ["turns", "", "start"], ["k"], name="loop", body=body)]
    numbers = [constant("start", 0.0), constant("one", 0.5), constant("turns", turns, np.int64)]
    return with_constant(nodes, numbers)


def repeated(count):
    total = node("ReduceMean", ["t"], ["k"], name="mean", keepdims=0)
    numbers = [constant("row", np.ones(1000)), constant("count", [count], np.int64)]
    return with_constant([node("Tile", ["row", "count"], ["t"], name="tile"), total], numbers)


def test_a_loop_that_ends_is_computed_beforehand():
    model = loop(10)
    prepared = prepare(model)
    assert "Loop" not in {item.op_type for item in prepared.graph.node}
    assert decibels(run(model, images()), run(prepared, images())) > 90


def test_a_loop_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(limited_process, "SECONDS", 2.0)
    with pytest.raises(ArtifactError, match="preparing the graph takes more than 2 seconds") as caught:
        prepare(loop(10**15))
    assert "without loops" in caught.value.hint


def unpacked():
    """A constant of 4 TB, whose shape is known only after another one was computed."""
    nodes = [
        node("Add", ["half", "half"], ["count"], name="twice"),
        node("ConstantOfShape", ["count"], ["t"], name="fill"),
        node("ReduceMean", ["t"], ["k"], name="mean", keepdims=0),
    ]
    return with_constant(nodes, [constant("half", [5 * 10**11], np.int64)])


@pytest.mark.slow
def test_constants_that_fill_the_memory_are_refused():
    with pytest.raises(ArtifactError, match=r"preparing the graph needs more than 8 GB|makes .* GB"):
        prepare(unpacked())


def test_a_tensor_of_gigabytes_is_refused_by_its_node(monkeypatch):
    monkeypatch.setattr(limited_process, "call", lambda function, model, *rest, what: function(model, *rest))
    with pytest.raises(ArtifactError, match="Tile 'tile' makes 37\\.3 GB of one image"):
        prepare(repeated(10**7))


def test_what_goes_wrong_inside_is_told_as_here():
    with pytest.raises(ArtifactError, match="operator set 1 cannot be upgraded") as caught:
        limited_process.call(prepare, model_of(([node("Crop", ["x"], ["y"])], []), opset=1), what="it")
    assert caught.value.hint == "export the network again with operator set 13 or later"


@pytest.mark.slow
def test_a_crash_is_told_in_one_line():
    with pytest.raises(ArtifactError, match=r"a library crashes at it \(1\): .*TypeError"):
        limited_process.call(prepare, model_of(stem(), head()), "text", what="it")


def test_a_graph_with_nothing_to_compute_needs_no_other_process(monkeypatch):
    def never(*_, **__):
        raise AssertionError("called")

    monkeypatch.setattr(limited_process, "call", never)
    assert isinstance(prepare(model_of(stem(), head())), onnx.ModelProto)
    with pytest.raises(AssertionError, match="called"):
        prepare(repeated(2))


def test_an_inference_that_never_ends_is_given_up(monkeypatch, tmp_path):
    model = loop(10**15)
    onnx.save(model, tmp_path / "m.onnx")
    monkeypatch.setattr(ort_engine, "LOOP_SECONDS", 0.3)
    over = pytest.raises(EngineError, match=r"which has loops, takes over 0\.3 seconds")
    with load(tmp_path / "m.onnx") as engine, over:
        engine(images())
    onnx.save(loop(10), tmp_path / "m.onnx")
    with load(tmp_path / "m.onnx") as engine:
        np.testing.assert_allclose(engine(images()), run(loop(10), images()), atol=1e-5)
