"""What a graph itself does first with its images: recognised, said, and taken in place of an assumption."""

import numpy as np
import onnx
import pytest
from foreign_graphs import constant
from onnx import TensorProto, helper
from program import run_here
from small_classifier import classifier

from edgecnn.artifact import read_manifest
from edgecnn.quantize.graph.own_preparation import own_preparation

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
node = helper.make_node


def graph(steps, constants=(), shape=(1, 3, 16, 16), kind=TensorProto.FLOAT):
    """A chain of (operator, constant or None, attributes), and a convolution after it."""
    nodes, tensor = [], "x"
    for index, (op, other, attributes) in enumerate(steps):
        inputs = (
            [other, tensor] if attributes.pop("swapped", False) else [tensor, *([other] if other else [])]
        )
        nodes.append(node(op, inputs, [f"t{index}"], **attributes))
        tensor = f"t{index}"
    nodes.append(node("Conv", [tensor, "w"], ["y"], kernel_shape=[3, 3]))
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    weights = constant("w", np.ones((2, 3, 3, 3)))
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, [weights, *constants]))


def column(values):
    return np.reshape(values, (1, 3, 1, 1))


@pytest.mark.parametrize(
    ("steps", "constants", "more", "said", "pixels"),
    [
        ([("Div", "c", {})], {"c": 255}, {}, "divides by 255", 255),
        (
            [("Mul", "c", {}), ("Sub", "d", {})],
            {"c": 1 / 127.5, "d": 1},
            {},
            "subtracts 127.5, divides by 127.5",
            255,
        ),
        (
            [("Div", "a", {}), ("Sub", "b", {}), ("Div", "c", {})],
            {"a": 255, "b": column(MEAN), "c": column(STD)},
            {},
            "subtracts 123.7,116.3,103.5, divides by 58.4,57.12,57.37",
            255,
        ),
        (
            [("Sub", "b", {}), ("Div", "c", {})],
            {"b": column(MEAN), "c": column(STD)},
            {},
            "subtracts 0.485,0.456,0.406, divides by 0.229,0.224,0.225",
            1,
        ),
        ([("Add", "c", {})], {"c": column([-104, -117, -124])}, {}, "subtracts 104,117,124", 255),
        ([("Sub", "c", {"swapped": True})], {"c": 1}, {}, "subtracts 1, divides by -1", None),
        (
            [("Cast", None, {"to": 1}), ("Transpose", None, {"perm": [0, 3, 1, 2]}), ("Mul", "c", {})],
            {"c": 1 / 255},
            {"shape": (1, 16, 16, 3), "kind": TensorProto.UINT8},
            "casts bytes, brings the channels to the front, divides by 255",
            255,
        ),
        (
            [("Gather", "order", {"axis": 1}), ("Sub", "c", {})],
            {"order": np.int64([2, 1, 0]), "c": column([103.939, 116.779, 123.68])},
            {},
            "reverses the channels, subtracts 103.9,116.8,123.7",
            255,
        ),
    ],
)
def test_what_comes_before_the_first_layer_is_recognised(steps, constants, more, said, pixels):
    values = [constant(name, value, getattr(value, "dtype", np.float32)) for name, value in constants.items()]
    own = own_preparation(graph(steps, values, **more))
    assert (str(own), own.pixels) == (said, pixels)


@pytest.mark.parametrize(
    ("steps", "constants"),
    [
        ([], {}),
        ([("Relu", None, {})], {}),
        ([("Mul", "c", {})], {"c": np.ones((1, 1, 16, 16))}),  # by place, not by channel
        ([("Div", "c", {"swapped": True})], {"c": 255}),  # 255 / x
    ],
)
def test_what_is_no_preparation_is_none(steps, constants):
    assert own_preparation(graph(steps, [constant(*item) for item in constants.items()])) is None


def test_a_layer_that_others_read_too_ends_it():
    model = graph([("Div", "c", {})], [constant("c", 255)])
    model.graph.node.append(node("Relu", ["x"], ["z"]))
    assert own_preparation(model) is None


@pytest.fixture
def scaling(tmp_path):
    """A classifier that divides its pixels by 255 itself."""
    model = onnx.load(classifier(tmp_path / "m.onnx"))
    for each in model.graph.node:
        each.input[:] = ["scaled" if name == "x" else name for name in each.input]
    model.graph.node.insert(0, node("Div", ["x", "full"], ["scaled"]))
    model.graph.initializer.append(constant("full", 255))
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path


def test_quantize_takes_what_the_graph_does_in_place_of_an_assumption(scaling):
    options = ("--force", "--calib-images", "4", "-o", "q.onnx")
    done = run_here("quantize", "m.onnx", *options, cwd=scaling)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == (
        "note: the graph itself divides by 255: its images are prepared with pixels 255, and no mean and"
        " deviation"
    )
    kept = read_manifest(scaling / "q.onnx").preprocessing
    assert (kept["pixels"], kept["mean"], kept["std"]) == (255, [0.0] * 3, [1.0] * 3)
    assert "itself divides by 255, of pixels up to 255" in run_here("info", "m.onnx", cwd=scaling).stdout


def test_quantize_says_that_images_would_be_normalized_twice(scaling):
    options = ("--force", "--calib-images", "4", "-o", "q.onnx", "--prepare", "imagenet")
    done = run_here("quantize", "m.onnx", *options, cwd=scaling)
    assert "the graph itself divides by 255: --pixels 255 without --mean and --std would suit" in done.stdout
