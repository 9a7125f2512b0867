"""Which outputs of a model are compared, and by which tensor."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto

from edgecnn.errors import ArtifactError
from edgecnn.onnx_metadata import SHAPING, SIGMOIDS
from edgecnn.quantize.graph.index import Graph, attribute

#: Operators at a network's end behind which a change of the network can hide: what enters them is compared.
_HIDING = ("Softmax", "LogSoftmax", "ArgMax", "TopK")
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class Readout:
    """An output of a model, and how it is compared."""

    name: str
    #: The output itself, or what enters the softmax or argmax that makes it.
    tensor: str
    #: See `parity.Output`.
    threshold: float = 0.0


def readouts(model: onnx.ModelProto) -> list[Readout]:
    """Return the outputs that can be compared; of those that come from one tensor, one.

    Probabilities near 0 and 1 hide what changed, and so do indices: of a network that ends in a softmax or an
    argmax, what enters it is compared. Other integers are left out. Raises ArtifactError if nothing is left.
    """
    graph = Graph(model)
    found: dict[str, Readout] = {}
    for value in model.graph.output:
        if readout := readout_of(graph, value):
            found.setdefault(readout.tensor, readout)
    if not found:
        names = ", ".join(repr(value.name) for value in model.graph.output)
        raise ArtifactError(
            f"the model has no float32 output, only {names}, so an int8 form of it could not be checked",
            hint="export it with what its decisions are made from as an output",
        )
    return list(found.values())


def readout_of(graph: Graph, value: onnx.ValueInfoProto) -> Readout | None:
    """Return how an output is compared; None for one that cannot be."""
    maker = graph.producer(value.name)
    passed: set[str] = set()  # each once: a damaged file may have a ring
    while maker is not None and maker.op_type in SHAPING and maker.output[0] not in passed:
        passed.add(maker.output[0])
        maker = graph.producer(maker.input[0]) or maker
    # An argmax over the first axis, as it is by default, chooses among images: that says nothing of one.
    among_images = maker is not None and maker.op_type == "ArgMax" and attribute(maker, "axis", 0) == 0
    if maker is not None and maker.op_type in _HIDING and not among_images:
        return Readout(value.name, maker.input[0])
    if value.type.tensor_type.elem_type not in _FLOATS:
        return None
    threshold = 0.5 if maker is not None and maker.op_type in SIGMOIDS else 0.0
    return Readout(value.name, value.name, threshold)
