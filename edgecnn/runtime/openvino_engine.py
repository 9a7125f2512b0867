"""The OpenVINO engine: a network in OpenVINO's own format (IR), compiled for this CPU when it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from edgecnn.artifact import Manifest, TensorSpec
from edgecnn.errors import ArtifactError, EngineError
from edgecnn.optional_packages import require
from edgecnn.runtime.engine import Array, Engine, count_classes, demand_threads, image_layout
from edgecnn.runtime.openvino_int8 import demand_exact

_DTYPES = ("float32", "float16", "uint8")
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
        inputs, outputs = self._compiled.inputs, self._compiled.outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise ArtifactError(
                f"{path} is no image classifier: it has {len(inputs)} inputs and {len(outputs)} outputs",
                hint="one image input and one output of logits are expected",
            )
        # A request computes one input at a time. There are as many as calls that ran at the same time.
        self._idle: list[Any] = [self._compiled.create_infer_request()]
        classes = count_classes(_shape(outputs[0].partial_shape))
        logits = TensorSpec(
            outputs[0].any_name if outputs[0].names else "output",
            _shape(outputs[0].partial_shape),
            str(np.dtype(outputs[0].element_type.to_dtype())),
            "NC",
        )
        super().__init__(path, manifest, _spec(path, inputs[0], manifest), classes, logits)
        batch = inputs[0].partial_shape[0]
        most = batch.max_length  # -1: without a limit
        self.batches = (max(1, batch.min_length), None if most < 0 else most)

    def _infer(self, array: Array) -> Array:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            # The input is read where it lies; the output is copied out of the request. Finding it by its port
            # would cost a fast network one percent.
            return cast(Array, request.infer(array, share_inputs=True).to_tuple()[0])
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


def _spec(path: Path, port: Any, manifest: Manifest | None) -> TensorSpec:
    dtype = str(np.dtype(port.element_type.to_dtype()))
    if dtype not in _DTYPES:
        raise ArtifactError(f"the input of {path} is {dtype}", hint=f"expected: {', '.join(_DTYPES)}")
    shape = _shape(port.partial_shape)
    layout = manifest.inputs[0].layout if manifest else image_layout(shape)
    return TensorSpec(port.any_name if port.names else "input", shape, dtype, layout)


def _shape(sizes: Any) -> tuple[int | str, ...]:
    return tuple(
        size.get_length() if size.is_static else f"size{axis}" if axis else "batch"
        for axis, size in enumerate(sizes)
    )
