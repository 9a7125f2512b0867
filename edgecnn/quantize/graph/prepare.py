"""Make any convolutional network in an ONNX file one that can be quantized, or say why it cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto

from edgecnn.errors import ArtifactError
from edgecnn.image_size import Size, SizeLike
from edgecnn.quantize.graph import contrib_operators, limited_process, not_finite, shapes
from edgecnn.quantize.graph.edit import copy_of
from edgecnn.quantize.graph.index import Graph, sizes
from edgecnn.quantize.graph.load_model import check_size, first_line
from edgecnn.quantize.graph.opset import upgrade
from edgecnn.quantize.graph.readouts import readouts
from edgecnn.quantize.graph.simplify import simplify

#: Bytes of the largest tensor that one image may need.
_MAX_TENSOR = 2 << 30
_QUANTIZED = re.compile(
    "(Quantize|Dequantize|DynamicQuantize|QLinear|QGemm|QAttention|QEmbed|QMoE|MatMulNBits|MatMulInteger)"
    "|ConvInteger"
)
_CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def prepare(
    model: onnx.ModelProto, size: SizeLike | None = None, samples: Mapping[str, Sequence[int]] | None = None
) -> onnx.ModelProto:
    """Return a float model that computes the same, in operator set 18 or later, simplified and with names.

    Its constants are initializers, its batch normalizations are folded (`simplify.py`), and the shapes
    inside it are known. `size` is the height and width of images that are left open, `samples` the shapes of
    other inputs (`shapes.fix_inputs`). A batch size that is fixed stays so. The metadata of the file are
    kept. What other libraries compute of a model beforehand has an end (`limited.py`).

    Raises ArtifactError for a model that is no float network with weights of its own, and InvalidValueError
    for a `size` that is missing or is not the input's.
    """
    size = None if size is None else Size.of(size)
    check_size(model)
    _refuse(model, samples or {})
    not_finite.check_weights(model)
    if _has_work(model):
        result = limited_process.call(rewritten, model, size, samples, what="preparing the graph")
    else:
        result = rewritten(model, size, samples)
    _refuse_what_is_left(result)
    try:
        onnx.checker.check_model(result, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ArtifactError(f"the model is not valid ONNX: {first_line(error)}") from error
    del result.metadata_props[:]
    result.metadata_props.extend(model.metadata_props)
    return result


def _has_work(model: onnx.ModelProto) -> bool:
    """Return whether there is something in a graph to be computed or unpacked beforehand."""
    graph = Graph(model)
    known: set[str] = set()
    for node in graph.nodes:
        if any(item.HasField("g") or item.graphs for item in node.attribute):
            return True
        if node.op_type == "Constant":
            continue
        given = [name for name in node.input if name]
        # Shapes are constants too, where they are fixed.
        if node.op_type == "Shape" or all(graph.is_constant(name) or name in known for name in given):
            known.update(node.output)
            if node.op_type not in ("Shape", "Identity", "Cast"):
                return True
    return bool(model.functions)


def rewritten(
    model: onnx.ModelProto, size: Size | None, samples: Mapping[str, Sequence[int]] | None = None
) -> onnx.ModelProto:
    """Return the model upgraded and simplified, without an end to what that takes; else as `prepare`."""
    given = copy_of(model)
    shapes.forget_declared(given)
    shapes.fix_inputs(given, size, samples)
    contrib_operators.use_standard(given)
    result = upgrade(given)
    contrib_operators.use_standard(result)  # those from inside of the model's functions
    shapes.declare_foreign(result)
    result = onnx.shape_inference.infer_shapes(result)
    shapes.declare_outputs(result)
    result = simplify(result)
    del result.graph.value_info[:]
    shapes.declare_foreign(result)
    return result


def _refuse(model: onnx.ModelProto, samples: Mapping[str, Sequence[int]]) -> None:
    """Raise ArtifactError for what no rewriting makes a float network."""
    graph = model.graph
    quantized = next((node for node in graph.node if _QUANTIZED.match(node.op_type)), None)
    if quantized is not None:
        raise ArtifactError(
            f"the model is quantized already: it has a {quantized.op_type}",
            hint="give the float32 model that it was made from",
        )
    inputs = shapes.inputs_of(model)
    types = {value.name: value.type.tensor_type.elem_type for value in (*inputs, *graph.output)}
    if any(tensor.data_type in _HALF for tensor in graph.initializer) or set(types.values()) & set(_HALF):
        raise ArtifactError("the model is float16 already", hint="give the float32 model it was made from")
    wrong = [item for item in inputs if item.name not in samples and types[item.name] != TensorProto.FLOAT]
    if wrong:
        kind = TensorProto.DataType.Name(types[wrong[0].name]).lower()
        raise ArtifactError(
            f"the input {wrong[0].name!r} is {kind}; float32 is expected",
            hint="export the network without the conversion from pixels",
        )
    readouts(model)  # raises for outputs that nothing can be said of


def _refuse_what_is_left(model: onnx.ModelProto) -> None:
    """Raise ArtifactError for a simplified graph that decides while it runs, is too large or unweighted."""
    for node in model.graph.node:
        if node.op_type in _CONTROL_FLOW:
            raise ArtifactError(
                f"the model decides while it runs: {node.op_type} {node.name!r}",
                hint="export the network without control flow (torch.onnx.export with dynamo=True)",
            )
    graph = Graph(model)
    if not any(
        node.op_type in ("Conv", "Gemm", "MatMul") and any(graph.is_constant(name) for name in node.input)
        for node in graph.nodes
    ):
        raise ArtifactError(
            "the model is no convolutional network: no Conv, Gemm or MatMul has constant weights",
            hint="if its weights are inputs, export it with them inside",
        )
    for name, count in sizes(model).items():
        node = graph.producer(name)
        if node is not None and 4 * count > _MAX_TENSOR:
            raise ArtifactError(
                f"{node.op_type} {node.name!r} makes {4 * count / 2**30:.1f} GB of one image",
                hint="networks of this size are not meant for the edge; `size` asks for smaller images",
            )
