"""What the parts of a quantization take on this machine, told by what those before them took."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.quantize.effort_levels import Recipe
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.weighted_layer import macs_by_node
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.repair.repair_cost import running_cost
from edgecnn.quantize.repair.repair_network import FEWEST, expected_seconds, layer_costs
from edgecnn.quantize.time_budget import InTime, TimeBudget
from edgecnn.targets import Scheme

Batch = npt.NDArray[np.float32]

#: Shares of the time that is left: for looking at channels, and for calibrating where there is no time to
#: repair all layers fully in any case. What repair wins is more than what further images do.
_CHANNELS, _CALIBRATING = 1 / 8, 1 / 3
#: Passes over the images before layers are repaired, at most: two look at channels, one at ranges.
_PASSES = 3


class ExpectedTime:
    """Of one float model, within a time if there is one to keep; learns how fast the machine is."""

    def __init__(self, model: onnx.ModelProto, scheme: Scheme, budget: TimeBudget | None) -> None:
        self._model, self._scheme, self._budget = model, scheme, budget
        self._macs = sum(macs_by_node(model).values())
        self.clock = time.monotonic if budget is None else budget.clock
        #: Seconds here for what is expected to take one, and seconds of an image.
        self.pace = 1.0
        self.image = running_cost(self._macs, 1)

    def learn(self, image: float) -> None:
        """Take down how many seconds an image takes."""
        self.image = image
        self.pace = image / max(1e-9, running_cost(self._macs, 1))
        if self._budget is not None:
            self._budget.image = image

    def least(self, recipe: Recipe, *, calibrated: bool) -> float:
        """Return the seconds that a recipe takes at least."""
        passes = 0 if calibrated else _PASSES * FEWEST * self.image
        return passes + self.pace * self._repair(recipe, FEWEST, full=False)

    def channel_batches(self, batches: Iterable[Batch]) -> InTime:
        """Return as many of the batches as there is time for to look at channels."""
        seconds = math.inf if self._budget is None else _CHANNELS * self._budget.left
        return InTime(batches, FEWEST, lambda image: seconds, self.clock)

    def calibrating(self, batches: Iterable[Batch], recipe: Recipe, images: int) -> InTime:
        """Return as many of the batches as leave time for a recipe's repair by so many images."""
        budget = self._budget
        if budget is None:
            return InTime(batches, FEWEST, lambda image: math.inf)
        full, passed = self._repair(recipe, images, full=True), budget.passed

        def seconds(image: float) -> float:
            self.learn(image)
            left = budget.seconds - passed - budget.reserved
            return max(_CALIBRATING * left, left - self.pace * full)

        return InTime(batches, FEWEST, seconds, self.clock)

    def _repair(self, recipe: Recipe, images: int, *, full: bool) -> float:
        """Return the seconds, at the pace 1, of a recipe's repair of all layers by so many images."""
        if recipe.repair is None:
            return 0.0
        costs = layer_costs(self._model, place(Graph(self._model), self._scheme), images)
        return expected_seconds(costs, self._macs, images, full=full and recipe.repair.full)
