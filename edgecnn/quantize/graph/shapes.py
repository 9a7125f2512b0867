"""Shapes as they are, not as a file declares them: ONNX Runtime runs a file whose declarations are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto, helper

from edgecnn.errors import ArtifactError, EngineError, InvalidValueError
from edgecnn.image_size import Size
from edgecnn.quantize.graph.edit import copy_of
from edgecnn.quantize.graph.index import Graph, input_specs, is_standard
from edgecnn.quantize.graph.weighted_layer import view_of
from edgecnn.runtime.engine_inputs import layout_of
from edgecnn.runtime.ort_engine import open_session, run_session
from edgecnn.runtime.samples import feeds, zeros

_TYPES = {
    f"tensor({name})": TensorProto.DataType.Value(kind)
    for name, kind in (
        ("float", "FLOAT"), ("float16", "FLOAT16"), ("double", "DOUBLE"), ("bool", "BOOL"),
        ("int64", "INT64"), ("int32", "INT32"), ("int8", "INT8"), ("uint8", "UINT8"),
    )
}  # fmt: skip


def inputs_of(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are no constants; raises ArtifactError if there are none."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if not inputs:
        raise ArtifactError("the model has no inputs", hint="export the network with its image as an input")
    return inputs


def image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """Return the first input of four sizes, else the first one; raises as `inputs_of` does."""
    inputs = inputs_of(model)
    return next((value for value in inputs if len(value.type.tensor_type.shape.dim) == 4), inputs[0])


def forget_declared(model: onnx.ModelProto) -> None:
    """Drop, in place, all shapes that a file declares but its inputs', of which sizes below 1 are freed.

    They may be out of date, and inference gives them anew. Converters write -1, and some 0, for a size that
    is free.
    """
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in inputs_of(model):
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value < 1:
                dim.Clear()


def fix_inputs(
    model: onnx.ModelProto, size: Size | None, samples: Mapping[str, Sequence[int]] | None = None
) -> None:
    """Give all sizes of the inputs numbers, and their batch a number or a name, in place.

    `samples` are the shapes of inputs that somebody gives, without the axis of the batch where they have
    one; the others have to be images. Raises InvalidValueError for a `size` that is missing or is not the
    input's, ArtifactError for an input that is no image and that nobody gives.
    """
    for value in inputs_of(model):
        if samples is not None and value.name in samples:
            _fix_given(value, samples[value.name])
        else:
            _fix_image(model, value, size)


def _fix_given(value: onnx.ValueInfoProto, shape: Sequence[int]) -> None:
    """Give an input's sizes the numbers of what is given; its batch, if it is free, has a name."""
    dims = value.type.tensor_type.shape.dim
    if len(dims) == len(shape) + 1 and not dims[0].dim_value and not dims[0].dim_param:
        dims[0].dim_param = "batch"
    for dim, number in zip(reversed(dims), reversed(shape), strict=False):
        if not dim.dim_value:
            dim.Clear()
            dim.dim_value = number


def _fix_image(model: onnx.ModelProto, source: onnx.ValueInfoProto, size: Size | None) -> None:
    """Give an image's height and width numbers, and its batch a number or a name."""
    _complete(model, source)
    batch, *inner = source.type.tensor_type.shape.dim
    nhwc = layout_of([dim.dim_value for dim in source.type.tensor_type.shape.dim]) == "NHWC"
    *sides, channels = inner if nhwc else [*inner[1:], inner[0]]
    fixed = [side.dim_value for side in sides]
    if size is not None and any(side and side != own for side, own in zip(fixed, size, strict=True)):
        raise InvalidValueError(
            f"the input {source.name!r} is {fixed[0] or 'any'} x {fixed[1] or 'any'}, not {size}",
            hint="leave `size` out",
        )
    if size is None and not all(fixed):
        raise InvalidValueError(
            f"the input {source.name!r} has no fixed height and width",
            hint="say which images the network is for: `size` 224, or 192x256",
        )
    if not channels.dim_value:
        raise ArtifactError(
            f"the input {source.name!r} has no fixed number of channels",
            hint="export the network with only the batch left open",
        )
    for side, own in zip(sides, size or fixed, strict=True):
        side.dim_value = own
    if not batch.dim_value and not batch.dim_param:
        batch.dim_param = "batch"


def _complete(model: onnx.ModelProto, source: onnx.ValueInfoProto) -> None:
    """Give an input the rank and the channels that a convolution which reads it asks for."""
    shape = source.type.tensor_type.shape
    graph = Graph(model)
    readers = (node for node in graph.consumers(source.name) if node.op_type == "Conv")
    filters = next((node for node in readers if _reads_images(graph, node, source.name)), None)
    if not shape.dim and filters is not None:
        shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in range(4))
    if len(shape.dim) != 4:
        raise ArtifactError(
            f"the input {source.name!r} has {len(shape.dim)} dimensions; an image has four, NCHW or NHWC",
            hint="`calib` FOLDER of .npz samples, or `input` NAME=VALUE, says what the network takes there",
        )
    channels = shape.dim[1]
    if not channels.dim_value and filters is not None:
        channels.Clear()
        channels.dim_value = view_of(graph, filters).inputs


def _reads_images(graph: Graph, node: onnx.NodeProto, name: str) -> bool:
    constant = graph.is_constant(node.input[1])
    return constant and node.input[0] == name and graph.constant(node.input[1]).ndim == 4


def declare_foreign(model: onnx.ModelProto) -> None:
    """Declare, in place, types and shapes of what operators outside of the standard make.

    ONNX Runtime tells them. Raises ArtifactError, naming the operator, if it does not know one.
    """
    foreign = [node for node in model.graph.node if not is_standard(node)]
    if not foreign:
        return
    made = [name for node in foreign for name in node.output if name]
    outputs = {value.name for value in model.graph.output}
    probe = copy_of(model)
    probe.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in made if name not in outputs
    )
    try:
        session = open_session(probe.SerializeToString(), optimize=False)
    except EngineError as error:
        culprit = next((node for node in foreign if node.op_type in str(error)), foreign[0])
        raise ArtifactError(
            f"{culprit.op_type} {culprit.name or culprit.output[0]!r} of {culprit.domain!r} is no operator of"
            " ONNX Runtime",
            hint="export the network with standard operators",
        ) from error
    known = {value.name for value in model.graph.value_info} | outputs
    for value in session.get_outputs():
        if value.name in made and value.name not in known and value.type in _TYPES:
            shape = [size or None for size in value.shape] or None
            model.graph.value_info.append(
                helper.make_tensor_value_info(value.name, _TYPES[value.type], shape)
            )


def declare_outputs(model: onnx.ModelProto) -> None:
    """Declare, in place, the rank of outputs that inference does not tell, by running the model on zeros.

    onnxsim takes no output without a shape. Raises EngineError if the model does not run.
    """
    unknown = [value for value in model.graph.output if not value.type.tensor_type.HasField("shape")]
    if not unknown:
        return
    specs = input_specs(model)
    session = open_session(model.SerializeToString(), optimize=False)
    found = run_session(session, [value.name for value in unknown], feeds(zeros(specs), specs))
    for value, result in zip(unknown, found, strict=True):
        free = [None] * result.ndim
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, free))
