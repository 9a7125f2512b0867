"""Let an application feed raw camera frames: normalization and layout inside the graph."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.quantize.graph import front_end
from edgecnn.quantize.graph.free_names import Names
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing


def with_uint8_input(model: onnx.ModelProto, preprocessing: Preprocessing) -> onnx.ModelProto:
    """Return a copy that takes uint8 (N, H, W, C) frames instead of normalised float32 (N, C, H, W)."""
    (image,) = model.graph.input
    scale, offset = prepare.affine(
        preprocessing,
    )
    names = Names.of_tensors(model)
    pixels, scaled, shifted, normalized, factor, summand = map(
        names.fresh, ("pixels", "scaled", "shifted", "normalized", "pixel_scale", "pixel_offset")
    )
    constants = [
        numpy_helper.from_array(value.reshape(1, 1, 1, -1), name)
        for name, value in ((factor, scale), (summand, offset))
    ]
    prefix = front_end.PREFIX
    steps = [
        helper.make_node("Cast", [image.name], [pixels], name=f"{prefix}cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", [pixels, factor], [scaled], name=f"{prefix}scale"),
        helper.make_node("Add", [scaled, summand], [shifted], name=f"{prefix}shift"),
        helper.make_node("Transpose", [shifted], [normalized], name=f"{prefix}layout", perm=[0, 3, 1, 2]),
    ]
    return front_end.attach(model, front_end.FrontEnd(steps, constants))
