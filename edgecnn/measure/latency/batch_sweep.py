"""Which batch is worth its latency: one engine measured with several."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgecnn.measure.latency.profile_engines import Latency
from edgecnn.measure.latency.statistics import LEAST_CHANGE


@dataclass(frozen=True)
class BatchSweep:
    """One engine with several batches, in ascending order."""

    results: tuple[Latency, ...]

    @property
    def best(self) -> Latency:
        """The result with the most images per second."""
        return max(self.results, key=lambda item: item.throughput_ips)

    @property
    def enough(self) -> Latency:
        """The smallest batch that no larger one beats by 5 %: from there on waiting longer earns little."""
        for index, item in enumerate(self.results):
            larger = [other.throughput_ips for other in self.results[index + 1 :]]
            if max(larger, default=0.0) <= (1 + LEAST_CHANGE) * item.throughput_ips:
                return item
        raise AssertionError("none is larger than the last")

    def to_json(self) -> dict[str, Any]:
        """Return a row of `sweeps` in the output of `edgecnn profile --batch 1,2,4`."""
        return {
            "path": str(self.best.engine.path),
            "batches": [item.batch for item in self.results],
            "best_batch": self.best.batch,
            "best_throughput_ips": self.best.throughput_ips,
            "enough_batch": self.enough.batch,
            "verdict": str(self),
        }

    def __str__(self) -> str:
        best, enough = self.best, self.enough
        grows = (
            "it may grow beyond that"
            if enough is self.results[-1]
            else f"beyond batch {enough.batch} it grows by less than {LEAST_CHANGE:.0%}"
        )
        name = best.engine.path.name
        return f"{name}: most images per second with batch {best.batch} ({best.throughput_ips:.0f}); {grows}"


def sweeps(results: Sequence[Latency]) -> list[BatchSweep]:
    """Return the sweep of each engine; `latency.profile` gives the results of one right after each other."""
    groups = itertools.groupby(results, key=lambda item: id(item.engine))
    return [BatchSweep(tuple(sorted(found, key=lambda item: item.batch))) for _, found in groups]
