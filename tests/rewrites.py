"""Graphs with drawn weights for the rewrites before calibration, and what a rewrite must leave as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper, parser

from edgecnn.quantize.ranges.calibrate import observe
from edgecnn.quantize.ranges.channel_statistics import ChannelObserver
from edgecnn.runtime.ort_engine import open_session

Constants = Mapping[str, "tuple[int, ...] | np.ndarray"]


def graph_of(nodes: str, constants: Constants, seed: int = 0) -> onnx.ModelProto:
    """Return a model from x (n, 4, 8, 8) to y. A constant given by its shape is drawn."""
    rng = np.random.default_rng(seed)
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (float[n, 4, 8, 8] x) => (float y) {{ {nodes} }}'
    )
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}{index}"
    read = {name for node in model.graph.node for name in node.input}
    for name, value in constants.items():
        if name in read:
            drawn = (
                rng.normal(size=value).astype(np.float32) if isinstance(value, tuple) else np.asarray(value)
            )
            model.graph.initializer.append(numpy_helper.from_array(drawn, name))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model.graph.output[0].CopyFrom(onnx.shape_inference.infer_shapes(model).graph.output[0])
    return model


def images(count: int = 8, scale: float = 1.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4, 8, 8), scale=scale).astype(np.float32)


def run(model: onnx.ModelProto, batch: np.ndarray) -> np.ndarray:
    session = open_session(model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: batch})[0]


def channels_of(model: onnx.ModelProto, tensors: Sequence[str]) -> dict[str, ChannelObserver]:
    """What `images()` show of each channel."""
    return observe(model, [], [images()], channels=tensors).channels


def assert_same_function(first: onnx.ModelProto, second: onnx.ModelProto, scale: float = 1.0) -> None:
    """To 1e-5 of the largest output, on new images and on ones far beyond those observed."""
    onnx.checker.check_model(second, full_check=True)
    for factor in (scale, 100 * scale, 1e-3 * scale):
        batch = images(16, factor, seed=2)
        expected = run(first, batch)
        assert np.abs(run(second, batch) - expected).max() <= 1e-5 * np.abs(expected).max()


def same(model: onnx.ModelProto, other: onnx.ModelProto, batch: np.ndarray, rtol: float = 1e-4) -> bool:
    """Whether two models give the same output, within `rtol` of its largest magnitude."""
    expected, given = run(model, batch), run(other, batch)
    if expected.shape != given.shape or not np.all(np.isfinite(expected)):
        return False
    return bool(np.abs(given - expected).max() <= rtol * np.abs(expected).max())


def constant(model: onnx.ModelProto, name: str) -> np.ndarray:
    return next(numpy_helper.to_array(item) for item in model.graph.initializer if item.name == name)
