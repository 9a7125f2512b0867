"""What lies between a first layer that stays float and the first int8 layer: it is all float."""

from __future__ import annotations

from collections.abc import Iterable

from edgecnn.quantize.graph.patterns import ARITHMETIC, COMPUTE, FLOAT, JOIN, KEEP_SCALE, POOL, Pattern
from edgecnn.quantize.graph.weighted_layer import WEIGHTED

#: Why such a node is float: codes would have to be made of its inputs first, and lie in float's order.
BEFORE_INT8 = "before the first int8 layer"
_MOVABLE = (ARITHMETIC, POOL, JOIN, KEEP_SCALE)


def leave_float(patterns: Iterable[Pattern]) -> None:
    """Mark, in place, the patterns whose inputs hang on layers of which all are float."""
    floats: set[str] = set()
    codes: set[str] = set()
    for pattern in patterns:
        if pattern.kind == COMPUTE or codes.intersection(pattern.inputs):
            codes.update(pattern.outputs)
        elif pattern.op in WEIGHTED or floats.intersection(pattern.inputs):
            floats.update(pattern.outputs)
            if pattern.kind in _MOVABLE:
                pattern.kind, pattern.rule = FLOAT, BEFORE_INT8
