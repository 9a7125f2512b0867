"""A float16 graph with float32 at its ends."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.errors import ParityError

_HALF = np.finfo(np.float16)


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that computes in float16 between a cast of its input and a cast of its output.

    TensorRT 11 knows no builder flag for float16: the precision has to stand in the graph.
    Raises ParityError if a weight lies outside float16's range.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            value = numpy_helper.to_array(tensor)
            if np.abs(value).max(initial=0) > _HALF.max:
                raise ParityError(
                    f"weight {tensor.name} reaches {np.abs(value).max():.3g}, beyond float16",
                    hint="export in float32, or rescale the layer",
                )
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), tensor.name))
    (source,), (sink,) = graph.input, graph.output
    for node in graph.node:
        node.input[:] = [f"{name}_half" if name == source.name else name for name in node.input]
        node.output[:] = [f"{name}_half" if name == sink.name else name for name in node.output]
    entry = helper.make_node(
        "Cast", [source.name], [f"{source.name}_half"], name="to_float16", to=TensorProto.FLOAT16
    )
    leave = helper.make_node(
        "Cast", [f"{sink.name}_half"], [sink.name], name="to_float32", to=TensorProto.FLOAT
    )
    nodes = [entry, *graph.node, leave]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return result
