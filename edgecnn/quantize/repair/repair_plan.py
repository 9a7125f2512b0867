"""Which layers are repaired fully: those where it wins most for its time."""

from __future__ import annotations

from collections.abc import Mapping

from edgecnn.quantize.repair.repair_cost import RepairCost

#: Of what full repairs could win in all, this share is left where it would cost most.
LEFT = 0.05


def by_need(costs: Mapping[str, RepairCost], gains: Mapping[str, float]) -> list[str]:
    """Return the layers whose full repair pays, the ones that win most for their time first.

    `gains` are what each could win, in any unit. What depends on `costs` is the same in each run.
    """
    left, least = sum(gains.values()), LEFT * sum(gains.values())
    chosen = []
    for name in ordered(costs, gains):
        if left <= least:
            break
        left -= gains[name]
        chosen.append(name)
    return chosen


def ordered(costs: Mapping[str, RepairCost], gains: Mapping[str, float]) -> list[str]:
    """Return the layers, the ones that win most for their time first."""
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
