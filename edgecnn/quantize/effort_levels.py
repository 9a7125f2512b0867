"""The ways to quantize, cheapest first: a table that the escalation goes through."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.quantize.repair.repair_layer import LayerRepair


@dataclass(frozen=True)
class Recipe:
    """One way to quantize a network."""

    name: str
    #: What is done to each layer's weights and bias; None for rounding to nearest.
    repair: LayerRepair | None = None
    #: Whether tensors are equalized and centred first, where that gains much.
    rewrite: bool = False
    #: Images that layers are repaired by, at most: more would cost time and memory, and hardly help.
    images: int = 128
    #: Whether each tensor gets the range method that suits it, instead of the one that is asked for.
    by_tensor: bool = False


PLAIN = Recipe("plain")
BIAS = Recipe("bias correction", LayerRepair(refit=False, rounding="nearest"), images=32)
FITTED = Recipe("fitted rounding", LayerRepair(), rewrite=True)
SCALES = Recipe("fitted rounding, searched scales", LayerRepair(scales=True), rewrite=True)
BY_TENSOR = Recipe("fitted rounding, ranges by tensor", LayerRepair(), rewrite=True, by_tensor=True)
UNTOUCHED = Recipe("fitted rounding, not rewritten", LayerRepair())
LEARNED = Recipe("learned rounding", LayerRepair(rounding="learned"), rewrite=True)

_BEST = (FITTED, SCALES, BY_TENSOR, UNTOUCHED, LEARNED)
#: Effort: what is tried, in this order, until the budget is met.
LADDERS = {"fast": (PLAIN, BIAS), "default": (PLAIN, BIAS, FITTED), "best": (PLAIN, BIAS, *_BEST)}
#: Effort: what is done where no budget is given; of several the best is kept.
DIRECT = {"fast": (BIAS,), "default": (FITTED,), "best": _BEST}
