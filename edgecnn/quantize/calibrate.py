"""Stream real images through a float model and observe its tensors. Memory does not grow with the images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.errors import DataError
from edgecnn.quantize.observers import Observer
from edgecnn.runtime.ort import open_session


def observe(
    model: onnx.ModelProto, tensors: list[str], batches: Iterable[npt.NDArray[np.float32]]
) -> dict[str, Observer]:
    """Return an observer per tensor after the model has seen all batches, each (N, C, H, W) float32.

    Raises DataError if there are no batches, or if a tensor holds values that are not finite.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    inputs = {value.name for value in probe.graph.input}
    outputs = {value.name for value in probe.graph.output}
    inner = [name for name in tensors if name not in inputs]
    probe.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in inner if name not in outputs
    )
    session = open_session(probe.SerializeToString())
    observers = {name: Observer(name) for name in tensors}
    input_name = model.graph.input[0].name
    seen = False
    for batch in batches:
        seen = True
        if input_name in observers:
            observers[input_name].update(batch)
        values = session.run(inner, {input_name: batch}) if inner else []
        for name, value in zip(inner, values, strict=True):
            observers[name].update(value)
    if not seen:
        raise DataError("there are no calibration images", hint="give --calib a folder of images")
    return observers
