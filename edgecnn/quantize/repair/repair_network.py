"""The repair of a network's layers: of all of them, or of as many as there is time for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.progress import Progress, TimeLeft, duration, silent
from edgecnn.quantize.graph.index import Graph, batch_of, sizes
from edgecnn.quantize.placement.integer_weights import QuantizedWeight
from edgecnn.quantize.placement.place import Placement
from edgecnn.quantize.ranges.range_methods import Range
from edgecnn.quantize.repair import repair_plan
from edgecnn.quantize.repair.repair_cost import RepairCost, repair_cost, running_cost
from edgecnn.quantize.repair.repair_layer import LayerRepair
from edgecnn.quantize.repair.survey import CHEAP, IMAGES, Survey
from edgecnn.quantize.repair.walk import Layer, LayerShape, Repaired, walk
from edgecnn.quantize.time_budget import TimeBudget
from edgecnn.schemes import Scheme

Array = npt.NDArray[np.float32]
#: Where full repairs are thought to take less than this many seconds more, no survey is worth its time.
_QUICK = 3.0
#: Images that repair where there is no time for all, and the fewest of them.
_FEWER = (32, 8)
FEWEST = _FEWER[-1]
#: A network runs once in float and once with rounded tensors, which takes as long as two more.
_RUNS = 3


@dataclass(frozen=True)
class RepairedNetwork:
    """What became of a network's layers."""

    #: The float model with the new biases, and integer weights by node.
    model: onnx.ModelProto
    weights: dict[str, QuantizedWeight]
    #: Layers for whose full repair there was no time.
    out_of_time: list[str]
    #: Images that repaired, where there was no time for all.
    fewer_images: int | None = None


@dataclass(frozen=True)
class Work:
    """What is to be repaired, by what images."""

    model: onnx.ModelProto
    placement: Placement
    ranges: Mapping[str, Range]
    scheme: Scheme
    #: One input of the model, (N, C, H, W).
    images: Array
    #: Multiply-accumulates of one image, by node.
    macs: Mapping[str, int]

    def costs(self) -> dict[str, RepairCost]:
        """Return what each layer's repair is expected to cost, in the graph's order."""
        return layer_costs(self.model, self.placement, len(self.images))


def layer_costs(model: onnx.ModelProto, placement: Placement, images: int) -> dict[str, RepairCost]:
    """Return what the repair of each layer that is quantized is expected to cost, in the graph's order."""
    graph, values = Graph(model), sizes(model)
    costs = {}
    for node in placement.compute:
        shape = LayerShape.of(graph, node)
        outputs = shape.matrix[0] * shape.matrix[1]
        positions = images * values.get(node.output[0], outputs) // outputs
        costs[node.name] = repair_cost(shape, positions)
    return costs


def expected_seconds(costs: Mapping[str, RepairCost], macs: int, images: int, *, full: bool) -> float:
    """Return what the repair of all layers of a network of so many `macs` is expected to take."""
    layers = sum(cost.full if full else cost.cheap for cost in costs.values())
    return layers + running_cost(macs, _RUNS * images)


def repair_network(
    work: Work,
    repair: LayerRepair,
    title: str,
    progress: Progress = silent,
    *,
    budget: TimeBudget | None = None,
    pace: float = 1.0,
) -> RepairedNetwork:
    """Repair the layers of a network: all of them, or within a `budget` as many as there is time for.

    The others are repaired cheaply; which these are depends on the clock. `pace` is how long this machine
    takes for what is expected to take a second.
    """
    images = len(work.images)
    work, turns = _begun(work, repair, budget, pace)
    order = list(turns.costs)
    if turns.too_short_for(order) and not turns.too_late:
        progress("survey")
        order = repair_plan.ordered(turns.costs, _survey(work))
        work, turns = _begun(work, repair, budget, pace)
    seconds = turns.expected(order) if budget is None else min(turns.expected(order), budget.left)
    turns.begin(order, repair, f"{title} (about {duration(seconds)})", progress, seconds)
    model, weights = walk(work.model, work.placement, work.ranges, work.scheme, work.images, turns)
    fewer = len(work.images) if len(work.images) < images else None
    return RepairedNetwork(model, weights, turns.out_of_time, fewer)


def _begun(work: Work, repair: LayerRepair, budget: TimeBudget | None, pace: float) -> tuple[Work, _Turns]:
    """Return the work with as many images as there is time for, and the turns that its layers take."""
    if budget is not None:
        work = _affordable(work, budget.left / pace)
    costs = work.costs()
    if not repair.full:
        costs = {name: RepairCost(cost.cheap, cost.cheap) for name, cost in costs.items()}
    return work, _Turns(work, costs, budget, pace)


def _affordable(work: Work, seconds: float) -> Work:
    """Return the work with so many of the images that the cheap repair of all layers fits into a time."""
    size = batch_of(work.model) or 1
    for count in (len(work.images), *_FEWER):
        less = replace(work, images=work.images[: max(1, count // size) * size])
        if expected_seconds(less.costs(), sum(work.macs.values()), len(less.images), full=False) <= seconds:
            break
    return less


def _survey(work: Work) -> dict[str, float]:
    """Return what the full repair of each layer could win."""
    size, survey = batch_of(work.model) or 1, Survey()
    images = work.images[: max(1, IMAGES // size) * size]
    walk(work.model, work.placement, work.ranges, work.scheme, images, survey)
    return survey.shares


class _Turns:
    """Repairs one layer after the other, in the walk's order, and tells how far it is."""

    def __init__(
        self, work: Work, costs: Mapping[str, RepairCost], budget: TimeBudget | None, pace: float
    ) -> None:
        self.costs, self._budget, self._pace = costs, budget, pace
        self._clock = time.monotonic if budget is None else budget.clock
        runs = _RUNS * len(work.images)
        self._running = {name: running_cost(work.macs.get(name, 0), runs) for name in costs}
        self.out_of_time: list[str] = []
        self._order: list[str] = []
        self._done = 0.0

    def _extra(self, names: list[str]) -> float:
        """Return the seconds that full repairs of some layers are expected to take more than cheap ones."""
        return sum(self.costs[name].full - self.costs[name].cheap for name in names)

    def expected(self, names: list[str]) -> float:
        """Return the seconds on this machine, with full repairs of some layers."""
        return self._pace * (self._all_cheap(list(self.costs)) + self._extra(names))

    def too_short_for(self, names: list[str]) -> bool:
        """Whether there is no time for full repairs of some layers, which would take long."""
        late = self._budget is not None and self.expected(names) > self._budget.left
        return late and self._pace * self._extra(names) >= _QUICK

    @property
    def too_late(self) -> bool:
        """Whether there is no time for anything but the cheap repairs."""
        return self._budget is not None and self.expected([]) >= self._budget.left

    def _all_cheap(self, names: list[str]) -> float:
        return sum(self.costs[name].cheap + self._running[name] for name in names)

    def begin(
        self, order: list[str], repair: LayerRepair, title: str, progress: Progress, seconds: float
    ) -> None:
        """Get ready to repair the layers in `order` fully, those that win most first."""
        self._order, self._repair, self._title, self._progress = order, repair, title, progress
        self._total, self._start = self._all_cheap(list(self.costs)) + self._extra(order), self._clock()
        self._left = TimeLeft(seconds)
        self._waiting = list(self.costs)

    def __call__(self, layer: Layer) -> Repaired:
        """Return a layer's integer weights and bias."""
        name = layer.node.name
        number = len(self.costs) - len(self._waiting) + 1
        left = self._left(min(1.0, self._done / self._total))
        self._progress(f"{self._title}: layer {number} of {len(self.costs)}{left}")
        full = name in self._order
        if full and not self._in_time(name):
            full = False
            self.out_of_time.append(name)
        repaired = (self._repair if full else CHEAP)(layer)
        self._waiting.remove(name)
        cost = self.costs[name]
        self._done += self._running[name] + (cost.full if full else cost.cheap)
        return repaired

    def _in_time(self, name: str) -> bool:
        """Return whether a layer is among those for which there is time, as things stand."""
        if self._budget is None:
            return True
        passed = self._clock() - self._start
        pace = passed / self._done if passed > 1 and self._done else self._pace
        seconds = self._budget.left / pace - sum(self._running[other] for other in self._waiting)
        waiting = {other: self.costs[other] for other in self._waiting}
        order = [other for other in self._order if other in waiting]
        return name in repair_plan.within(order, waiting, seconds)
