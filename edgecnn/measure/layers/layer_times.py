"""Where an inference's time goes: the engine library's own clock per kernel, by the network's layers."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import LayerRecord
from edgecnn.backends import BACKENDS, attribute
from edgecnn.errors import EngineError
from edgecnn.measure.input_choice import PHOTOGRAPHS, InputChoice
from edgecnn.measure.latency.profile_engines import warm_up
from edgecnn.measure.real_inputs import batch_of, real_input
from edgecnn.progress import Progress, silent
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.engine_inputs import Inputs

#: What belongs to no layer: the layout or the type of a tensor is changed between two.
BETWEEN = "between layers"
#: Inferences with the library's clock; each follows one without it.
_LEAST_RUNS, _MOST_RUNS = 20, 300
#: What libraries append to a node's name when they rewrite it.
_ADDED = re.compile(r"(_nchwc|_token_\d+|/WithoutBiases|/fq_weights_\d+)$")
_FUSED = "fused "


@dataclass(frozen=True)
class Kernel:
    """Something that an engine library ran."""

    #: What it calls it: names of nodes, or of their outputs, that went into it.
    names: tuple[str, ...]
    operator: str
    #: Seconds in each inference, (runs,).
    seconds: npt.NDArray[np.float64]


class Profiler(Protocol):
    """A second copy of an engine, with the library's clock running."""

    def run(self, inputs: Inputs) -> None:
        """Run one inference."""

    def kernels(self) -> list[Kernel]:
        """Return what ran, in order; nothing runs after that."""

    def close(self) -> None:
        """Give back what it holds."""


@dataclass(frozen=True)
class LayerTime:
    """One layer, with whatever was fused into its kernels."""

    name: str
    operator: str
    #: Mean over the middle half of the inferences, so that layers add up to an inference.
    seconds: float
    #: Of the time of all layers.
    share: float
    #: For the whole batch; None where the file does not say, 0 for what has no weights.
    macs: int | None

    @property
    def macs_per_second(self) -> float | None:
        """The achieved rate; None for what has no weights."""
        return self.macs / self.seconds if self.macs and self.seconds else None

    def to_json(self) -> dict[str, Any]:
        """Return a row of the table."""
        rate = self.macs_per_second
        return {
            "name": self.name,
            "operator": self.operator,
            "ms": self.seconds * 1e3,
            "share": self.share,
            "macs": self.macs,
            "gmacs_per_s": None if rate is None else rate / 1e9,
        }


@dataclass(frozen=True)
class LayerProfile:
    """The layers of an engine, in the order in which they run."""

    engine: Engine
    layers: list[LayerTime]
    #: Seconds of an inference without the library's clock, in turns with those with it: the same mean.
    latency: float
    runs: int

    @property
    def covered(self) -> float:
        """Sum of the layers' times over the latency: above 1 by what the library's clock costs."""
        return sum(layer.seconds for layer in self.layers) / self.latency

    def to_json(self) -> dict[str, Any]:
        """Return the keys that `edgecnn profile --layers` adds."""
        return {
            "layers": [layer.to_json() for layer in self.layers],
            "layers_over_latency": self.covered,
            "layers_runs": self.runs,
        }


def profile_layers(
    engine: Engine,
    *,
    batch: int | None = None,
    seconds: float = 3.0,
    progress: Progress = silent,
    choice: InputChoice = PHOTOGRAPHS,
) -> LayerProfile:
    """Measure the layers of an engine for `seconds`, on real images.

    Raises EngineError where the backend does not time its kernels, InvalidValueError if `batch` is not the
    fixed batch of the model.
    """
    profiler_name = BACKENDS.get(engine.backend).profilers.get(engine.device)
    if profiler_name is None:
        known = ", ".join(f"{row.name} on {device}" for row in BACKENDS for device in row.profilers)
        raise EngineError(
            f"{engine.backend} on {engine.device} does not say how long its kernels take",
            hint=f"layers are timed by: {known}",
        )
    data = real_input(engine, batch, choice)
    progress(f"layers of {engine.path.name}")
    warm_up(engine, data)
    clock = time.perf_counter
    plain: list[float] = []
    profiler: Profiler = attribute(profiler_name)(engine)
    with contextlib.closing(profiler):
        end = clock() + seconds
        while len(plain) < _LEAST_RUNS or (clock() < end and len(plain) < _MOST_RUNS):
            start = clock()
            engine(data)
            plain.append(clock() - start)
            profiler.run(data)
        kernels = profiler.kernels()
    records = engine.manifest.layers if engine.manifest else None
    rows = by_layer(kernels, records or {}, batch_of(engine, data))
    return LayerProfile(engine, rows, _middle(np.array(plain), np.array(plain)), len(plain))


def by_layer(kernels: Sequence[Kernel], records: Mapping[str, LayerRecord], batch: int) -> list[LayerTime]:
    """Return the time of each layer, in the order of the kernels.

    A kernel is its layer's if it has the name of one of the layer's nodes or of their outputs. One with
    weights that is named after what was fused into it, as an activation, belongs to the layer
    before that. Layers that share their only kernel are one row, "first ... last". Without `records`
    kernels stand under their own names.
    """
    nodes = {**{record.output: name for name, record in records.items()}, **{name: name for name in records}}
    origins = [[nodes[name] for name in map(_plain, kernel.names) if name in nodes] for kernel in kernels]
    weighted = [[name for name in records if name in found and records[name].macs] for found in origins]
    row_of = _rows(weighted)
    own = set(row_of)
    rows: dict[str, list[Kernel]] = {}
    for kernel, found, layers in zip(kernels, origins, weighted, strict=True):
        owner = row_of[layers[0]] if layers else found[0] if found else None
        if owner is not None and not layers and _weighted(kernel):
            owner = _before(owner, records, own) or owner
            own.add(owner)
        if owner is None:
            owner = f"{BETWEEN}: {kernel.operator}" if records or not kernel.names else kernel.names[0]
        rows.setdefault(owner, []).append(kernel)
    macs = {name: record.macs for name, record in records.items() if name not in row_of}
    for name, row in row_of.items():
        macs[row] = macs.get(row, 0) + records[name].macs
    totals = np.sum([kernel.seconds for kernel in kernels], axis=0)
    times = {
        name: _middle(np.sum([kernel.seconds for kernel in found], axis=0), totals)
        for name, found in rows.items()
    }
    whole = sum(times.values())
    return [
        LayerTime(
            name,
            max(found, key=lambda kernel: float(kernel.seconds.sum())).operator,
            times[name],
            times[name] / whole if whole else 0.0,
            macs.get(name, 0) * batch if records else None,
        )
        for name, found in rows.items()
    ]


def _rows(weighted: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the row of each layer with weights that kernels compute; `weighted` are those of each kernel.

    A kernel that names several is all that they have, or a helper between those that have one of their own.
    """
    rows: dict[str, str] = {}
    for layers in sorted(weighted, key=len):
        free = [name for name in layers if name not in rows]
        if free:
            rows |= dict.fromkeys(free, " ... ".join(dict.fromkeys((free[0], free[-1]))))
    return rows


def _middle(seconds: npt.NDArray[np.float64], totals: npt.NDArray[np.float64]) -> float:
    """Return the mean over the runs whose totals are neither in the fastest quarter nor in the slowest."""
    low, high = np.quantile(totals, [0.25, 0.75])
    return float(seconds[(totals >= low) & (totals <= high)].mean())


def _plain(name: str) -> str:
    """Return a name without what libraries add to it."""
    name = name.removeprefix(_FUSED)
    while (shorter := _ADDED.sub("", name)) != name:
        name = shorter
    return name


def _weighted(kernel: Kernel) -> bool:
    return any(word in kernel.operator for word in ("Conv", "Gemm", "MatMul", "FullyConnected"))


def _before(name: str, records: Mapping[str, LayerRecord], taken: set[str]) -> str | None:
    """Return the nearest layer with weights upstream of a node that has no kernel of its own yet."""
    waiting, seen = list(records[name].inputs), set()
    while waiting:
        maker = waiting.pop(0)
        if maker in seen or maker not in records:
            continue
        seen.add(maker)
        if records[maker].macs:
            if maker not in taken:
                return maker
            continue  # what lies before it was computed before it
        waiting += records[maker].inputs
    return None
