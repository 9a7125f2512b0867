"""A time is kept by every part of a quantization, on a machine whose clock moves by what is done alone."""

import itertools

import numpy as np
import pytest
from foreign_graphs import head, model_of, stem

from edgecnn.quantize import expected_time
from edgecnn.quantize.effort_levels import Recipe
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.quantizer import Quantizer
from edgecnn.quantize.ranges import calibrate
from edgecnn.quantize.repair import repair_cost, repair_network
from edgecnn.quantize.repair.repair_layer import LayerRepair
from edgecnn.quantize.time_budget import InTime, TimeBudget
from edgecnn.schemes import CPU

SIDE, IMAGES, CHECKS = 128, 64, 64
#: Seconds of an image.
IMAGE = 0.05


class Machine:
    """What takes time on it moves its clock."""

    def __init__(self, model, slower=1.0):
        self.now, self.largest, self.images = 0.0, 0.0, 0
        self._slower = slower
        self._macs = Quantizer(model, list, CPU).macs
        self._pace = IMAGE / repair_cost.running_cost(sum(self._macs.values()), 1)

    def observe(self, model, tensors, batches, **more):
        def running():
            for batch in batches:
                yield batch
                self.now += IMAGE * len(batch)
                self.images += len(batch)

        return observe(model, tensors, running(), **more)

    def network(self, model):
        def run(images):
            self.now += IMAGE * len(images)

        return run

    def repair(self, layer, full):
        images = len(layer.exact)
        positions = images * (SIDE // 2) ** 2 if layer.node.op_type == "Conv" else images
        cost = repair_cost.repair_cost(layer.shape, positions)
        running = repair_cost.running_cost(self._macs[layer.node.name], 3 * images)
        seconds = self._slower * self._pace * ((cost.full if full else cost.cheap) + running)
        self.largest = max(self.largest, seconds)
        self.now += seconds

    def check(self):
        self.now += CHECKS * IMAGE


observe = calibrate.observe


@pytest.fixture(scope="module")
def model():
    return prepare(model_of(stem(), head(), shape=("n", 3, SIDE, SIDE)), None, {})


@pytest.fixture
def quantized(model, monkeypatch):
    """A function that gives what is made in a time, and the machine as it was when that was checked."""

    def made(seconds, slower=1.0):
        machine = Machine(model, slower)
        # Three small layers stand for large ones, to which opening them is nothing.
        monkeypatch.setattr(repair_cost, "_APIECE", 1e-3)

        class Repair(LayerRepair):
            def __call__(self, layer):
                machine.repair(layer, self.full)
                return super().__call__(layer)

        monkeypatch.setattr(calibrate, "observe", machine.observe)
        monkeypatch.setattr(expected_time, "Network", machine.network)
        monkeypatch.setattr(repair_network, "CHEAP", Repair(refit=False, rounding="nearest"))
        images = np.random.default_rng(0).normal(size=(IMAGES, 3, SIDE, SIDE)).astype(np.float32)
        budget = TimeBudget(seconds, lambda: machine.now)
        budget.checks = CHECKS
        recipe = Recipe("repair", Repair(), rewrite=True)
        result = Quantizer(model, lambda: np.split(images, 16), CPU, images=IMAGES, time=budget)(recipe)
        machine.check()
        return result, machine

    return made


def test_where_there_is_time_for_everything_nothing_is_left_out(quantized):
    result, _ = quantized(1000.0)
    assert result.calibrated == IMAGES and not result.cut_short and not result.stopped


@pytest.mark.parametrize("slower", [1.2, 2.0])
def test_no_part_overruns_a_time_by_more_than_a_tenth_or_a_layer(quantized, slower):
    everything = quantized(1000.0, slower)[1].now
    calibrated = []
    for share in (0.9, 0.7, 0.5):
        result, machine = quantized(share * everything, slower)
        seconds = share * everything
        assert machine.now <= seconds + max(0.1 * seconds, machine.largest), (share, machine.now, seconds)
        assert machine.now >= 0.5 * seconds and result.stopped
        calibrated.append(result.calibrated)
    assert calibrated == sorted(calibrated, reverse=True)


def test_images_are_left_out_of_a_short_time_but_not_all(quantized):
    result, _ = quantized(4.0)
    assert result.cut_short and 8 <= result.calibrated < IMAGES
    assert len(result.out_of_time) == 3 and set(result.weights) == {"c1", "c2", "fc"}


def test_batches_end_before_the_one_that_would_take_too_long():
    clock = itertools.count()  # a second from each look at it to the next

    def taken(seconds, fewest):
        batches = InTime([np.zeros(2)] * 10, fewest, seconds, lambda: next(clock) / 2)
        return len(list(batches)), batches.cut_short

    assert taken(100, 2) == (10, False)
    assert taken(5.5, 2) == (4, True)
    assert taken(0, 6) == (3, True)
