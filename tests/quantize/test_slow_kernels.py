"""Layers that ONNX Runtime computes slower in int8 stay float, by a rule with a name."""

import numpy as np
import onnx
import pytest
from foreign_graphs import constant, decibels, drawn, head, images, model_of, node, run

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.slow_kernels import FEW_CHANNELS, LAST_POOL, LEFT_OVER
from edgecnn.quantize.placement.before_int8 import BEFORE_INT8
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.placement.remove_qdq import strip
from edgecnn.quantize.quantizer import quantize
from edgecnn.schemes import CPU, OPENVINO, PORTABLE


def network(inputs=3, outputs=24, side=3, channels=40, window=5, groups=None):
    """A first layer, a pointwise one, a depthwise one, a pointwise one, and logits."""
    nodes = [
        node("Conv", ["x", "w1"], ["a"], name="first", pads=[side // 2] * 4, strides=[2, 2]),
        node("Relu", ["a"], ["r"], name="r1"),
        node("Conv", ["r", "w2"], ["b"], name="wide"),
        node("Relu", ["b"], ["q"], name="r2"),
        node(
            "Conv", ["q", "w3"], ["c"], name="deep", pads=[window // 2] * 4, group=groups or channels,
        ),
        node("Relu", ["c"], ["s"], name="r3"),
        node("Conv", ["s", "w4"], ["f"], name="narrow"),
    ]  # fmt: skip
    weights = [
        drawn("w1", outputs, inputs, side, side),
        drawn("w2", channels, outputs, 1, 1),
        drawn("w3", channels, channels // (groups or channels), window, window),
        drawn("w4", 8, channels, 1, 1),
    ]
    return model_of((nodes, weights), head(), shape=("n", inputs, 32, 32))


@pytest.mark.parametrize(
    ("sizes", "rules"),
    [
        ({}, {"first": FEW_CHANNELS, "deep": LEFT_OVER}),
        ({"outputs": 32, "channels": 48}, {"first": FEW_CHANNELS}),
        ({"outputs": 64, "channels": 48}, {}),
        ({"inputs": 1, "outputs": 64, "channels": 48}, {"first": FEW_CHANNELS}),
        ({"inputs": 4, "channels": 48}, {}),
        ({"side": 1, "channels": 48}, {}),
        ({"outputs": 64, "window": 3}, {}),
        ({"outputs": 64, "groups": 1}, {}),
    ],
    ids=["both", "first", "many outputs", "grey", "four channels", "pixels", "3 x 3", "not depthwise"],
)
def test_which_layers_stay_float(sizes, rules):
    graph = Graph(network(**sizes))
    assert place(graph, CPU).float_nodes == rules
    for scheme in (PORTABLE, OPENVINO):
        assert place(graph, scheme).float_nodes == {}


def test_they_are_computed_as_they_are():
    model = network()
    made = quantize(model, [images(16)], CPU, "minmax").model
    names = {item.name: item for item in made.graph.node}
    constants = {item.name for item in made.graph.initializer}
    assert names["first"].input[0] == "x" and names["first"].input[1] in constants
    assert names["deep"].input[1] in constants and names["wide"].input[1] not in constants
    assert decibels(run(model, images()), run(made, images())) > 25


def test_a_layer_of_few_channels_inside_is_no_first_layer():
    """What it reads is in codes already."""
    nodes = [
        node("Conv", ["x", "w1"], ["a"], name="first"),
        node("Relu", ["a"], ["r"], name="r1"),
        node("Conv", ["r", "w2"], ["f"], name="second", pads=[1] * 4),
    ]
    model = model_of((nodes, [drawn("w1", 2, 3, 1, 1), drawn("w2", 8, 2, 3, 3)]), head())
    assert np.isfinite(run(model, images())).all()
    assert place(Graph(model), CPU).float_nodes == {}


@pytest.mark.parametrize("last", [True, False])
def test_a_pooling_behind_the_last_convolution_is_float_between_tensors_of_one_scale(last, tmp_path):
    nodes = [
        node("Conv", ["x", "w1"], ["a"], name="first"),
        node("Relu", ["a"], ["r"], name="r1"),
        node("MaxPool", ["r"], ["m"], name="maxpool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["m", "w2"], ["b"], name="second", pads=[1] * 4),
        node("Relu", ["b"], ["f"], name="r2"),
    ]
    weights = [drawn("w1", 8, 3, 1, 1), drawn("w2", 8, 8, 3, 3)]
    if last:
        pool = node("MaxPool", ["r"], ["f"], name="maxpool", kernel_shape=[2, 2])
        nodes, weights = [*nodes[:2], pool], weights[:1]
    model = model_of((nodes, weights), head())
    placement = place(Graph(model), CPU)
    assert placement.float_nodes == ({"maxpool": LAST_POOL} if last else {})
    assert placement.shares["f" if last else "m"] == "r"
    made = quantize(model, [images(16)], CPU, "minmax").model
    assert decibels(run(model, images()), run(made, images())) > 25
    found = optimized(made, tmp_path / "optimized.onnx")
    pool = next(item for item in found.graph.node if "MaxPool" in item.op_type)
    before = next(item for item in found.graph.node if pool.input[0] in item.output)
    assert (before.op_type == "DequantizeLinear") is last
    assert [item.name for item in strip(made).model.graph.node] == [item.name for item in model.graph.node]


def optimized(model, path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


def test_what_follows_a_float_first_layer_is_float_up_to_the_first_int8_layer():
    """A sum would make codes of both its inputs first."""
    nodes = [
        node("Conv", ["x", "w1"], ["a"], name="first", pads=[1] * 4),
        node("PRelu", ["a", "slope"], ["r"], name="leak"),
        node("AveragePool", ["r"], ["m"], name="mean", kernel_shape=[2, 2], strides=[2, 2]),
        node("Add", ["m", "m"], ["s"], name="twice"),
        node("Conv", ["s", "w2"], ["f"], name="second", pads=[1] * 4),
    ]
    slope = constant("slope", np.linspace(-0.3, 0.9, 8, dtype=np.float32).reshape(8, 1, 1))
    model = model_of((nodes, [drawn("w1", 8, 3, 3, 3), drawn("w2", 8, 8, 3, 3), slope]), head())
    made = quantize(model, [images(16)], CPU, "minmax")
    assert made.placement.tensors[0] == "s"
    assert made.float_nodes["mean"] == made.float_nodes["twice"] == BEFORE_INT8
    assert decibels(run(model, images()), run(made.model, images())) > 25
    assert place(Graph(model), PORTABLE).float_nodes == {}


def test_a_first_layer_before_a_max_pooling_is_int8():
    """ONNX Runtime moves the QuantizeLinear before the pooling, and pools bytes in the order of floats."""
    nodes = [
        node("Conv", ["x", "w1"], ["a"], name="first", pads=[1] * 4),
        node("Relu", ["a"], ["r"], name="r1"),
        node("MaxPool", ["r"], ["m"], name="maxpool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["m", "w2"], ["f"], name="second", pads=[1] * 4),
    ]
    model = model_of((nodes, [drawn("w1", 8, 3, 3, 3), drawn("w2", 8, 8, 3, 3)]), head())
    assert place(Graph(model), CPU).float_nodes == {}
