"""OpenVINO's clock per kernel, and what its runtime graph says went into each."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecnn.errors import EngineError
from edgecnn.measure.layers.layer_times import Kernel
from edgecnn.optional_packages import require
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.engine_inputs import Inputs, by_input
from edgecnn.runtime.openvino_engine import settings, what_is_wrong


class OpenVinoProfiler:
    """A network that is compiled as the engine's is, and counts."""

    def __init__(self, engine: Engine) -> None:
        ov = require("openvino", "running an OpenVINO file")
        flags = engine.manifest.engine.flags if engine.manifest and engine.manifest.engine else {}
        options = settings(engine.threads, flags.get("hint", "latency"), bool(flags.get("bf16")))
        try:
            core = ov.Core()
            compiled = core.compile_model(
                core.read_model(engine.path), "CPU", {**options, "PERF_COUNT": True}
            )
        except Exception as error:  # the library's errors are RuntimeErrors, as anything's are
            raise EngineError(f"OpenVINO does not time {engine.path.name}: {what_is_wrong(error)}") from error
        self._specs = engine.inputs
        self._request = compiled.create_infer_request()
        #: Kernel: the nodes that were fused into it.
        self._origins = {
            node.friendly_name: _origins(node.get_rt_info())
            for node in compiled.get_runtime_model().get_ordered_ops()
        }
        #: Of each run, the seconds of each kernel; one too short for the library's clock is not there.
        self._runs: list[dict[str, float]] = []
        self._operators: dict[str, str] = {}

    def run(self, inputs: Inputs) -> None:
        """Run one inference."""
        arrays = by_input(inputs, self._specs, "the network")
        self._request.infer(dict(enumerate(arrays)), share_inputs=True)
        executed = [
            kernel for kernel in self._request.profiling_info if kernel.status == type(kernel).Status.EXECUTED
        ]
        self._runs.append({kernel.node_name: kernel.real_time.total_seconds() for kernel in executed})
        self._operators |= {kernel.node_name: kernel.node_type for kernel in executed}

    def kernels(self) -> list[Kernel]:
        """Return each kernel that ran, in order."""
        return [
            Kernel(
                (name, *self._origins.get(name, ())),
                operator,
                np.array([run.get(name, 0.0) for run in self._runs]),
            )
            for name, operator in self._operators.items()
        ]

    def close(self) -> None:
        """Free the compiled network."""
        del self._request


def _origins(info: Any) -> tuple[str, ...]:
    """Return the names of the nodes that a kernel was made of."""
    if "originalLayersNames" not in info:
        return ()
    value = info["originalLayersNames"]
    text = value if isinstance(value, str) else str(value.value)
    return tuple(name for name in text.split(",") if name)
