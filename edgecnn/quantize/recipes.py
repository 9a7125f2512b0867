"""The ways to quantize, cheapest first: a table that the escalation goes through."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.quantize.repair.layers import LayerRepair


@dataclass(frozen=True)
class Recipe:
    """One way to quantize a network."""

    name: str
    #: What is done to each layer's weights and bias; None for rounding to nearest.
    repair: LayerRepair | None = None
    #: Whether channels are equalized and offsets absorbed first.
    rewrite: bool = False
    #: Method of the ranges; None for the one that is asked for.
    ranges: str | None = None


PLAIN = Recipe("plain")
BIAS = Recipe("bias correction", LayerRepair(refit=False, rounding="nearest"))
ROUNDING = Recipe("fitted rounding", LayerRepair())
REWRITTEN = Recipe("equalized, fitted rounding", LayerRepair(), rewrite=True)
PERCENTILE = Recipe(
    "equalized, fitted rounding, percentile", LayerRepair(), rewrite=True, ranges="percentile"
)
LEARNED = Recipe("equalized, learned rounding", LayerRepair(rounding="learned"), rewrite=True)

#: Effort: what is tried, in this order, until the budget is met.
LADDERS = {
    "fast": (PLAIN, BIAS),
    "default": (PLAIN, BIAS, REWRITTEN),
    "best": (PLAIN, BIAS, ROUNDING, REWRITTEN, PERCENTILE, LEARNED),
}
#: Effort: what is done where no budget is given; of several the best is kept.
DIRECT = {"fast": (BIAS,), "default": (REWRITTEN,), "best": (ROUNDING, REWRITTEN, PERCENTILE, LEARNED)}
