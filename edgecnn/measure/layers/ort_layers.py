"""ONNX Runtime's clock per kernel: the trace that its sessions write."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.leftovers import TemporaryFolder
from edgecnn.measure.layers.layer_times import Kernel
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.engine_inputs import Inputs, by_input
from edgecnn.runtime.ort_engine import open_session

_ENDING = "_kernel_time"


class OrtProfiler:
    """A session that writes a trace into a folder of its own."""

    def __init__(self, engine: Engine) -> None:
        self._folder = TemporaryFolder()
        self._session = open_session(
            str(engine.path),
            device=engine.device,
            threads=engine.threads,
            trace=Path(self._folder.name) / "trace",
        )
        self._specs = engine.inputs

    def run(self, inputs: Inputs) -> None:
        """Run one inference."""
        arrays = by_input(inputs, self._specs, "the network")
        names = [spec.name for spec in self._specs]
        self._session.run(None, dict(zip(names, arrays, strict=True)))

    def kernels(self) -> list[Kernel]:
        """Return each node that ran, in order; ends the trace. Raises OutputError if that found no room."""
        try:
            return kernels(json.loads(Path(self._session.end_profiling()).read_text()))
        except (OSError, ValueError):  # the library says nothing of a trace that it could not write
            self._folder.demand_room()
            raise

    def close(self) -> None:
        """End the session, and remove its trace."""
        del self._session
        self._folder.cleanup()


def kernels(events: list[dict[str, Any]]) -> list[Kernel]:
    """Return the kernels of a trace; its durations are in microseconds."""
    seconds: dict[str, list[float]] = defaultdict(list)
    operators: dict[str, str] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_ENDING):
            name = event["name"].removesuffix(_ENDING)
            seconds[name].append(event["dur"] / 1e6)
            operators[name] = event["args"]["op_name"]
    return [Kernel((name,), operators[name], np.array(taken)) for name, taken in seconds.items()]
