"""Whether OpenVINO works here, and how fast it multiplies: for `edgecnn doctor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecnn.optional_packages import require
from edgecnn.runtime.engine import Array


def probe() -> str:
    """Return which devices the library sees; raises whatever its start-up does."""
    devices = require("openvino", "running an OpenVINO file").Core().available_devices
    return f"devices: {', '.join(devices)}"


def runner(model: bytes, threads: int) -> Callable[[Array], Any]:
    """Return what runs an ONNX file on the CPU."""
    core = require("openvino", "measuring this machine's limits").Core()
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(model), "CPU", options).create_infer_request()
    return lambda array: request.infer(array, share_inputs=True)
