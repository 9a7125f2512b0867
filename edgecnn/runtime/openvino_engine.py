"""The OpenVINO engine: a network in OpenVINO's own format (IR), compiled for this CPU when it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from edgecnn.artifact import Manifest, TensorSpec
from edgecnn.errors import EngineError
from edgecnn.optional_packages import require
from edgecnn.runtime.engine import Array, Engine, demand_threads
from edgecnn.runtime.engine_inputs import known_layout, layout_of
from edgecnn.runtime.openvino_int8 import demand_exact

#: How the lines of an error begin that say where in the library it arose, not what is wrong.
_PLACES = ("Exception from ", "Check '", "FrontEnd API failed", "Summary:", "Model wasn't fully converted")


class OpenVinoEngine(Engine):
    """Runs an IR, a .xml file with its .bin beside it, on the CPU."""

    backend = "openvino"
    device = "cpu"

    def __init__(
        self, path: Path, manifest: Manifest | None, *, device: str = "auto", threads: int = 0
    ) -> None:
        ov = require("openvino", "running an OpenVINO file")
        if device not in ("auto", "cpu"):
            raise EngineError(f"OpenVINO runs on the CPU here, not on {device}", hint="leave the device out")
        demand_threads(threads)
        flags = manifest.engine.flags if manifest and manifest.engine else {}
        self.threads = threads or int(flags.get("threads", 0))
        options = settings(self.threads, flags.get("hint", "latency"), bool(flags.get("bf16")))
        try:
            core = ov.Core()
            model = core.read_model(path)
            parent = manifest.engine.parent if manifest and manifest.engine else ""
            demand_exact(model, path, path.parent / parent if parent else None)
            self._compiled = core.compile_model(model, "CPU", options)
        except EngineError:
            raise
        except Exception as error:  # the library's errors are RuntimeErrors, as anything's are
            raise EngineError(
                f"OpenVINO {ov.__version__} refuses {path}: {what_is_wrong(error)}",
                hint="the .xml and the .bin belong together, and need an OpenVINO as new as they are",
            ) from error
        # A request computes one batch at a time. There are as many as calls that ran at the same time.
        self._idle: list[Any] = [self._compiled.create_infer_request()]
        inputs, outputs = self._compiled.inputs, self._compiled.outputs
        super().__init__(
            path,
            manifest,
            [_input_spec(port, manifest) for port in inputs],
            [_output_spec(port, index) for index, port in enumerate(outputs)],
        )
        first = inputs[0].partial_shape
        if len(first):
            most = first[0].max_length  # -1: without a limit
            self.batches = (max(1, first[0].min_length), None if most < 0 else most)

    def _infer(self, inputs: Sequence[Array]) -> Sequence[Array]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            # The inputs are read where they lie; the outputs are copied out of the request. Finding them by
            # their ports would cost a fast network one percent.
            given = inputs[0] if len(inputs) == 1 else dict(enumerate(inputs))
            return cast("Sequence[Array]", request.infer(given, share_inputs=True).to_tuple())
        except Exception as error:  # as above
            raise EngineError(f"OpenVINO failed on {self.path.name}: {what_is_wrong(error)}") from error
        finally:
            if not self._closed:
                self._idle.append(request)

    def _release(self) -> None:
        self._idle.clear()
        del self._compiled


def settings(threads: int, hint: str, bf16: bool) -> dict[str, Any]:
    """Return the properties of OpenVINO's CPU that a network is compiled with.

    The precision is always given: by default OpenVINO computes in bfloat16 wherever the CPU can.
    """
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": hint.upper(),
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
    }
    return options | ({"INFERENCE_NUM_THREADS": threads} if threads else {})


def what_is_wrong(error: Exception) -> str:
    """Return the line of one of OpenVINO's errors that says what is wrong; the others say where it arose."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(_PLACES)]
    return (said or lines or [type(error).__name__])[0]


def _input_spec(port: Any, manifest: Manifest | None) -> TensorSpec:
    shape = _shape(port.partial_shape, "batch")
    name = port.any_name if port.names else "input"
    dtype = str(np.dtype(port.element_type.to_dtype()))
    return TensorSpec(name, shape, dtype, known_layout(name, shape, manifest))


def _output_spec(port: Any, index: int) -> TensorSpec:
    # The library does not say which of the inputs' free sizes an output's is.
    shape = tuple(
        f"any{axis}" if isinstance(size, str) else size
        for axis, size in enumerate(_shape(port.partial_shape, "batch"))
    )
    name = port.any_name if port.names else f"output{index}" if index else "output"
    return TensorSpec(name, shape, str(np.dtype(port.element_type.to_dtype())), layout_of(shape))


def _shape(sizes: Any, first: str) -> tuple[int | str, ...]:
    if sizes.rank.is_dynamic:
        return ()
    return tuple(
        size.get_length() if size.is_static else f"size{axis}" if axis else first
        for axis, size in enumerate(sizes)
    )
