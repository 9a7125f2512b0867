"""The end of a detector as exporters write it: distributions over bins, anchors as constants, one output."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, BINS, CLASSES = 32, 16, 3
GRIDS = (8, 4)


def yolov8_head() -> onnx.ModelProto:
    """Two levels; sides of boxes as distributions over bins, whose mean a convolution takes, and scores."""
    generator = np.random.default_rng(0)
    cells = sum(grid * grid for grid in GRIDS)
    nodes, values = [], []

    def constant(name, value):
        values.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(op, inputs, output, **attributes):
        names = [output] if isinstance(output, str) else output
        nodes.append(helper.make_node(op, inputs, names, f"n_{names[0]}", **attributes))
        return output

    def conv(source, output, inner, outer, **attributes):
        weights = generator.normal(0, 1 / np.sqrt(9 * inner), (outer, inner, 3, 3)).astype(np.float32)
        bias = constant(f"{output}_b", np.zeros(outer, np.float32))
        return node(
            "Conv", [source, constant(f"{output}_w", weights), bias], output, pads=[1] * 4, **attributes
        )

    levels, source, channels = [], "x", 3
    for number, grid in enumerate(GRIDS):
        source = node(
            "Relu",
            [conv(source, f"c{number}", channels, 8, strides=[4 if not number else 2] * 2)],
            f"r{number}",
        )
        channels = 8
        boxes = conv(
            node("Relu", [conv(source, f"p{number}", 8, 8)], f"q{number}"), f"boxes{number}", 8, 4 * BINS
        )
        scores = conv(
            node("Relu", [conv(source, f"s{number}", 8, 8)], f"t{number}"), f"scores{number}", 8, CLASSES
        )
        both = node("Concat", [boxes, scores], f"both{number}", axis=1)
        shape = constant(f"shape{number}", np.array([-1, 4 * BINS + CLASSES, grid * grid]))
        levels.append(node("Reshape", [both, shape], f"flat{number}"))
    everything = node("Concat", levels, "all", axis=2)
    node("Split", [everything, constant("parts", np.array([4 * BINS, CLASSES]))], ["bins", "logits"], axis=1)
    shaped = node("Reshape", ["bins", constant("four", np.array([-1, 4, BINS, cells]))], "shaped")
    shares = node("Softmax", [node("Transpose", [shaped], "turned", perm=[0, 2, 1, 3])], "shares", axis=1)
    ramp = constant("ramp", np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1))
    mean = node("Conv", [shares, ramp], "mean")
    sides = node("Reshape", [mean, constant("flat4", np.array([-1, 4, cells]))], "sides")
    node("Split", [sides, constant("two", np.array([2, 2]))], ["near", "far"], axis=1)
    points = generator.uniform(0, 8, (1, 2, cells)).astype(np.float32)
    low = node("Sub", [constant("points", points), "near"], "low")
    high = node("Add", [constant("points2", points), "far"], "high")
    middle = node("Div", [node("Add", [low, high], "sum"), constant("half", np.float32(2))], "middle")
    size = node("Sub", [high, low], "size")
    joined = node("Concat", [middle, size], "joined", axis=1)
    strides = np.repeat(np.float32([4, 8]), [grid * grid for grid in GRIDS])[None, None]
    pixels = node("Mul", [joined, constant("strides", strides)], "pixels")
    node("Concat", [pixels, node("Sigmoid", ["logits"], "sure")], "output0", axis=1)
    graph = helper.make_graph(
        nodes, "head",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 4 + CLASSES, cells])],
        values,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
