"""Latency: warm up until it is stable, take turns, keep every sample."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn import files
from edgecnn.artifact import Manifest
from edgecnn.measure.conditions.record_conditions import Conditions, Watch
from edgecnn.measure.input_choice import PHOTOGRAPHS, InputChoice
from edgecnn.measure.latency import statistics
from edgecnn.measure.real_inputs import batch_of, real_input
from edgecnn.model_content import content_bytes
from edgecnn.progress import Progress, silent
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.engine_inputs import Inputs
from edgecnn.runtime.times import Times

#: Warming up: pieces of so many seconds and runs, until this many in a row have medians that differ by less.
_WARM_SECONDS, _WARM_RUNS, _WARM_PIECES, _WARM_CHANGE = 0.15, 3, 3, 0.02
#: An engine that is not stable by then is measured as it is, and the result says so.
_WARM_LIMIT = 8.0
#: Turns that each engine gets, in alternation, so that a drift of the machine meets all alike.
_TURNS = 5
_MIN_SAMPLES = 20
#: Inferences of each turn whose parts are timed, where there are parts.
_TIMED = 10


@dataclass(frozen=True)
class WarmUp:
    """What went before the samples."""

    runs: int
    seconds: float
    #: Whether the latency was stable at its end.
    stable: bool


@dataclass(frozen=True)
class Latency:
    """Seconds of each inference of one engine, and under which conditions."""

    engine: Engine
    samples: npt.NDArray[np.float64]
    #: When each began, in seconds since the first.
    times: npt.NDArray[np.float64]
    batch: int
    conditions: Conditions
    warm_up: WarmUp
    #: The parts of other inferences, in the same turns; empty where nothing is moved to the network and back.
    parts: tuple[Times, ...] = ()

    @property
    def milliseconds(self) -> dict[str, float]:
        """Percentiles and moments of one inference, in milliseconds."""
        return statistics.summary(self.samples * 1e3)

    @property
    def transfers_ms(self) -> dict[str, float] | None:
        """Medians of the way in, the network and the way out; None where nothing is moved."""
        if not self.parts:
            return None
        rows = np.array([(times.copy_in, times.device, times.copy_out) for times in self.parts]) * 1e3
        return dict(zip(("in", "compute", "out"), np.median(rows, axis=0).tolist(), strict=True))

    @property
    def throughput_ips(self) -> float:
        """Images per second, of one inference after the other."""
        return self.batch / float(self.samples.mean())

    @property
    def steadiness(self) -> statistics.Steadiness:
        """Whether it stayed the same."""
        return statistics.steadiness(self.samples, self.times)

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        manifest = self.engine.manifest
        parity, against = _parity(manifest)
        return {
            "path": str(self.engine.path),
            "sha256": files.sha256(self.engine.path),
            "bytes": content_bytes(self.engine.path),
            "params": manifest.params if manifest else None,
            "macs": manifest.macs if manifest else None,
            "precision": manifest.precision if manifest else None,
            "target": manifest.target if manifest else None,
            "backend": self.engine.backend,
            "parity": parity,
            "parity_against": against,
            "latency_ms": self.milliseconds,
            "p50_interval_ms": list(statistics.median_interval(self.samples * 1e3)),
            "warm_up": dataclasses.asdict(self.warm_up),
            "steadiness": self.steadiness.to_json(),
            "transfers_ms": self.transfers_ms,
            "throughput_ips": self.throughput_ips,
            "n": len(self.samples),
            "seconds": float(self.samples.sum()),
            "joules_per_image": self.joules_per_image,
            "conditions": self.conditions.to_json(),
            "notes": self.notes,
        }

    @property
    def joules_per_image(self) -> float | None:
        """Energy for one image, of the sensors in `conditions.during.whole`; None where there is none."""
        watts = self.conditions.during.watts
        return None if watts is None else watts * float(self.samples.mean()) / self.batch

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures should know."""
        name = self.engine.path.name
        found = self.conditions.notes(name)
        if not self.warm_up.stable:
            found.append(f"{name} was not stable after {self.warm_up.seconds:.0f} s of warming up")
        if self.steadiness.verdict != "steady":
            found.append(f"{name} was not steady while it was measured: {self.steadiness}")
        return [*self.engine.notes, *found]


def profile(
    engines: Sequence[Engine],
    *,
    batch: int | Sequence[int] | None = None,
    seconds: float = 3.0,
    progress: Progress = silent,
    choice: InputChoice = PHOTOGRAPHS,
) -> list[Latency]:
    """Measure one inference of each engine, on real images or what `choice` says, for `seconds` each.

    The clock runs from the prepared inputs to the outputs. Engines take turns, and so do the batches of
    each if several are given: the results are all batches of the first engine, then those of the next. Raises
    InvalidValueError if a batch is not the fixed one of a model, InputError if it is beyond its range.
    """
    batches = batch if isinstance(batch, Sequence) else [batch]
    cases = [
        _Case.of(engine, real_input(engine, size, choice), several=len(batches) > 1)
        for engine in engines
        for size in batches
    ]
    for case in cases:
        case.engine.check(case.inputs)  # before the first is warmed up for nothing
    warm = []
    for case in cases:
        progress(f"warm up {case}")
        warm.append(warm_up(case.engine, case.inputs))
    with Watch() as watch:
        for _ in range(_TURNS):
            for case in cases:
                progress(f"measure {case}")
                case.measure(seconds / _TURNS)
    return [
        Latency(
            case.engine,
            np.array(case.samples),
            np.array(case.starts) - case.starts[0],
            case.batch,
            dataclasses.replace(
                watch.conditions(case.engine, case.batch, case.spans), input=choice.description
            ),
            before,
            tuple(case.parts),
        )
        for case, before in zip(cases, warm, strict=True)
    ]


@dataclass
class _Case:
    """One engine with one batch, and what was measured of it so far."""

    engine: Engine
    inputs: Inputs
    batch: int
    #: What it is called.
    name: str
    samples: list[float] = dataclasses.field(default_factory=list)
    starts: list[float] = dataclasses.field(default_factory=list)
    spans: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    parts: list[Times] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, engine: Engine, inputs: Inputs, *, several: bool) -> _Case:
        """Return a case of its own; `several` says that the same engine has others."""
        batch = batch_of(engine, inputs)
        return cls(engine, inputs, batch, engine.path.name + (f", batch {batch}" if several else ""))

    def __str__(self) -> str:
        return self.name

    def measure(self, seconds: float) -> None:
        """Add the samples of one turn."""
        self.engine(self.inputs)  # the other cases' data has left the caches
        start = time.perf_counter()
        begun, taken = _run(self.engine, self.inputs, seconds, -(-_MIN_SAMPLES // _TURNS))
        self.spans.append((start, time.perf_counter()))
        self.samples += taken
        self.starts += begun
        self.parts += _parts(self.engine, self.inputs)


def _parts(engine: Engine, inputs: Inputs) -> list[Times]:
    """Return the parts of a few inferences, apart from the samples: reading more clocks takes time too."""
    found = (engine.time(inputs) for _ in range(_TIMED))
    return [times for times in found if times is not None]


def warm_up(engine: Engine, inputs: Inputs) -> WarmUp:
    """Run an engine until its latency is stable: caches are filled, clocks are up, kernels are chosen."""
    medians: list[float] = []
    runs, seconds = 0, 0.0
    while seconds < _WARM_LIMIT:
        _, taken = _run(engine, inputs, _WARM_SECONDS, _WARM_RUNS)
        runs += len(taken)
        seconds += sum(taken)
        medians.append(float(np.median(taken)))
        last = medians[-_WARM_PIECES:]
        if len(last) == _WARM_PIECES and max(last) <= (1 + _WARM_CHANGE) * min(last):
            return WarmUp(runs, seconds, True)
    return WarmUp(runs, seconds, False)


def _run(engine: Engine, inputs: Inputs, seconds: float, at_least: int) -> tuple[list[float], list[float]]:
    """Return when each inference began, and how long it took."""
    clock = time.perf_counter
    starts: list[float] = []
    samples: list[float] = []
    end = clock() + seconds
    while len(samples) < at_least or clock() < end:
        start = clock()
        engine(inputs)
        samples.append(clock() - start)
        starts.append(start)
    return starts, samples


def _parity(manifest: Manifest | None) -> tuple[dict[str, Any] | None, str | None]:
    """Return how near a file is to what its last step compared it with, and what that was.

    What an earlier step measured was said of the file before.
    """
    if manifest is None or not manifest.lineage:
        return None, None
    step = manifest.lineage[-1]
    found = step.metrics if "sqnr_db" in step.metrics else step.metrics.get("parity")
    if not found:
        return None, None
    against = {"compile": "the ONNX file", "check": step.parameters.get("against", "PyTorch")}
    return dict(found), against.get(step.what, "the float network")
