"""Let an application feed raw camera frames: normalization and layout inside the graph."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.runtime.images import Preprocessing


def with_uint8_input(model: onnx.ModelProto, preprocessing: Preprocessing) -> onnx.ModelProto:
    """Return a copy that takes uint8 (N, H, W, C) frames instead of normalised float32 (N, C, H, W)."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    (old,) = graph.input
    batch, channels, height, width = old.type.tensor_type.shape.dim
    for node in graph.node:
        node.input[:] = ["normalized" if name == old.name else name for name in node.input]
    scale, offset = preprocessing.affine()
    constants = [
        numpy_helper.from_array(value.reshape(1, 1, 1, -1), name)
        for name, value in (("pixel_scale", scale), ("pixel_offset", offset))
    ]
    steps = [
        helper.make_node("Cast", [old.name], ["pixels"], name="normalize/cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "pixel_scale"], ["scaled"], name="normalize/scale"),
        helper.make_node("Add", ["scaled", "pixel_offset"], ["shifted"], name="normalize/shift"),
        helper.make_node(
            "Transpose", ["shifted"], ["normalized"], name="normalize/layout", perm=[0, 3, 1, 2]
        ),
    ]
    first = batch.dim_param or batch.dim_value
    shape = [first, height.dim_value, width.dim_value, channels.dim_value]
    value = helper.make_tensor_value_info(old.name, TensorProto.UINT8, shape)
    nodes = [*steps, *graph.node]
    del graph.input[:], graph.node[:]
    graph.input.append(value)
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    return result
