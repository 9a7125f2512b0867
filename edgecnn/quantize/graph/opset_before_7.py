"""Write a graph of operator sets 1 to 6 as one of operator set 7, where onnx's own converter begins to work.

The converter leaves the attributes of that time in place or writes damaged constants for them. Source:
the operators' change log in the ONNX documentation (docs/Changelog.md), versions 1 to 7.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.errors import ArtifactError
from edgecnn.quantize.graph.edit import copy_of
from edgecnn.quantize.graph.free_names import Names

#: Attributes that only told a training framework something.
_MEANINGLESS = ("consumed_inputs", "is_test")
#: Operators whose second input was stretched by the attributes `broadcast` and `axis`.
_STRETCHING = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")


def to_opset_7(model: onnx.ModelProto, opset: int) -> None:
    """Rewrite, in place, a graph of an operator set below 7.

    Raises ArtifactError for an operator whose old form is not known here.
    """
    ranks = _ranks(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    added: dict[str, TensorProto] = {}
    names = Names.of_tensors(model)

    def stretch(node: onnx.NodeProto, position: int, axis: int | None) -> None:
        """Give a constant ones at its end, so that its axes meet `axis` and those after it."""
        name = node.input[position]
        rank = ranks.get(node.input[0])
        if name not in constants or rank is None:
            raise unknown_form(node, opset, "it stretches a tensor that is not constant")
        value = numpy_helper.to_array(constants[name])
        start = rank - value.ndim if axis is None else axis % rank
        shape = value.shape + (1,) * (rank - start - value.ndim)
        node.input[position] = names.fresh(f"{name}_as_{'x'.join(map(str, shape))}")
        added[node.input[position]] = numpy_helper.from_array(value.reshape(shape), node.input[position])

    for node in model.graph.node:
        old = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        new = {key: value for key, value in old.items() if key not in _MEANINGLESS}
        kind = node.op_type
        if kind in _STRETCHING and new.pop("broadcast", 0):
            axis = new.pop("axis", None)
            if axis is not None:
                stretch(node, 1, axis)
        elif kind in _STRETCHING:
            new.pop("axis", None)
        elif kind == "Gemm":
            new.pop("broadcast", None)
        elif kind == "PRelu" and ranks.get(node.input[0], 0) > 2 and ranks.get(node.input[1]) == 1:
            stretch(node, 1, 1)
        elif kind == "Reshape" and "shape" in new:
            shape = names.fresh(f"{node.output[0]}_shape")
            added[shape] = numpy_helper.from_array(np.array(new.pop("shape"), np.int64), shape)
            node.input.append(shape)
        elif kind == "Cast" and isinstance(new.get("to"), bytes):
            new["to"] = TensorProto.DataType.Value(new["to"].decode().upper())
        elif kind == "Concat":
            new.setdefault("axis", 1)
        elif kind == "Pad" and "paddings" in new:
            new["pads"] = new.pop("paddings")
        elif kind == "Upsample" and "height_scale" in new:
            new["scales"] = [1.0, 1.0, new.pop("height_scale"), new.pop("width_scale")]
        elif (kind == "Split" and len(node.input) > 1) or (kind == "Tile" and opset < 6):
            raise unknown_form(node, opset, "its old form is not known")
        if new != old:
            del node.attribute[:]
            node.attribute.extend(helper.make_attribute(key, value) for key, value in new.items())
    model.graph.initializer.extend(added.values())
    model.graph.input.extend(
        helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
        for name, tensor in added.items()
    )


def unknown_form(node: onnx.NodeProto, opset: int, why: str) -> ArtifactError:
    """Return the error for a node of an old operator set that cannot be brought to a new one."""
    return ArtifactError(
        f"{node.op_type} {node.name or node.output[0]!r} of operator set {opset} cannot be upgraded: {why}",
        hint="export the network again with operator set 13 or later",
    )


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Return the number of dimensions of every tensor that shape inference can tell."""
    probe = copy_of(model)
    for node in probe.graph.node:
        # What was stretched onto another tensor left that tensor's shape as it was; so did these attributes.
        if node.op_type in (*_STRETCHING, "PRelu", "Dropout"):
            node.op_type = "Identity"
            del node.input[1:], node.output[1:], node.attribute[:]
        kept = [item for item in node.attribute if item.name not in _MEANINGLESS]
        del node.attribute[:]
        node.attribute.extend(kept)
        if node.op_type == "Concat" and not kept:
            node.attribute.append(helper.make_attribute("axis", 1))
    values = [*model.graph.input, *onnx.shape_inference.infer_shapes(probe).graph.value_info]
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
    return {**ranks, **{tensor.name: len(tensor.dims) for tensor in model.graph.initializer}}
