"""Single weighted layers with what enters them, for tests of the repair's methods."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.repair.walk import Layer
from edgecnn.schemes import PORTABLE


def node_of(op: str, bias: bool = False, **attributes) -> onnx.NodeProto:
    return helper.make_node(op, ["x", "w", "b"] if bias else ["x", "w"], ["c"], name="layer", **attributes)


def layer_of(
    op: str,
    weight: np.ndarray,
    exact: np.ndarray,
    inexact: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    clip: tuple[float, float] | None = None,
    **attributes,
) -> Layer:
    """A layer whose input's range reaches from -4 to 4, so that a step is 4 / 127."""
    constants = {"w": weight}
    if bias is not None:
        constants["b"] = bias
    nodes = [node_of(op, bias is not None, **attributes)]
    if clip is not None:
        constants |= {"low": np.float32(clip[0]), "high": np.float32(clip[1])}
        nodes.append(helper.make_node("Clip", ["c", "low", "high"], ["y"], name="clip"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", onnx.TensorProto.FLOAT, exact.shape)],
        [value(nodes[-1].output[0], onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    inexact = exact if inexact is None else inexact
    return Layer(
        nodes[0], Graph(model), exact.astype(np.float32), inexact.astype(np.float32), (-4.0, 4.0), PORTABLE
    )


def on_grid(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Inputs that quantization does not change."""
    return (rng.integers(-120, 121, shape) * np.float32(4 / 127)).astype(np.float32)


def correlated(rng: np.random.Generator, count: int, inputs: int) -> np.ndarray:
    """Rows whose entries have much in common, as the channels of a network do; nearly of deviation one."""
    common = rng.normal(size=(count, 2)) @ rng.normal(size=(2, inputs))
    return (0.6 * common + 0.4 * rng.normal(size=(count, inputs))).astype(np.float32)


def second_moments(rows: np.ndarray) -> np.ndarray:
    """E[x x^T] about the mean, (1, k, k)."""
    return np.cov(rows.astype(np.float64), rowvar=False, bias=True)[None]


def cost(steps: np.ndarray, target: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Error of each output under the moments, (g, outputs)."""
    return np.einsum("gok,gkl,gol->go", steps - target, square, steps - target)
