"""Prune until a measured latency is reached.

What an inference takes depends on the sizes of layers and not on their weights. So how far to prune is
found first, without training: prune, measure, correct. Then the network is pruned so far, in rounds with
fine-tuning between them, and measured afresh.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import nn

from edgecnn.compress.prune.goal import Goal, LatencyGoal
from edgecnn.compress.prune.network_timing import Timing
from edgecnn.compress.prune.prune_network import Pruned
from edgecnn.errors import PruningError
from edgecnn.progress import Progress, silent

#: Aimed at and looked for: shares of the goal. A second measurement differs by some percent.
AIM, CLOSE = 0.96, 0.90
#: Ratios of MACs nearer to each other than this are much the same network: the clock decides between them.
NARROW = 0.03
#: Measurements of the search, and rounds of correction after pruning proper.
MEASUREMENTS, CORRECTIONS = 7, 3


@dataclass(frozen=True)
class Attempt:
    """One pruned network that was measured."""

    #: "search", "prune" or "correct".
    stage: str
    #: Share of the multiply-accumulates that was asked for, and the multiply-accumulates that are left.
    ratio: float
    macs: int
    params: int
    timing: Timing
    accuracy: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what the lineage keeps."""
        values = {
            "stage": self.stage,
            "ratio": round(self.ratio, 4),
            "macs": self.macs,
            "params": self.params,
        }
        accuracy = {} if self.accuracy is None else {"accuracy": self.accuracy}
        return {**values, **self.timing.to_json(), **accuracy}


@dataclass(frozen=True)
class PrunedToLatency:
    """A network pruned to a latency, and how it was found."""

    pruned: Pruned
    #: The last measurement, with engines loaded afresh.
    timing: Timing
    #: Whether it is at or under the goal.
    met: bool
    attempts: tuple[Attempt, ...]


def prune_to_latency(
    prune: Callable[[Goal, bool], Pruned],
    timer: Callable[[], AbstractContextManager[Callable[[nn.Module], Timing]]],
    goal: LatencyGoal,
    progress: Progress = silent,
) -> PrunedToLatency:
    """Return the least pruned network that was found to meet `goal`.

    `prune(goal, tune)` prunes the original network, with fine-tuning if `tune`; `timer()` opens what measures
    a network against the original. Raises PruningError if no amount of pruning is enough, with the figures,
    or if the unpruned network meets the goal already.
    """
    attempts: list[Attempt] = []

    def attempt(stage: str, ratio: float, measure: Callable[[nn.Module], Timing]) -> Pruned:
        progress(f"{stage}: {ratio:.2f}x the MACs")
        pruned = prune(Goal("macs", ratio, relative=True), stage != "search")
        cost, timing = pruned.after, measure(pruned.network)
        attempts.append(Attempt(stage, ratio, cost.macs, cost.params, timing, pruned.accuracy))
        return pruned

    with timer() as measure:
        ratio = _search(lambda ratio: attempt("search", ratio, measure), attempts, goal)
    for number_of_try in range(1 + CORRECTIONS):
        with timer() as measure:  # engines of its own: what is reported owes nothing to the search
            pruned = attempt("correct" if number_of_try else "prune", ratio, measure)
        share = goal.share(attempts[-1].timing)
        if share <= 1:
            break
        ratio *= AIM / share
    return PrunedToLatency(pruned, attempts[-1].timing, share <= 1, tuple(attempts))


def _search(attempt: Callable[[float], Pruned], attempts: list[Attempt], goal: LatencyGoal) -> float:
    """Return the ratio of MACs at which the goal is met, not much lower than it has to be.

    By false position: latency is nearly linear in the MACs of one network, with a part that no pruning
    takes away.
    """
    enough: tuple[float, float] | None = None  # ratio and share of the goal, of the best that met it
    ratio = goal.amount if goal.relative else 0.7
    least = 0.0
    refused: PruningError | None = None
    for _ in range(MEASUREMENTS):
        try:
            attempt(ratio)
        except PruningError as error:
            # It cannot be pruned so far; the goal may be met before.
            narrowest = min((item.ratio for item in attempts), default=1.0)
            least, ratio, refused = ratio, (ratio + narrowest) / 2, error
            continue
        timing = attempts[-1].timing
        share = goal.share(timing)
        whole = share / timing.ratio  # the unpruned network's, measured in the same minute
        if whole <= 1:
            raise PruningError(
                f"the unpruned network takes {timing.reference:.3g} ms already, and {goal} was asked for"
            )
        too_slow = min(
            ((item.ratio, goal.share(item.timing)) for item in attempts if goal.share(item.timing) > 1),
            default=(1.0, whole),
        )
        if share <= 1:
            enough = max(enough or (0.0, 0.0), (ratio, share))
        if enough is not None and (enough[1] >= CLOSE or too_slow[0] - enough[0] < NARROW):
            break
        ratio = _between(enough, too_slow, whole)
        if ratio <= least:
            ratio = (least + too_slow[0]) / 2
    if not attempts:
        assert refused is not None
        raise refused
    if enough is None:
        last = min(attempts, key=lambda item: item.ratio)
        raise PruningError(
            f"pruning to {last.ratio:.2f}x the MACs leaves {last.timing.ratio:.2f}x the"
            f" latency ({last.timing.milliseconds:.3g} ms), and {goal} was asked for",
            hint="a lower `resolution` or `alpha` takes off what pruning cannot",
        )
    return enough[0]


def _between(enough: tuple[float, float] | None, too_slow: tuple[float, float], whole: float) -> float:
    """Return the ratio at which a straight line through two measurements meets the goal."""
    if enough is None:
        other = (1.0, whole)
        slope = (other[1] - too_slow[1]) / max(other[0] - too_slow[0], 1e-9)
        wanted = too_slow[0] - (too_slow[1] - AIM) / slope if slope > 0 else 0.0
        return max(wanted, too_slow[0] / 2)
    slope = (too_slow[1] - enough[1]) / max(too_slow[0] - enough[0], 1e-9)
    wanted = enough[0] + (AIM - enough[1]) / slope if slope > 0 else (enough[0] + too_slow[0]) / 2
    margin = 0.1 * (too_slow[0] - enough[0])
    return min(max(wanted, enough[0] + margin), too_slow[0] - margin)
