"""Write Q/DQ pairs for another target from the ranges that an int8 file carries, without images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx

from edgecnn.errors import ArtifactError
from edgecnn.quantize import qdq
from edgecnn.quantize.escalate import SENSITIVE
from edgecnn.quantize.graph import Graph, macs_by_node
from edgecnn.quantize.placement import place
from edgecnn.quantize.strip import strip
from edgecnn.targets import Scheme


def requantize(
    model: onnx.ModelProto, quantization: Mapping[str, Any], scheme: Scheme
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Return an int8 model of ours by the rules of another scheme, and what its manifest keeps.

    `quantization` is the manifest's. The integer weights stay as they are. Raises ArtifactError if the
    model was not written by edgecnn, or carries no range for a tensor that the scheme quantizes.
    """
    stripped = strip(model)
    exclude = {name: rule for name, rule in quantization["float_nodes"].items() if rule == SENSITIVE}
    placement = place(Graph(stripped.model), scheme, exclude)
    ranges = quantization["ranges"]
    if missing := [name for name in placement.observed if scheme.name not in ranges.get(name, {})]:
        raise ArtifactError(
            f"the file carries no {scheme.name} range for tensor {missing[0]!r}",
            hint="quantize the float file again with the target that is wanted",
        )
    chosen = placement.ranges({name: tuple(ranges[name][scheme.name]) for name in placement.observed})
    macs = macs_by_node(stripped.model)
    share = sum(macs[node.name] for node in placement.compute) / max(1, sum(macs.values()))
    kept = {
        key: value for key, value in quantization.items() if key not in ("attempts", "budget")
    }  # they are the other file's
    return (
        qdq.insert(stripped.model, placement, chosen, scheme, stripped.weights),
        {**kept, "scheme": scheme.name, "float_nodes": placement.float_nodes, "int8_mac_share": share},
    )
