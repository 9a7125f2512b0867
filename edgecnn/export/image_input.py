"""Let an application feed raw camera frames: normalization and layout inside the graph."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.quantize import front_end
from edgecnn.runtime.images import Preprocessing


def with_uint8_input(model: onnx.ModelProto, preprocessing: Preprocessing) -> onnx.ModelProto:
    """Return a copy that takes uint8 (N, H, W, C) frames instead of normalised float32 (N, C, H, W)."""
    (image,) = model.graph.input
    scale, offset = preprocessing.affine()
    constants = [
        numpy_helper.from_array(value.reshape(1, 1, 1, -1), name)
        for name, value in (("pixel_scale", scale), ("pixel_offset", offset))
    ]
    steps = [
        helper.make_node(
            "Cast", [image.name], ["pixels"], name=f"{front_end.PREFIX}cast", to=TensorProto.FLOAT
        ),
        helper.make_node("Mul", ["pixels", "pixel_scale"], ["scaled"], name=f"{front_end.PREFIX}scale"),
        helper.make_node("Add", ["scaled", "pixel_offset"], ["shifted"], name=f"{front_end.PREFIX}shift"),
        helper.make_node(
            "Transpose", ["shifted"], ["normalized"], name=f"{front_end.PREFIX}layout", perm=[0, 3, 1, 2]
        ),
    ]
    return front_end.attach(model, front_end.FrontEnd(steps, constants))
