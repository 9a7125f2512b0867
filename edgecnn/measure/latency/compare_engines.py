"""Engines side by side: short turns right after each other, so that the machine is the same for all."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn import files
from edgecnn.errors import ConditionsError
from edgecnn.measure.conditions.record_conditions import Conditions, Watch, differences
from edgecnn.measure.input_choice import PHOTOGRAPHS, InputChoice
from edgecnn.measure.latency import statistics
from edgecnn.measure.latency.profile_engines import WarmUp, warm_up
from edgecnn.measure.real_inputs import batch_of, real_input
from edgecnn.progress import Progress, silent
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.engine_inputs import Inputs

#: Seconds and runs of one turn: long enough to time, short enough that the machine stays as it is.
_TURN_SECONDS, _TURN_RUNS = 0.03, 3
#: Least times that every engine is loaded.
_LOADS = 6
#: Measuring goes on until every interval is this narrow, relative to its ratio, or for so many times as long.
_NARROW, _LONGEST = 0.025, 6


@dataclass(frozen=True)
class Compared:
    """Engines that were measured in turns; the first is what the others are compared with."""

    engines: Sequence[Engine]
    #: Median of each turn in seconds, (rounds, engines), for each time that the engines were loaded.
    turns: Sequence[npt.NDArray[np.float64]]
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
                    "latency_ms": {"p50": float(np.median(np.concatenate(self.turns)[:, index]) * 1e3)},
                    "ratio": ratio.to_json() if index else None,
                    "verdict": ratio.verdict if index else None,
                    "conditions": self.conditions[index].to_json(),
                }
            )
        return {
            "baseline": rows[0]["path"],
            "rounds": sum(map(len, self.turns)),
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
    loaders: Sequence[Callable[[], Engine]],
    *,
    batch: int | None = None,
    seconds: float = 5.0,
    force: bool = False,
    progress: Progress = silent,
    choice: InputChoice = PHOTOGRAPHS,
) -> Compared:
    """Measure engines in turns of a few runs, in an order that changes, for `seconds` each and longer.

    The order is shuffled, and reversed, so that what ran before costs each the same. All are closed and
    loaded anew a few times, since a loaded engine keeps to being a little faster or slower than another of
    the same file. On a noisy machine it takes longer, until the intervals are narrow: how narrow they are
    decides, never what they say. The engines of the result are closed.

    Raises InvalidValueError if `batch` is not the fixed batch of a model, ConditionsError if the engines
    differ in batch, device or threads, unless `force`, and what loading raises.
    """
    loads, rounds = _orders(len(loaders)), _orders(len(loaders))
    turns: list[npt.NDArray[np.float64]] = []
    first: _Loaded | None = None
    with Watch() as watch:
        measured = 0.0
        while not _enough(turns, measured / (seconds * len(loaders))):
            with _Loaded(loaders, batch, choice, next(loads), progress) as loaded:
                if first is None:
                    first, unlike = loaded, _unlike(loaded, force)
                loaded.warm_up(first)
                before = time.perf_counter()
                progress(f"measure: load {len(turns) + 1}")
                turns.append(loaded.measure(seconds * len(loaders) / _LOADS, rounds))
                measured += time.perf_counter() - before
    assert first is not None
    found = [
        dataclasses.replace(watch.conditions(engine, size), input=choice.description)
        for engine, size in zip(first.engines, first.batches, strict=True)
    ]
    return Compared(first.engines, turns, found, unlike, first.warm)


def _unlike(loaded: _Loaded, force: bool) -> list[str]:
    """Return what makes the conditions of engines unlike; raises ConditionsError, unless `force`."""
    asked = [
        {"batch": size, "device": engine.device, "threads": engine.threads or "library's choice"}
        for engine, size in zip(loaded.engines, loaded.batches, strict=True)
    ]
    unlike = list(dict.fromkeys(line for item in asked[1:] for line in differences(asked[0], item)))
    if unlike and not force:
        raise ConditionsError(
            f"the engines would be measured under unlike conditions: {'; '.join(unlike)}",
            hint="ask all for the same (`batch`, `threads`, `device`), or `force`, which marks the result",
        )
    return unlike


def _enough(turns: Sequence[npt.NDArray[np.float64]], share: float) -> bool:
    """Return whether measuring can end; `share` is how much of the time asked for it took."""
    if len(turns) < _LOADS:
        return False
    ratios = [_ratio(turns, index) for index in range(1, turns[0].shape[1])]
    return share >= _LONGEST or all(ratio.high / ratio.low < 1 + 2 * _NARROW for ratio in ratios)


class _Loaded:
    """All engines, loaded once."""

    def __init__(
        self,
        loaders: Sequence[Callable[[], Engine]],
        batch: int | None,
        choice: InputChoice,
        order: Sequence[int],
        progress: Progress,
    ) -> None:
        self._progress = progress
        self._stack = contextlib.ExitStack()
        engines: dict[int, Engine] = {}
        with contextlib.ExitStack() as stack:
            for index in order:
                engines[index] = stack.enter_context(loaders[index]())
            self.engines = [engines[index] for index in range(len(loaders))]
            self.inputs = [real_input(engine, batch, choice) for engine in self.engines]
            self.batches = [
                batch_of(engine, inputs) for engine, inputs in zip(self.engines, self.inputs, strict=True)
            ]
            self._stack = stack.pop_all()
        self.warm: list[WarmUp] = []

    def __enter__(self) -> _Loaded:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def warm_up(self, first: _Loaded) -> None:
        """Warm up: the first time until it is stable, later for one turn, since the machine is warm."""
        for engine, data in zip(self.engines, self.inputs, strict=True):
            if first is self:
                self._progress(f"warm up {engine.path.name}")
                self.warm.append(warm_up(engine, data))
            else:
                _turn(engine, data)

    def measure(self, seconds: float, orders: Iterator[Sequence[int]]) -> npt.NDArray[np.float64]:
        """Return the median of each turn in seconds, (rounds, engines); a multiple of four rounds."""
        rows: list[list[float]] = []
        begun = time.perf_counter()
        while not rows or len(rows) % 4 or time.perf_counter() - begun < seconds:
            row = [0.0] * len(self.engines)
            for index in next(orders):
                row[index] = _turn(self.engines[index], self.inputs[index])
            rows.append(row)
        return np.array(rows)


def _orders(count: int) -> Iterator[Sequence[int]]:
    """Yield orders of `count` engines: one, its reverse twice, and the one again; then another.

    An engine is faster right after itself than after another: that happens to each as often.
    """
    generator = np.random.default_rng(0)
    while True:
        order = [int(index) for index in generator.permutation(count)]
        yield from (order, order[::-1], order[::-1], order)


def _ratio(turns: Sequence[npt.NDArray[np.float64]], index: int) -> statistics.Ratio:
    # A round and the one in the opposite order are one pair: what drifts meanwhile is then the same for all.
    pairs = [np.sqrt(each[0::2] * each[1::2]) for each in turns]
    return statistics.paired_ratio([each[:, index] for each in pairs], [each[:, 0] for each in pairs])


def _turn(engine: Engine, data: Inputs) -> float:
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
