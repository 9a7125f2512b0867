"""Small networks as other tools write them: what they have in common, and the parts that differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.quantize.quantize_file import quantize_file
from edgecnn.quantize.quantize_request import QuantizeRequest
from edgecnn.quantize.write_file import QuantizedFile
from edgecnn.runtime.ort_engine import open_session
from edgecnn.runtime.preparation_options import PreparationOptions

SIDE = 32
node = helper.make_node


def constant(name: str, value: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def drawn(name: str, *shape: int, gain: float = 1.4, seed: int = 0) -> onnx.TensorProto:
    rng = np.random.default_rng([seed, *name.encode()])
    return constant(name, rng.normal(size=shape) * gain / np.sqrt(np.prod(shape[1:])))


def convolution(source: str, name: str, result: str, inputs: int = 8, side: int = 3, **more: object):
    """A convolution to 8 channels, 3 x 3 unless said otherwise: its node and its constants."""
    pads = [side // 2] * 4
    made = node("Conv", [source, f"{name}_w", f"{name}_b"], [result], name=name, pads=pads, **more)
    return [made], [drawn(f"{name}_w", 8, inputs, side, side), drawn(f"{name}_b", 8, gain=0.1)]


def stem():
    """From the image x to a map f of 8 channels, half as large; of its pixels, which int8 is fast for."""
    first, second = convolution("x", "c1", "a", 3, 1, strides=[2, 2]), convolution("r", "c2", "b")
    relus = [node("Relu", ["a"], ["r"], name="r1")], [node("Relu", ["b"], ["f"], name="r2")]
    return [*first[0], *relus[0], *second[0], *relus[1]], [*first[1], *second[1]]


def head(source: str = "f", result: str = "y", channels: int = 8):
    """From a map to 10 logits."""
    nodes = [
        node("GlobalAveragePool", [source], ["pooled"], name="pool"),
        node("Flatten", ["pooled"], ["flat"], name="flatten"),
        node("Gemm", ["flat", "fw", "fb"], [result], name="fc", transB=1),
    ]
    return nodes, [drawn("fw", 10, channels, gain=4), drawn("fb", 10, gain=0.1)]


def model_of(
    *parts: tuple[Sequence[onnx.NodeProto], Sequence[onnx.TensorProto]],
    shape: Sequence[object] | None = ("n", 3, SIDE, SIDE),
    output: Sequence[object] | None = None,
    opset: int = 17,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A network from x to y, of parts that give nodes and constants."""
    graph = helper.make_graph(
        [item for nodes, _ in parts for item in nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [item for _, constants in parts for item in constants],
    )
    sets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


def run(model: onnx.ModelProto | Path, images: np.ndarray, output: str | None = None) -> np.ndarray:
    """What ONNX Runtime computes, node by node as it stands there."""
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = open_session(content, optimize=False)
    return session.run([output] if output else None, {session.get_inputs()[0].name: images})[0]


def written(model: onnx.ModelProto, folder: Path, **options: object) -> QuantizedFile:
    """What quantizing a model gives, on few images."""
    onnx.save(model, folder / "float.onnx")
    few = {"calib_images": 16, "check_images": 16, **options}
    if "size" in few:
        few["preparation"] = PreparationOptions(size=few.pop("size"))
    if few.get("precision") != "float16":
        few = {"effort": "fast", **few}
    return quantize_file(QuantizeRequest(folder / "float.onnx", folder / "made.onnx", **few))


def images(count: int = 4, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, as if normalized, (N, 3, 32, 32)."""
    small = np.random.default_rng(seed).normal(size=(count, 3, 4, 4), scale=0.7)
    return np.kron(small, np.ones((8, 8))).astype(np.float32)


def decibels(reference: np.ndarray, output: np.ndarray) -> float:
    noise = np.sum((reference.astype(np.float64) - output) ** 2)
    return float(10 * np.log10(np.sum(reference.astype(np.float64) ** 2) / max(noise, 1e-300)))
