"""Where a network becomes infinite, if its outputs are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.parity import Output, check_finite
from edgecnn.quantize.graph.index import Graph, batch_of
from edgecnn.quantize.graph.not_finite import infinite_tensors
from edgecnn.quantize.ranges import calibrate

Array = npt.NDArray[np.float32]


def check_outputs(model: onnx.ModelProto, outputs: Sequence[Output], images: Array) -> None:
    """Raise DataError naming the first tensor of a model that is not finite, if its outputs are not.

    `images`, (N, C, H, W), are those that gave the outputs. Raises ParityError naming the output where no
    tensor before it is to blame.
    """
    broken = np.zeros(len(images), bool)
    for item in outputs:
        rows = ~np.isfinite(item.values.reshape(len(item.values), -1)).all(axis=1)
        broken |= rows if len(rows) == len(images) else rows.any()
    if not broken.any():
        return
    infinite = infinite_tensors(Graph(model))
    made = [name for node in model.graph.node for name in node.output if name and name not in infinite]
    image = int(np.flatnonzero(broken)[0])
    batch = np.repeat(images[image : image + 1], batch_of(model) or 1, axis=0)
    calibrate.observe(model, _floats(model, made), [batch])
    check_finite(outputs, "the float network")


def _floats(model: onnx.ModelProto, names: list[str]) -> list[str]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    floats = {value.name for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    return [name for name in names if name in floats]
