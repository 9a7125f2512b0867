"""Numbers that are not finite: which are a defect of the file, and which a network means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.errors import ArtifactError
from edgecnn.finite import first_broken
from edgecnn.quantize.graph.index import Graph, is_standard
from edgecnn.quantize.graph.patterns import clip_bounds
from edgecnn.quantize.graph.weighted_layer import WEIGHTED, view_of

Array = npt.NDArray[np.float32]
#: Operators that make finite numbers of infinite ones: exp(-inf) is 0, and what clips has an end.
_ENDING = (
    "Softmax",
    "Sigmoid",
    "HardSigmoid",
    "Tanh",
    "Relu",
    "MaxPool",
    "GlobalMaxPool",
    "ReduceMax",
    "Exp",
)


def check_weights(model: onnx.ModelProto) -> None:
    """Raise ArtifactError naming the tensor and the place where a constant is NaN, or a weight infinite.

    An infinite constant that is no weight may be meant: a mask, the padding before a maximum, an open bound.
    """
    graph = Graph(model)
    read: dict[str, bool] = {}
    for node in graph.nodes:
        for position, name in enumerate(node.input):
            if graph.is_constant(name):
                weight = position == 1 and node.op_type in WEIGHTED
                read[name] = read.get(name, False) or weight
    for name, weight in read.items():
        value = graph.constant(name)
        if value.dtype.kind == "f" and (broken := first_broken(value, infinite=weight)):
            raise ArtifactError(
                f"weights {name!r} hold {broken}",
                hint="the training diverged, or the file is damaged: take an earlier checkpoint",
            )


def infinite_tensors(graph: Graph) -> set[str]:
    """Return the tensors of a graph that an infinite constant can have made infinite."""
    found: set[str] = set()
    for node in graph.nodes:
        given = any(name in found for name in node.input)
        if not given and not any(_is_infinite(graph, name) for name in node.input):
            continue
        bounds = clip_bounds(graph, node)
        if node.op_type in _ENDING or (bounds is not None and np.isfinite(bounds).any()):
            continue
        found.update(name for name in node.output if name)
    return found


def _is_infinite(graph: Graph, name: str) -> bool:
    if not graph.is_constant(name):
        return False
    value = graph.constant(name)
    return value.dtype.kind == "f" and not np.isfinite(value).all()


def close_channels(model: onnx.ModelProto) -> None:
    """Give a channel that a bias of -inf switches off, before a Relu or Clip, weights of 0 in place.

    What the activation makes of the channel is what it was: the end that its infinite bias met.
    """
    graph = Graph(model)
    for node in graph.nodes:
        if node.op_type not in ("Conv", "Gemm") or not is_standard(node) or len(node.input) < 3:
            continue
        following = graph.only_consumer(node.output[0])
        bounds = clip_bounds(graph, following) if following is not None else None
        alone = all(graph.is_constant(name) and len(graph.consumers(name)) == 1 for name in node.input[1:3])
        if bounds is None or not alone:
            continue
        weight, bias = (graph.constant(name).copy() for name in node.input[1:3])
        closed = ~np.isfinite(bias)
        layer = view_of(graph, node)
        if bias.shape != (layer.outputs,) or not closed.any():
            continue
        ends = np.clip(bias, *bounds)
        if not np.isfinite(ends).all():
            continue
        np.moveaxis(weight, layer.output_axis, 0)[closed] = 0
        graph.set_constant(node.input[1], weight)
        graph.set_constant(node.input[2], np.where(closed, ends, bias).astype(bias.dtype))
