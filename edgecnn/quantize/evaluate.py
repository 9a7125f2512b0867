"""Logits of a model that is not written yet."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edgecnn.quantize.graph import Graph
from edgecnn.runtime.ort import open_session

#: Images per inference where the model takes any number.
_BATCH = 8


def before_softmax(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """Return a model that gives what enters a Softmax at its end, and the name of that output.

    A model that does not end in one is returned as it is, with the name of its first output.
    """
    name = model.graph.output[0].name
    last = Graph(model).producer(name)
    if last is None or last.op_type not in ("Softmax", "LogSoftmax"):
        return model, name
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(helper.make_empty_tensor_value_info(last.input[0]))
    return probe, last.input[0]


def logits(model: onnx.ModelProto, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the first output for images, flattened to (N, values); a fixed batch is filled up.

    Of a network that ends in a Softmax, what enters it: probabilities near 0 and 1 hide what changed.
    """
    model, name = before_softmax(model)
    session = open_session(model.SerializeToString())
    source = session.get_inputs()[0]
    batch = source.shape[0] if isinstance(source.shape[0], int) else None
    size, count = batch or _BATCH, len(images)
    if batch:
        images = np.concatenate([images, np.repeat(images[-1:], -count % size, axis=0)])
    parts = [
        session.run([name], {source.name: images[start : start + size]})[0]
        for start in range(0, len(images), size)
    ]
    joined = np.concatenate(parts)[:count]
    return np.asarray(joined.reshape(count, -1))
