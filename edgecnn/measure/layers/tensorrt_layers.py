"""TensorRT's clock per layer of its engine, and what its inspector says went into each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from edgecnn.artifact import LayerRecord
from edgecnn.measure.layers.layer_times import Kernel
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.engine_inputs import Inputs
from edgecnn.runtime.tensorrt_engine import TensorRtEngine
from edgecnn.runtime.tensorrt_inspector import nodes

#: Between the ends of a part that was fused as a whole.
_SPAN = "..."


class TensorRtProfiler:
    """An execution context of its own, with the library's profiler."""

    def __init__(self, engine: Engine) -> None:
        self._engine = cast(TensorRtEngine, engine)
        self._opened = contextlib.ExitStack()
        self._run: Callable[[Inputs], dict[str, float]] | None = None
        self._seconds: list[dict[str, float]] = []

    def run(self, inputs: Inputs) -> None:
        """Run one inference."""
        if self._run is None:
            self._run = self._opened.enter_context(self._engine.profiled(inputs))
        self._seconds.append(self._run(inputs))

    def kernels(self) -> list[Kernel]:
        """Return each layer of the engine that ran, in order."""
        records = (self._engine.manifest.layers if self._engine.manifest else None) or {}
        return kernels(self._seconds, self._engine.layers(), records)

    def close(self) -> None:
        """Free the context."""
        self._opened.close()


def kernels(
    runs: Sequence[Mapping[str, float]],
    inspected: Sequence[Mapping[str, Any]],
    records: Mapping[str, LayerRecord],
) -> list[Kernel]:
    """Return the kernels of runs that say the seconds of each of the engine's layers by its name.

    What a layer is made of says the inspector, and its name.
    """
    known = {row["name"]: row for row in inspected}
    found = []
    for name in dict.fromkeys(name for run in runs for name in run):
        row = known.get(name, {})
        made_of = (*row.get("onnx", ()), *nodes(name))
        found.append(
            Kernel(
                tuple(dict.fromkeys(node for part in made_of for node in _expanded(part, records))),
                row.get("kind") or ("layer" if nodes(name) else "Reformat"),
                np.array([run.get(name, 0.0) for run in runs]),
            )
        )
    return found


def _expanded(name: str, records: Mapping[str, LayerRecord]) -> Sequence[str]:
    """Return a node, or all from one end of a span to the other, in the order of the network."""
    first, span, last = name.partition(_SPAN)
    if not span:
        return (name,)
    order = list(records)
    if first not in records or last not in records:
        return (first, last)
    return order[order.index(first) : order.index(last) + 1]
