"""Which tensors share no scale although values only move between them: their ranges are too far apart.

Boxes of 0..640 and scores of 0..1 in one concatenation leave the scores two of 256 codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.placement.place import Placement, Sharing, place
from edgecnn.quantize.ranges.range_methods import NO_WIDTH, Range
from edgecnn.schemes import Scheme

#: By how much the ranges of tensors that share a scale may differ: the narrowest then has 4 bits less.
LARGEST_RATIO = 16


def place_by_ranges(
    graph: Graph, scheme: Scheme, exclude: Mapping[str, str], ranges: Mapping[str, Range]
) -> Placement:
    """Return the placement in which tensors share a scale only if their ranges are alike.

    `ranges` are those of what `measured` names, as far as they are known.
    """
    placement = place(graph, scheme, exclude)
    nodes = apart(placement, ranges)
    return place(graph, scheme, exclude, nodes) if nodes else placement


def measured(placement: Placement) -> list[str]:
    """Return the tensors whose ranges `apart` asks for: those of a placement, and parts of tensors."""
    parted = (name for sharing in placement.sharing if sharing.parts for name in sharing.outputs)
    return list(dict.fromkeys((*placement.observed, *parted)))


def apart(placement: Placement, ranges: Mapping[str, Range]) -> set[str]:
    """Return the nodes of a placement by which tensors share a scale whose ranges are too far apart.

    A tensor of which a part is far from the whole has no scale that fits: whatever moves it is among them.
    """
    widths = {name: high - low for name, (low, high) in ranges.items()}
    found: set[str] = set()
    unfit: set[str] = set()
    for sharing in placement.sharing:
        known = [widths[name] for name in sharing.inputs if name in widths]
        for name in sharing.outputs:
            # What only moves has its input's range, what is joined the widest.
            if known and (name not in widths or not sharing.parts):
                widths[name] = max(known)
        compared = [width for width in _compared(sharing, widths) if width > NO_WIDTH]
        if compared and max(compared) > LARGEST_RATIO * min(compared):
            found.add(sharing.node)
            unfit.update(sharing.inputs if sharing.parts else ())
    for sharing in (*reversed(placement.sharing), *placement.sharing):
        if len(sharing.inputs) == 1 and unfit.intersection((*sharing.inputs, *sharing.outputs)):
            found.add(sharing.node)
            unfit.update(sharing.inputs)
    return found


def _compared(sharing: Sharing, widths: Mapping[str, float]) -> Iterator[float]:
    names = (*sharing.inputs, *sharing.outputs) if sharing.parts else sharing.inputs
    return (widths[name] for name in names if name in widths)
