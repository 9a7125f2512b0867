"""Which of two engines is faster, in about a second: for what a command says besides its own work."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecnn.measure.latency import statistics
from edgecnn.measure.real_inputs import PHOTOGRAPHS, InputChoice, real_input
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.engine_inputs import Inputs

#: Seconds of one turn, and of all; pairs of turns at least, where an inference takes long.
_TURN, _ALL, _PAIRS = 0.01, 1.0, 4
#: Runs before anything is measured.
_WARM = 3


@dataclass(frozen=True)
class QuickRatio:
    """How one engine relates to a baseline, measured in turns."""

    baseline_ms: float
    milliseconds: float
    #: Times as long as the baseline.
    ratio: statistics.Ratio

    def to_json(self) -> dict[str, Any]:
        """Return both medians in milliseconds, how many times as fast, and the verdict."""
        return {
            "float_ms": self.baseline_ms,
            "int8_ms": self.milliseconds,
            "ratio": self.ratio.times_as_fast[0],
            "interval": list(self.ratio.times_as_fast[1:]),
            "verdict": self.ratio.verdict,
        }


def quick_ratio(baseline: Engine, other: Engine, choice: InputChoice = PHOTOGRAPHS) -> QuickRatio:
    """Run two engines in short turns for about a second, and compare their times pair by pair.

    `edgecnn compare` loads both anew several times, which tells differences of less than a few percent.
    Raises what running them raises.
    """
    engines = (baseline, other)
    inputs = [real_input(engine, None, choice) for engine in engines]
    for engine, data in zip(engines, inputs, strict=True):
        for _ in range(_WARM):
            engine(data)
    rows: list[list[float]] = []
    begun = time.perf_counter()
    while len(rows) < _PAIRS or time.perf_counter() - begun < _ALL:
        row = [0.0, 0.0]
        for index in (0, 1) if len(rows) % 2 else (1, 0):
            row[index] = _turn(engines[index], inputs[index])
        rows.append(row)
    # One of each order is a pair: what ran before costs each the same.
    times = np.array(rows[: len(rows) // 2 * 2])
    pairs = np.sqrt(times[0::2] * times[1::2])
    ratio = statistics.paired_ratio([pairs[:, 1]], [pairs[:, 0]])
    medians = np.median(times, axis=0) * 1e3
    return QuickRatio(float(medians[0]), float(medians[1]), ratio)


def _turn(engine: Engine, data: Inputs) -> float:
    """Return the median seconds of the runs of one turn."""
    samples: list[float] = []
    begun = now = time.perf_counter()
    while not samples or now - begun < _TURN:
        before = now
        engine(data)
        now = time.perf_counter()
        samples.append(now - before)
    return float(np.median(samples))
