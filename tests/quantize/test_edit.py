"""Changes of a graph: what is shared stays, what is taken is not taken twice, what nobody reads goes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn.quantize.graph.edit import Editor, copy_of, drop_unread, replace_nodes
from edgecnn.quantize.graph.index import Graph


@pytest.fixture
def model():
    """Two sums with one constant, and a third with a constant that is an output as well."""
    nodes = [
        helper.make_node("Add", ["x", "shared"], ["a"], name="first"),
        helper.make_node("Add", ["a", "shared"], ["b"], name="second"),
        helper.make_node("Add", ["b", "shown"], ["y"], name="third"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y", "shown")]
    constants = [
        numpy_helper.from_array(np.ones(1, np.float32), name) for name in ("shared", "shown", "idle")
    ]
    return helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], constants))


def constants_of(model: onnx.ModelProto) -> dict[str, float]:
    return {item.name: float(numpy_helper.to_array(item)[0]) for item in model.graph.initializer}


def test_a_shared_constant_is_copied_for_the_first_and_changed_for_the_last(model):
    editor = Editor(model)
    for number, node in enumerate(editor.graph.nodes[:2], start=2):
        editor.set_constant(node, 1, "x", np.full(1, number, np.float32))
    first, second = model.graph.node[0].input[1], model.graph.node[1].input[1]
    assert (first, second) == ("x_", "shared"), "the input is called x already"
    assert constants_of(model) == {"shared": 3, "shown": 1, "idle": 1, "x_": 2}


def test_a_constant_that_is_an_output_stays_what_it_is(model):
    editor = Editor(model)
    editor.set_constant(editor.graph.nodes[2], 1, "own", np.zeros(1, np.float32))
    assert constants_of(model)["shown"] == 1 and constants_of(model)["own"] == 0
    assert editor.graph.constant("own").tolist() == [0], "the index knows it at once"


def test_an_input_that_a_node_does_not_have_yet_is_added(model):
    editor = Editor(model)
    editor.set_constant(editor.graph.nodes[0], 3, "own", np.zeros(1, np.float32))
    assert list(model.graph.node[0].input) == ["x", "shared", "", "own"]


def test_nodes_of_the_graph_may_stand_among_those_that_replace_its_nodes(model):
    kept = list(model.graph.node)[1:]
    kept[0].input[0] = "x"
    replace_nodes(model, kept)
    assert [node.name for node in model.graph.node] == ["second", "third"]
    assert list(model.graph.node[0].input) == ["x", "shared"]


def test_only_constants_that_are_neither_read_nor_outputs_are_dropped(model):
    replace_nodes(model, list(model.graph.node)[:2])
    drop_unread(model)
    assert list(constants_of(model)) == ["shared", "shown"]


def test_a_copy_is_another_model(model):
    other = copy_of(model)
    Graph(other).set_constant("shared", np.zeros(1, np.float32))
    assert constants_of(model)["shared"] == 1 and constants_of(other)["shared"] == 0
