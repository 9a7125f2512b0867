"""Which layers are repaired fully where there is no time for all: those where it wins most for its time."""

from __future__ import annotations

from collections.abc import Mapping

from edgecnn.quantize.repair.repair_cost import RepairCost


def ordered(costs: Mapping[str, RepairCost], gains: Mapping[str, float]) -> list[str]:
    """Return the layers, the ones that win most for their time first.

    `gains` are what each could win, in any unit.
    """
    return sorted(gains, key=lambda name: -gains[name] / _extra(costs[name]))


def within(order: list[str], costs: Mapping[str, RepairCost], seconds: float) -> list[str]:
    """Return the layers, in this order, whose full repair fits into a time beside the cheap one of all."""
    left = seconds - sum(cost.cheap for cost in costs.values())
    chosen = []
    for name in order:
        if _extra(costs[name]) <= left:
            left -= _extra(costs[name])
            chosen.append(name)
    return chosen


def _extra(cost: RepairCost) -> float:
    return max(cost.full - cost.cheap, 1e-9)
