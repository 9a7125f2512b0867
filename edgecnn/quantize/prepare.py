"""Make any convolutional network in an ONNX file one that can be quantized, or say why it cannot be."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
from onnx import TensorProto

from edgecnn import onnx_metadata
from edgecnn.errors import ArtifactError, InvalidValueError
from edgecnn.quantize.evaluate import readouts
from edgecnn.quantize.graph import Graph
from edgecnn.quantize.opset import upgrade
from edgecnn.quantize.simplify import simplify

#: The largest message that protocol buffers can write.
_MAX_BYTES = 2**31 - 1
#: Channels that an image has; more of them in the second place and these in the last mean NHWC.
_IMAGE_CHANNELS = (1, 3, 4)
_QUANTIZED = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
)
_CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def load(path: str | Path) -> onnx.ModelProto:
    """Read an ONNX file and the weights that lie in files beside it.

    Raises ArtifactError for a file that is missing, damaged, without its weights or over 2 GB.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path} is not there, or no file", hint="give the path of an ONNX file")
    onnx_metadata.read(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError, whose module differs with its version
        raise ArtifactError(
            f"{path} is damaged: {_first_line(error)}", hint="copy or export it again"
        ) from error
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx raises the checker's error, OSError or ValueError
        raise ArtifactError(
            f"{path} keeps its weights in another file, which cannot be read: {_first_line(error)}",
            hint="copy the files beside it as well",
        ) from error
    _check_size(model)
    return model


def prepare(model: onnx.ModelProto, size: int | None = None) -> onnx.ModelProto:
    """Return a float model that computes the same, in operator set 18 or later, simplified and with names.

    Its constants are initializers, its batch normalizations are folded (`simplify.py`), and the shapes
    inside it are known. `size` is the height and width of an input that leaves them open. A batch
    size that is fixed stays so. The metadata of the file are kept.

    Raises ArtifactError for a model that is no float network of one image input with weights of its
    own, and InvalidValueError for a `size` that is missing or is not the input's.
    """
    _check_size(model)
    _refuse(model)
    result = upgrade(model)
    _fix_input(result, size)
    if not all(value.type.tensor_type.HasField("shape") for value in result.graph.output):
        result = onnx.shape_inference.infer_shapes(result)  # onnxsim asks for it
    result = simplify(result)
    _refuse_control_flow(result)
    graph = Graph(result)
    weighted = [
        node
        for node in graph.nodes
        if node.op_type in ("Conv", "Gemm", "MatMul") and any(graph.is_constant(name) for name in node.input)
    ]
    if not weighted:
        raise ArtifactError(
            "the model is no convolutional network: no Conv, Gemm or MatMul has constant weights",
            hint="if its weights are inputs, export it with them inside",
        )
    try:
        onnx.checker.check_model(result, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ArtifactError(f"the model is not valid ONNX: {_first_line(error)}") from error
    del result.metadata_props[:]
    result.metadata_props.extend(model.metadata_props)
    return result


def _refuse(model: onnx.ModelProto) -> None:
    """Raise ArtifactError for what no rewriting makes a float network of one image input."""
    graph = model.graph
    quantized = next((node for node in graph.node if node.op_type in _QUANTIZED), None)
    if quantized is not None:
        raise ArtifactError(
            f"the model is quantized already: it has a {quantized.op_type}",
            hint="give the float32 model that it was made from",
        )
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    types = {value.name: value.type.tensor_type.elem_type for value in (*inputs, *graph.output)}
    if any(tensor.data_type in _HALF for tensor in graph.initializer) or set(types.values()) & set(_HALF):
        raise ArtifactError("the model is float16 already", hint="give the float32 model it was made from")
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ArtifactError(
            f"the model has {len(inputs)} inputs ({names}); one image input is expected",
            hint="export the network with its other inputs as constants",
        )
    source = inputs[0]
    if types[source.name] != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(types[source.name]).lower()
        raise ArtifactError(
            f"the input {source.name!r} is {kind}; float32 is expected",
            hint="export the network without the conversion from pixels",
        )
    dimensions = source.type.tensor_type.shape.dim
    if len(dimensions) != 4:
        raise ArtifactError(
            f"the input {source.name!r} has {len(dimensions)} dimensions; an image has four, NCHW",
            hint="export the network for images of a known shape",
        )
    channels, last = dimensions[1].dim_value, dimensions[3].dim_value
    if channels not in _IMAGE_CHANNELS and last in _IMAGE_CHANNELS:
        raise ArtifactError(
            f"the input {source.name!r} is NHWC; NCHW is expected",
            hint="tf2onnx makes it so with --inputs-as-nchw",
        )
    readouts(model)  # raises for outputs that nothing can be said of


def _refuse_control_flow(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type in _CONTROL_FLOW:
            raise ArtifactError(
                f"the model decides while it runs: {node.op_type} {node.name!r}",
                hint="export the network without control flow (torch.onnx.export with dynamo=True)",
            )


def _fix_input(model: onnx.ModelProto, size: int | None) -> None:
    """Give the input's height and width numbers and its batch a number or a name, in place."""
    source = model.graph.input[0]
    batch, channels, *sides = source.type.tensor_type.shape.dim
    fixed = [side.dim_value for side in sides]
    if size is not None and (size < 1 or any(side and side != size for side in fixed)):
        raise InvalidValueError(
            f"the input {source.name!r} is {fixed[0] or 'any'} x {fixed[1] or 'any'}, not {size} x {size}",
            hint="leave --size out",
        )
    if size is None and not all(fixed):
        raise InvalidValueError(
            f"the input {source.name!r} has no fixed height and width",
            hint="say which images the network is for: --size 224",
        )
    if not channels.dim_value:
        raise ArtifactError(
            f"the input {source.name!r} has no fixed number of channels",
            hint="export the network with only the batch left open",
        )
    changed = size is not None and not all(fixed)
    for side in sides:
        side.dim_value = side.dim_value or size or 0
    if not batch.dim_value and not batch.dim_param:
        batch.dim_param = "batch"
    if changed:  # what was inferred for any size says nothing any more
        del model.graph.value_info[:]
        for value in model.graph.output:
            for item in list(value.type.tensor_type.shape.dim)[1:]:
                item.Clear()


def _check_size(model: onnx.ModelProto) -> None:
    held = sum(4 * math.prod(tensor.dims) for tensor in model.graph.initializer)
    if held > _MAX_BYTES:
        raise ArtifactError(
            f"the model's weights take {held / 2**30:.1f} GB; an ONNX file holds 2",
            hint="networks of this size are not meant for the edge",
        )


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
