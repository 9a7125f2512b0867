"""What the parts of a quantization take on this machine, by how long a few images take."""

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
from edgecnn.quantize.reference import Network
from edgecnn.quantize.repair.repair_cost import running_cost
from edgecnn.quantize.repair.repair_network import FEWEST, expected_seconds, layer_costs
from edgecnn.quantize.time_budget import InTime, TimeBudget
from edgecnn.schemes import Scheme

Batch = npt.NDArray[np.float32]

#: Shares of the time that is left: for looking at channels, and for calibrating where there is no time to
#: repair all layers fully in any case. What repair wins is more than what further images do.
_CHANNELS, _CALIBRATING = 1 / 8, 1 / 3
#: How often a few images are run to see how long they take.
_RUNS = 3
#: How much longer than an image in float one is taken to be where its tensors are observed, and in int8, on
#: a processor that has no instructions for it.
_OBSERVED, _INT8 = 4, 1.5
#: How much slower, of what is expected, layers are repaired than images run in float: 1.2 to 2 were seen.
_REPAIRED = 2
#: Passes over the images before layers are repaired, at most: two look at channels, one at ranges.
_PASSES = 3


class ExpectedTime:
    """Of one float model, within a time if there is one to keep."""

    def __init__(self, model: onnx.ModelProto, scheme: Scheme, budget: TimeBudget | None) -> None:
        self._model, self._scheme, self._budget = model, scheme, budget
        self._macs = sum(macs_by_node(model).values())
        self.clock = time.monotonic if budget is None else budget.clock
        #: Seconds here for what is expected to take one, and seconds of an image in float.
        self.pace = 1.0
        self.image = running_cost(self._macs, 1)
        self._measured = False

    def learn(self, image: float) -> None:
        """Take down how many seconds an image takes."""
        self.image, self._measured = image, True
        self.pace = image / max(1e-9, running_cost(self._macs, 1))

    def measure(self, batches: Iterable[Batch]) -> None:
        """Run the first images, where there is a time to keep, and reserve what checking will take."""
        if self._budget is None or self._measured:
            return
        batch, start = next(iter(batches), None), self.clock()
        if batch is None:
            return
        network = Network(self._model)
        network(batch)
        warm = self.clock()
        for _ in range(_RUNS):
            network(batch)
        seconds = (self.clock() - warm) / _RUNS
        self.learn(seconds / len(batch))
        self.pace *= _REPAIRED
        opening = max(0.0, warm - start - seconds)
        self._budget.reserved = _INT8 * (opening + self._budget.checks * self.image)

    def least(self, recipe: Recipe, *, calibrated: bool) -> float:
        """Return the seconds that a recipe takes at least."""
        passes = 0 if calibrated else _PASSES * FEWEST * _OBSERVED * self.image
        return passes + self.pace * self._repair(recipe, FEWEST, full=False)

    def channel_batches(self, batches: Iterable[Batch]) -> InTime:
        """Return as many of the batches as there is time for to look at channels."""
        seconds = math.inf if self._budget is None else _CHANNELS * self._budget.left
        return InTime(batches, FEWEST, seconds, self.clock)

    def calibrating(self, batches: Iterable[Batch], recipe: Recipe, images: int) -> InTime:
        """Return as many of the batches as leave time for a recipe's repair by so many images."""
        seconds = math.inf
        if self._budget is not None:
            left = self._budget.left
            seconds = max(_CALIBRATING * left, left - self.pace * self._repair(recipe, images, full=True))
        return InTime(batches, FEWEST, seconds, self.clock)

    def _repair(self, recipe: Recipe, images: int, *, full: bool) -> float:
        """Return the seconds, at the pace 1, of a recipe's repair of all layers by so many images."""
        if recipe.repair is None:
            return 0.0
        costs = layer_costs(self._model, place(Graph(self._model), self._scheme), images)
        return expected_seconds(costs, self._macs, images, full=full and recipe.repair.full)
