"""The straight way: place, observe, choose ranges, write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.quantize import calibrate, qdq, ranges
from edgecnn.quantize.graph import Graph, macs_by_node
from edgecnn.quantize.placement import place
from edgecnn.targets import SCHEMES, Scheme


@dataclass(frozen=True)
class Quantized:
    """An int8 model and how it came about."""

    model: onnx.ModelProto
    scheme: Scheme
    method: str
    #: Tensor: scheme: (low, high). Every scheme's ranges are kept, so that Q/DQ for another target can
    #: be written without images.
    ranges: dict[str, dict[str, ranges.Range]]
    #: Node that stays float: the rule that says so.
    float_nodes: dict[str, str]
    #: Share of the multiply-accumulates that are done on int8 operands.
    int8_mac_share: float

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest keeps."""
        return {
            "scheme": self.scheme.name,
            "ranges_by": self.method,
            "ranges": {
                tensor: {scheme: [_short(low), _short(high)] for scheme, (low, high) in of.items()}
                for tensor, of in self.ranges.items()
            },
            "float_nodes": self.float_nodes,
            "int8_mac_share": self.int8_mac_share,
        }


def quantize(
    model: onnx.ModelProto,
    batches: Iterable[npt.NDArray[np.float32]],
    scheme: Scheme,
    method: str = "mse",
) -> Quantized:
    """Quantize a simplified float model by the rules of `scheme`, with ranges from real images.

    `batches` are inputs of the model, (N, C, H, W) float32; they are read once. Raises DataError
    for no images or values that are not finite.
    """
    graph = Graph(model)
    placement = place(graph, scheme)
    # Ranges are kept for every scheme, and each observes tensors of its own.
    observed = list(dict.fromkeys(name for known in SCHEMES for name in place(graph, known).observed))
    observers = calibrate.observe(model, observed, batches)
    found = {
        name: {
            known.name: ranges.choose(observer, method, symmetric=known.symmetric, levels=known.levels)
            for known in SCHEMES
        }
        for name, observer in observers.items()
    }
    chosen = {name: by_scheme[scheme.name] for name, by_scheme in found.items()}
    macs = macs_by_node(model)
    quantized_macs = sum(macs[node.name] for node in placement.compute)
    return Quantized(
        model=qdq.insert(model, placement, placement.ranges(chosen), scheme),
        scheme=scheme,
        method=method,
        ranges=found,
        float_nodes=placement.float_nodes,
        int8_mac_share=quantized_macs / max(1, sum(macs.values())),
    )


def _short(value: float) -> float:
    # Nine digits are a float32's worth; the manifest travels inside the model file.
    return float(f"{value:.9g}")
