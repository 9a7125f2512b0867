"""The search for a latency, with clocks whose answers are known."""

import contextlib

import pytest
import torch
from torch import nn

from edgecnn.compress.prune.network_timing import Timing
from edgecnn.compress.prune.prune_network import Pruned, prune
from edgecnn.compress.prune.prune_to_latency import LatencyGoal, prune_to_latency
from edgecnn.errors import InvalidValueError, PruningError
from edgecnn.zoo.cost import Cost

BEFORE = 1000


def pruning(least=0.0, tuned=None):
    """Return a stand-in for pruning that leaves exactly the MACs asked for."""

    def run(goal, tune):
        if goal.amount < least:
            raise PruningError("too far")
        if tune and tuned is not None:
            tuned.append(goal.amount)
        macs = round(goal.amount * BEFORE)
        return Pruned(macs, Cost(9, BEFORE), Cost(9, macs), (9, 9), 0.5 if tune else None)

    return run


def clock(latency):
    """Return a timer by a function from the MACs' ratio to milliseconds."""

    @contextlib.contextmanager
    def timer():
        def measure(macs):
            ours, theirs = latency(macs / BEFORE), latency(1.0)
            return Timing(ours, theirs, (ours / theirs,))

        yield measure

    return timer


@pytest.mark.parametrize(
    "latency",
    [
        lambda r: 10 * r,
        lambda r: 4 + 6 * r,
        lambda r: 10 * r**2,
        lambda r: 10 * r**0.5,
        lambda r: 3 + 7 * (int(8 * r) / 8),
    ],
    ids=["proportional", "with an offset", "convex", "concave", "in steps"],
)
@pytest.mark.parametrize("goal", ["0.6x", "6ms", "0.8x"])
def test_the_goal_is_met_without_waste(latency, goal):
    wanted = LatencyGoal.parse(goal)
    found = prune_to_latency(pruning(), clock(latency), wanted)
    assert found.met and wanted.share(found.timing) <= 1
    assert wanted.share(found.timing) > 0.75
    assert len(found.attempts) <= 8


def test_only_the_last_network_is_fine_tuned():
    tuned = []
    found = prune_to_latency(pruning(tuned=tuned), clock(lambda r: 4 + 6 * r), LatencyGoal.parse("0.6x"))
    assert tuned == [found.attempts[-1].ratio]
    assert [item.accuracy for item in found.attempts] == [None] * (len(found.attempts) - 1) + [0.5]


def test_a_fresh_measurement_that_misses_is_corrected():
    opened = []

    @contextlib.contextmanager
    def timer():
        opened.append(1)
        slower = 1.2 if len(opened) > 1 else 1.0  # the machine is slower for pruned networks after the search

        def measure(macs):
            return Timing(slower * macs / 100, 10.0, (slower * macs / 1000,))

        yield measure

    found = prune_to_latency(pruning(), timer, LatencyGoal.parse("0.6x"))
    assert found.met and [item.stage for item in found.attempts][-2:] == ["prune", "correct"]


def test_a_goal_that_is_never_met_again_is_said_to_be_missed():
    opened = []

    @contextlib.contextmanager
    def timer():
        opened.append(1)
        late = len(opened) > 1
        yield lambda macs: Timing(9.0, 10.0, (0.9,)) if late else Timing(macs / 100, 10.0, (macs / 1000,))

    found = prune_to_latency(pruning(), timer, LatencyGoal.parse("0.6x"))
    assert not found.met and found.timing.ratio == 0.9


def test_a_latency_that_pruning_cannot_reach_is_refused_with_figures():
    with pytest.raises(PruningError, match=r"leaves 0\.9\dx the latency"):
        prune_to_latency(pruning(), clock(lambda r: 9 + r), LatencyGoal.parse("0.5x"))


def test_a_goal_below_what_pruning_can_leave_is_refused():
    with pytest.raises(PruningError):
        prune_to_latency(pruning(least=0.4), clock(lambda r: 10 * r), LatencyGoal.parse("0.2x"))


def test_a_search_stays_above_what_pruning_can_leave():
    found = prune_to_latency(pruning(least=0.55), clock(lambda r: 10 * r**1.2), LatencyGoal.parse("0.54x"))
    assert found.met and found.attempts[-1].ratio >= 0.55


def test_a_latency_that_the_network_has_already_is_refused():
    with pytest.raises(PruningError, match="already"):
        prune_to_latency(pruning(), clock(lambda r: 10 * r), LatencyGoal.parse("20ms"))


@pytest.mark.parametrize(
    ("text", "amount", "relative"),
    [("4ms", 4, False), ("900us", 0.9, False), ("0.1s", 100, False), ("0.6x", 0.6, True)],
)
def test_latencies_are_read(text, amount, relative):
    goal = LatencyGoal.parse(text)
    assert goal.amount == pytest.approx(amount) and goal.relative is relative


@pytest.mark.parametrize("text", ["4", "ms", "1.5x", "0ms", "-3ms", "4 hours", "1x"])
def test_bad_latencies_are_refused(text):
    with pytest.raises(InvalidValueError):
        LatencyGoal.parse(text)


@pytest.mark.slow
def test_a_real_network_gets_as_fast_as_asked():
    from edgecnn import zoo
    from edgecnn.compress.prune.network_timing import Timer

    network = zoo.create("resnet18", alpha=0.5, num_classes=10, resolution=64)
    example = torch.zeros(1, 3, 64, 64)

    def timer():
        return Timer(network, example, seconds=1, threads=1)

    goal = LatencyGoal.parse("0.6x")
    found = prune_to_latency(lambda wanted, tune: prune(network, example, goal=wanted), timer, goal)
    assert found.met
    with timer() as measure:
        assert measure(found.pruned.network).ratio < 0.7  # a third comparison, on a machine that others use


@pytest.mark.skipif(torch.cuda.is_available(), reason="both are too small for a GPU")
def test_a_timer_tells_a_small_network_from_a_large_one():
    from edgecnn.compress.prune.network_timing import Timer

    def network(width):
        return nn.Sequential(
            nn.Conv2d(3, width, 3),
            nn.ReLU(),
            nn.Conv2d(width, width, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ).eval()

    with Timer(network(128), torch.zeros(1, 3, 64, 64), seconds=0.06, threads=1) as measure:
        timing = measure(network(16))
    assert timing.ratio < 0.5 and len(timing.ratios) == 3
    assert timing.milliseconds / timing.reference == pytest.approx(timing.ratio, rel=0.5)
