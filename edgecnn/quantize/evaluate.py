"""Logits of a model that is not written yet."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, inliner

from edgecnn.quantize import batches, shapes
from edgecnn.quantize.graph import Graph
from edgecnn.runtime.ort import open_session

#: Operators after a softmax that change no value.
_PASSING = ("Identity", "Dropout", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze")


def before_softmax(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """Return a model that gives what enters a Softmax at its end, and the name of that output.

    A model that does not end in one is returned as it is, with the name of its first output.
    """
    name = model.graph.output[0].name
    graph = Graph(model)
    last = graph.producer(name)
    while last is not None and last.op_type in _PASSING:
        last = graph.producer(last.input[0])
    if last is None or last.op_type not in ("Softmax", "LogSoftmax"):
        return model, name
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(helper.make_empty_tensor_value_info(last.input[0]))
    return probe, last.input[0]


def logits(
    model: onnx.ModelProto, images: npt.NDArray[Any], *, optimize: bool = True
) -> npt.NDArray[np.float32]:
    """Return the first output for images, flattened to (N, values); a fixed batch is filled up.

    Of a network that ends in a Softmax, what enters it: probabilities near 0 and 1 hide what changed. Without
    `optimize` each node is computed as it stands in the graph.
    """
    model, name = before_softmax(model)
    session = open_session(model.SerializeToString(), optimize=optimize)
    (values,) = batches.run(session, [name], images)
    return np.asarray(values.reshape(len(images), -1), np.float32)


def as_given(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a foreign model that ONNX Runtime computes as it is, without the shapes it declares.

    Its own functions are written out, so that its last operators can be seen.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    shapes.forget_declared(result)
    return inliner.inline_local_functions(result) if result.functions else result
