"""Which layers cost the accuracy: the error with one layer quantized alone, and with all up to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.progress import Progress, TimeLeft, silent
from edgecnn.quantize.graph.edit import copy_of
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.placement import write_qdq
from edgecnn.quantize.placement.integer_weights import QuantizedWeight
from edgecnn.quantize.quantized import Quantized
from edgecnn.quantize.reference import Reference

Array = npt.NDArray[np.float32]

#: Images that the layers' sensitivity is measured on.
SCAN_IMAGES = 16


@dataclass(frozen=True)
class LayerSensitivity:
    """SQNR of the network's (worst) output, in decibels, with only some layers quantized."""

    node: str
    operator: str
    macs: int
    #: With this layer's input and weights quantized, and nothing else.
    alone_db: float
    #: With every layer up to this one quantized, in the graph's order.
    cumulative_db: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def scanned_images(layers: int) -> int:
    """Return how many images are run to measure so many layers."""
    return 2 * layers * SCAN_IMAGES


def scan(
    quantized: Quantized,
    macs: dict[str, int],
    images: Array,
    progress: Progress = silent,
) -> list[LayerSensitivity]:
    """Return the sensitivity of each quantized layer, in the graph's order; `images` are (N, C, H, W).

    A layer alone is rounded to nearest: what a repair makes up for is the error of the layers before it,
    which are float then. The layers up to it are those of the result, repaired one after the other.
    """
    placement, scheme = quantized.placement, quantized.scheme
    chosen = placement.ranges({name: of[scheme.name] for name, of in quantized.ranges.items()})
    reference = Reference.of(quantized.base, images)
    repaired = Graph(quantized.float_model)

    def decibels(
        model: onnx.ModelProto, layers: list[onnx.NodeProto], weights: dict[str, QuantizedWeight]
    ) -> float:
        inputs = {node.input[0] for node in layers}
        kept = [name for name in placement.tensors if name in inputs]
        part = replace(placement, tensors=kept, compute=layers)
        changed = write_qdq.insert(model, part, chosen, scheme, weights)
        return reference.parity(changed, "the partly quantized network").sqnr_db

    partly = copy_of(quantized.base)
    biases = Graph(partly)
    layers = placement.compute
    result = []
    left = TimeLeft()
    for index, node in enumerate(layers):
        progress(f"sensitivity: layer {index + 1} of {len(layers)}{left(index / len(layers))}")
        if node.name in quantized.weights and len(node.input) > 2:
            biases.set_constant(node.input[2], repaired.constant(node.input[2]))
        result.append(
            LayerSensitivity(
                node.name,
                node.op_type,
                macs.get(node.name, 0),
                alone_db=decibels(quantized.base, [node], {}),
                cumulative_db=decibels(partly, layers[: index + 1], quantized.weights),
            )
        )
    return result
