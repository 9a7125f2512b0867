"""Whether ONNX Runtime works here, and how fast it multiplies: for `edgecnn doctor`, without onnx."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from edgecnn.errors import EngineError
from edgecnn.optional_packages import require
from edgecnn.runtime.engine import Array
from edgecnn.runtime.ort_engine import open_session

#: An ONNX file that copies one float.
_IDENTITY = base64.b64decode(
    "CAg6NwoQCgF4EgF5IghJZGVudGl0eRIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEBI="
)


def probe() -> str:
    """Run a model, and return where the library can; raises whatever its start-up does."""
    ort = require("onnxruntime", "running an ONNX file")
    ort.InferenceSession(_IDENTITY, providers=["CPUExecutionProvider"])
    offered = [name.removesuffix("ExecutionProvider") for name in ort.get_available_providers()]
    where = "the CPU"
    if "CUDA" in offered:
        try:
            open_session(_IDENTITY, device="cuda")
            where = "the CPU and the GPU"
        except EngineError as error:
            where = f"the CPU, not on a GPU ({error})"
    return f"runs a model on {where}; providers built in: {', '.join(offered)}"


def runner(model: bytes, threads: int) -> Callable[[Array], Any]:
    """Return what runs an ONNX file, of one input `x`, on the CPU."""
    session = open_session(model, threads=threads)
    return lambda array: session.run(None, {"x": array})
