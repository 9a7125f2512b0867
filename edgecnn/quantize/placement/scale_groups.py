"""Which tensors have one scale: those between which nodes only move values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from edgecnn.quantize.graph.patterns import Pattern


def scale_groups(active: Iterable[Pattern], wanted: Collection[str], order: Sequence[str]) -> dict[str, str]:
    """Return for each tensor that shares a range the first of its group by `order`.

    `active` are the patterns whose inputs and outputs share a scale, `wanted` the quantized tensors.
    """
    group_of: dict[str, set[str]] = {}
    for pattern in active:
        members = {name for name in (*pattern.inputs, *pattern.outputs) if name in wanted}
        merged = members.union(*(group_of.get(name, set()) for name in members))
        group_of.update(dict.fromkeys(merged, merged))
    first: dict[int, str] = {}
    shares = {}
    for name in order:
        if name in group_of:
            root = first.setdefault(id(group_of[name]), name)
            if root != name:
                shares[name] = root
    return shares
