"""Bring a graph to an operator set that has Q/DQ pairs with one scale per channel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, inliner, version_converter

from edgecnn.errors import ArtifactError
from edgecnn.quantize.graph.edit import Editor, copy_of, replace_nodes
from edgecnn.quantize.graph.opset_before_7 import to_opset_7, unknown_form
from edgecnn.quantize.graph.silence import silenced

#: The operator set that graphs are brought to; TensorRT and ONNX Runtime both know it well.
OPSET = 18
#: The first whose QuantizeLinear takes one scale per channel.
MIN_OPSET = 13
#: The form of the file that goes with it; from 4 on a constant need not be an input of the graph.
IR_VERSION = 8
#: From this operator set on, Resize says how it finds its source pixels.
_RESIZE_SPEAKS = 11
#: How it says so.
_PLACES, _NEAREST = "coordinate_transformation_mode", "nearest_mode"


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operator set that a model uses; raises ArtifactError without one."""
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    if not versions:
        raise ArtifactError(
            "the model names no standard ONNX operator set", hint="export the network as plain ONNX"
        )
    return int(versions[0])


def upgrade(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in operator set `OPSET`, or in its own where that is later.

    A graph of set 13 to 17 that onnx's converter cannot bring further stays as it is. The copy's
    constants are no inputs of the graph. Raises ArtifactError naming the operator and the operator set.
    """
    result = copy_of(model)
    opset = opset_of(result)
    for node in result.graph.node:
        if node.domain == "ai.onnx":  # another name for the standard one, which not every tool knows
            node.domain = ""
    if result.functions:
        try:
            result = inliner.inline_local_functions(result)
        except Exception as error:  # the checker's error, which has no class of its own outside
            raise ArtifactError(
                f"the model's own functions cannot be written out: {str(error).splitlines()[0]}",
                hint="export the network without functions that call themselves",
            ) from error
    if opset < OPSET:
        _drop_leftovers(result)
        result = _converted(result, opset)
    result.ir_version = max(result.ir_version, IR_VERSION)
    constants = {tensor.name for tensor in result.graph.initializer}
    inputs = [value for value in result.graph.input if value.name not in constants]
    del result.graph.input[:]
    result.graph.input.extend(inputs)
    return result


def _converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    result = model
    if opset < 7:
        to_opset_7(result, opset)
        for item in result.opset_import:
            if item.domain in ("", "ai.onnx"):
                item.version = 7
    for node in result.graph.node:
        old_batch_norm = node.op_type == "BatchNormalization" and opset < 9
        spatial = [item for item in node.attribute if item.name == "spatial"] if old_batch_norm else []
        if spatial and spatial[0].i == 0:
            raise unknown_form(node, opset, "it normalizes every pixel by itself")
    try:
        with silenced():
            converted: onnx.ModelProto = version_converter.convert_version(result, OPSET)
    except Exception as error:  # the converter raises whatever its C++ asserts
        if opset >= MIN_OPSET:
            return model
        raise ArtifactError(
            f"operator set {opset} cannot be upgraded: {_reason(result, error)}",
            hint="export the network again with operator set 13 or later",
        ) from error
    if opset < _RESIZE_SPEAKS:
        _say_how_to_resize(converted)
    # Custom operator sets do not come through the converter.
    known = {item.domain for item in converted.opset_import}
    converted.opset_import.extend(item for item in model.opset_import if item.domain not in known)
    return converted


def _say_how_to_resize(model: onnx.ModelProto) -> None:
    """Give, in place, each Resize that the converter made the rule of the time when it had no attributes.

    The converter leaves these at their defaults, half a pixel away from what was meant. A nearest pixel then
    was that at or before the place where an image grows, and that at or after it where an image shrinks; a
    node that does one along one axis and the other along another becomes two.
    """
    editor = Editor(model)
    graph = editor.graph
    nodes: list[onnx.NodeProto] = []
    for node in graph.nodes:
        if node.op_type != "Resize" or any(item.name == _PLACES for item in node.attribute):
            nodes.append(node)
            continue
        scales = node.input[2] if len(node.input) > 2 else ""
        factors = graph.constant(scales) if graph.is_constant(scales) else np.ones(1, np.float32)
        node.attribute.append(helper.make_attribute(_PLACES, "asymmetric"))
        if (factors < 1).any() and (factors > 1).any():
            nodes.append(_growing(editor, node, factors))
        node.attribute.append(helper.make_attribute(_NEAREST, "ceil" if (factors < 1).any() else "floor"))
        nodes.append(node)
    replace_nodes(model, nodes)


def _growing(editor: Editor, node: onnx.NodeProto, factors: npt.NDArray[np.float32]) -> onnx.NodeProto:
    """Return a Resize that grows by those factors that do, and leave the shrinking ones to the given node."""
    first = onnx.NodeProto()
    first.CopyFrom(node)
    first.name = ""
    for part, ends in ((first, (1, np.inf)), (node, (0, 1))):
        value = np.clip(factors, *ends).astype(np.float32)
        part.input[2] = editor.add_constant(f"{node.output[0]}_scales", value)
    first.output[0] = node.input[0] = editor.tensors.fresh(f"{node.output[0]}_grown")
    first.attribute.append(helper.make_attribute(_NEAREST, "floor"))
    return first


def _reason(model: onnx.ModelProto, error: Exception) -> str:
    """Return what the converter stumbled over; of operators that it does not know it says no name."""
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type):
            return f"{node.op_type} {node.name or node.output[0]!r} is no standard operator"
    for node in model.graph.node:
        if node.op_type in str(error):
            return f"{node.op_type}: {str(error).splitlines()[0]}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _drop_leftovers(model: onnx.ModelProto) -> None:
    """Remove, in place, outputs that only training had: the converter crashes on an empty one."""
    read = {name for node in model.graph.node for name in node.input}
    read |= {value.name for value in model.graph.output}
    for node in model.graph.node:
        extra = node.op_type in ("BatchNormalization", "Dropout", "MaxPool", "LRN")
        while len(node.output) > 1 and (not node.output[-1] or (extra and node.output[-1] not in read)):
            del node.output[-1]
        while node.input and not node.input[-1]:
            del node.input[-1]
