"""Engines side by side: short turns right after each other, so that the machine is the same for all."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn import files
from edgecnn.errors import ConditionsError
from edgecnn.measure import statistics
from edgecnn.measure.conditions import Conditions, Watch, differences
from edgecnn.measure.latency import WarmUp, real_input, warm_up
from edgecnn.runtime.engine import Engine

#: Seconds and runs of one turn: long enough to time, short enough that the machine stays as it is.
_TURN_SECONDS, _TURN_RUNS = 0.03, 3
_MIN_ROUNDS = 20
#: Measuring goes on until every interval is this narrow, relative to its ratio, or for so many times as long.
_NARROW, _LONGEST = 0.025, 6


@dataclass(frozen=True)
class Compared:
    """Engines that were measured in turns; the first is what the others are compared with."""

    engines: Sequence[Engine]
    #: Median of each turn in seconds, (rounds, engines).
    turns: npt.NDArray[np.float64]
    conditions: list[Conditions]
    #: What makes their conditions unlike.
    unlike: list[str]
    warm_up: list[WarmUp]

    def ratio(self, index: int) -> statistics.Ratio:
        """Return how many times as long an engine takes as the first one."""
        return _ratio(self.turns, index)

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures should know."""
        pairs = zip(self.engines, self.conditions, strict=True)
        return list(dict.fromkeys(note for engine, found in pairs for note in found.notes(engine.path.name)))

    def to_json(self) -> dict[str, Any]:
        """Return a row for each engine."""
        rows = []
        for index, engine in enumerate(self.engines):
            ratio = self.ratio(index)
            rows.append(
                {
                    "path": str(engine.path),
                    "sha256": files.sha256(engine.path),
                    "backend": engine.backend,
                    "latency_ms": {"p50": float(np.median(self.turns[:, index]) * 1e3)},
                    "ratio": ratio.to_json() if index else None,
                    "verdict": ratio.verdict if index else None,
                    "conditions": self.conditions[index].to_json(),
                }
            )
        return {
            "baseline": rows[0]["path"],
            "rounds": len(self.turns),
            "unlike": self.unlike,
            "notes": self.notes,
            "results": rows,
        }

    def pairs(self) -> list[tuple[Engine, dict[str, Any]]]:
        """Return each engine but the first, with what the store keeps of it: how it relates to the first."""
        found = self.to_json()
        first, *others = found["results"]
        baseline = {key: first[key] for key in ("path", "sha256", "backend", "latency_ms")}
        shared = {"baseline": baseline, "unlike": self.unlike}
        return [
            (engine, {**row, **shared, "n": row["ratio"]["pairs"]})
            for engine, row in zip(self.engines[1:], others, strict=True)
        ]


def compare(
    engines: Sequence[Engine],
    *,
    batch: int | None = None,
    seconds: float = 5.0,
    force: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Compared:
    """Measure engines in turns of a few runs, in an order that changes, for `seconds` each and longer.

    The order goes once forward and once backward, so that being first costs each the same. On a noisy machine
    it takes longer, until the intervals are narrow: how narrow they are decides, never what they say.

    Raises InvalidValueError if `batch` is not the fixed batch of a model, ConditionsError if the engines
    differ in batch, device or threads, unless `force`.
    """
    inputs = [real_input(engine, batch) for engine in engines]
    asked = [
        {"batch": len(data), "device": engine.device, "threads": engine.threads or "library's choice"}
        for engine, data in zip(engines, inputs, strict=True)
    ]
    unlike = list(dict.fromkeys(line for item in asked[1:] for line in differences(asked[0], item)))
    if unlike and not force:
        raise ConditionsError(
            f"the engines would be measured under unlike conditions: {'; '.join(unlike)}",
            hint="ask all for the same (--batch, --threads, --device), or --force, which marks the result",
        )
    warm = []
    for engine, data in zip(engines, inputs, strict=True):
        progress(f"warm up {engine.path.name}")
        warm.append(warm_up(engine, data))
    with Watch() as watch:
        turns = _measure(engines, inputs, seconds, progress)
    found = [watch.conditions(engine, len(data)) for engine, data in zip(engines, inputs, strict=True)]
    return Compared(engines, turns, found, unlike, warm)


def _measure(
    engines: Sequence[Engine],
    inputs: Sequence[npt.NDArray[Any]],
    seconds: float,
    progress: Callable[[str], None],
) -> npt.NDArray[np.float64]:
    """Return the median of each turn in seconds, (rounds, engines)."""
    rows: list[list[float]] = []
    clock = time.perf_counter
    begun = clock()
    for number in itertools.count():
        share = (clock() - begun) / (seconds * len(engines))
        if number >= _MIN_ROUNDS and number % 10 == 0 and share >= 1:
            ratios = [_ratio(np.array(rows), index) for index in range(1, len(engines))]
            if share >= _LONGEST or all(ratio.high / ratio.low < 1 + 2 * _NARROW for ratio in ratios):
                return np.array(rows)
        progress(f"measure: round {number + 1}")
        order = range(len(engines)) if number % 2 == 0 else reversed(range(len(engines)))
        row = [0.0] * len(engines)
        for index in order:
            row[index] = _turn(engines[index], inputs[index])
        rows.append(row)
    raise AssertionError("it counts without end")


def _ratio(turns: npt.NDArray[np.float64], index: int) -> statistics.Ratio:
    # A round forward and one backward are one pair: what follows which is then the same for both.
    pairs = np.sqrt(turns[0::2] * turns[1::2])
    return statistics.paired_ratio(pairs[:, index], pairs[:, 0])


def _turn(engine: Engine, data: npt.NDArray[Any]) -> float:
    """Return the median latency of a few runs, after one that fills the caches."""
    clock = time.perf_counter
    engine(data)
    samples: list[float] = []
    end = clock() + _TURN_SECONDS
    while len(samples) < _TURN_RUNS or clock() < end:
        start = clock()
        engine(data)
        samples.append(clock() - start)
    return float(np.median(samples))
