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
from edgecnn.data.crops import random_crops
from edgecnn.errors import InvalidValueError
from edgecnn.measure.conditions.record_conditions import Conditions, Watch
from edgecnn.measure.latency import statistics
from edgecnn.model_content import content_bytes
from edgecnn.progress import Progress, silent
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.image_files import sample_photo
from edgecnn.runtime.preprocessing import Preprocessing
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
) -> list[Latency]:
    """Measure one inference of each engine, on real images, for `seconds` each.

    The clock runs from the prepared input array to the logits. Engines take turns, and so do the batches of
    each if several are given: the results are all batches of the first engine, then those of the next. Raises
    InvalidValueError if a batch is not the fixed one of a model, InputError if it is beyond its range.
    """
    batches = batch if isinstance(batch, Sequence) else [batch]
    cases = [(engine, real_input(engine, size)) for engine in engines for size in batches]
    for engine, data in cases:
        engine.check(data)  # before the first is warmed up for nothing
    warm = []
    for engine, data in cases:
        progress(f"warm up {_named(engine, data, batches)}")
        warm.append(warm_up(engine, data))
    samples: list[list[float]] = [[] for _ in cases]
    starts: list[list[float]] = [[] for _ in cases]
    spans: list[list[tuple[float, float]]] = [[] for _ in cases]
    parts: list[list[Times]] = [[] for _ in cases]
    with Watch() as watch:
        for _ in range(_TURNS):
            for number, (engine, data) in enumerate(cases):
                progress(f"measure {_named(engine, data, batches)}")
                engine(data)  # the other cases' data has left the caches
                start = time.perf_counter()
                begun, taken = _run(engine, data, seconds / _TURNS, -(-_MIN_SAMPLES // _TURNS))
                spans[number].append((start, time.perf_counter()))
                samples[number] += taken
                starts[number] += begun
                parts[number] += _parts(engine, data)
    return [
        Latency(
            engine,
            np.array(samples[number]),
            np.array(starts[number]) - starts[number][0],
            len(data),
            watch.conditions(engine, len(data), spans[number]),
            warm[number],
            tuple(parts[number]),
        )
        for number, (engine, data) in enumerate(cases)
    ]


def _named(engine: Engine, data: npt.NDArray[Any], batches: Sequence[int | None]) -> str:
    return engine.path.name + (f", batch {len(data)}" if len(batches) > 1 else "")


def _parts(engine: Engine, data: npt.NDArray[Any]) -> list[Times]:
    """Return the parts of a few inferences, apart from the samples: reading more clocks takes time too."""
    found = (engine.time(data) for _ in range(_TIMED))
    return [times for times in found if times is not None]


def warm_up(engine: Engine, data: npt.NDArray[Any]) -> WarmUp:
    """Run an engine until its latency is stable: caches are filled, clocks are up, kernels are chosen."""
    medians: list[float] = []
    runs, seconds = 0, 0.0
    while seconds < _WARM_LIMIT:
        _, taken = _run(engine, data, _WARM_SECONDS, _WARM_RUNS)
        runs += len(taken)
        seconds += sum(taken)
        medians.append(float(np.median(taken)))
        last = medians[-_WARM_PIECES:]
        if len(last) == _WARM_PIECES and max(last) <= (1 + _WARM_CHANGE) * min(last):
            return WarmUp(runs, seconds, True)
    return WarmUp(runs, seconds, False)


def real_input(engine: Engine, batch: int | None) -> npt.NDArray[Any]:
    """Return an input of `batch` images; raises as `real_images` does."""
    return real_images(engine, batch or engine.batches[0], batch)


def real_images(engine: Engine, count: int, batch: int | None) -> npt.NDArray[Any]:
    """Return `count` crops of a photograph that comes with the package, as the engine takes them.

    Never zeros or noise: what flows through a network can change how fast it runs. A foreign model
    is given ImageNet's normalization, which changes its answers and not its speed. Raises InvalidValueError
    if `batch` is not the fixed batch of the model, or it takes no image of a fixed size.
    """
    image, fixed = engine.input, engine.input.shape[0] if isinstance(engine.input.shape[0], int) else None
    if batch is not None and fixed is not None and batch != fixed:
        raise InvalidValueError(
            f"{engine.path.name} takes {fixed} image{'' if fixed == 1 else 's'} at a time, not {batch}",
            hint="export it without `batch` for any number",
        )
    order = (1, 2, 3) if image.layout == "NHWC" else (2, 3, 1)
    sizes = [image.shape[axis] for axis in order] if len(image.shape) == 4 else []
    if sizes and engine.is_prepared:
        made = (*engine.preprocessing.size, engine.preprocessing.channels)
        sizes = [size if isinstance(size, int) else own for size, own in zip(sizes, made, strict=True)]
    if not sizes or not all(isinstance(size, int) for size in sizes):
        raise InvalidValueError(
            f"{engine.path.name} takes no image of a fixed size, but {' x '.join(map(str, image.shape))}",
            hint="say which: `size` 224, or 192x256",
        )
    height, width, channels = map(int, sizes)
    preprocessing = Preprocessing(height, width).with_channels(channels)
    if engine.is_prepared:
        preprocessing = engine.preprocessing
    crops = random_crops([sample_photo()], preprocessing, count, seed=0)
    return engine.input_of(np.stack(list(crops)), preprocessing)


def _run(
    engine: Engine, data: npt.NDArray[Any], seconds: float, at_least: int
) -> tuple[list[float], list[float]]:
    """Return when each inference began, and how long it took."""
    clock = time.perf_counter
    starts: list[float] = []
    samples: list[float] = []
    end = clock() + seconds
    while len(samples) < at_least or clock() < end:
        start = clock()
        engine(data)
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
