"""Layers in int8 and in float between int8 neighbours, in ONNX Runtime with one thread: when float is faster.

    python benchmarks/slow_kernels.py first      # convolutions of 1, 3 and 4 channels
    python benchmarks/slow_kernels.py depthwise  # by channels, kernel and side

Prints microseconds of a small network in which one layer is int8, then float. The quantizer's own
`slow_kernels.py` has the rules that follow.
"""

import argparse
import itertools
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.quantize.effort_levels import PLAIN
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.quantizer import Quantizer
from edgecnn.runtime.ort_engine import open_session
from edgecnn.targets import CPU

ROUNDS, RUNS = 60, 5


class Layers:
    """A chain of convolutions with ReLU from `x`."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._last = "x"

    def add(
        self, name: str, inputs: int, outputs: int, side: int = 1, group: int = 1, stride: int = 1
    ) -> None:
        """Append a convolution and a ReLU."""
        fan = inputs // group * side * side
        weight = self._rng.normal(size=(outputs, inputs // group, side, side)) * np.sqrt(2 / fan)
        self.weights.append(numpy_helper.from_array(weight.astype(np.float32), f"{name}_w"))
        self.nodes.append(
            helper.make_node(
                "Conv", [self._last, f"{name}_w"], [f"{name}_c"], name=name, group=group,
                pads=[side // 2] * 4, strides=[stride] * 2,
            )
        )  # fmt: skip
        self.nodes.append(helper.make_node("Relu", [f"{name}_c"], [f"{name}_r"], name=f"{name}_relu"))
        self._last = f"{name}_r"

    def model(self, *shape: int) -> onnx.ModelProto:
        """Return them as a network of an input of this shape."""
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes, "g", [value("x", TensorProto.FLOAT, shape)],
            [value(self._last, TensorProto.FLOAT, None)], self.weights,
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def first(inputs: int, outputs: int, side: int, stride: int, size: int) -> onnx.ModelProto:
    layers = Layers()
    layers.add("it", inputs, outputs, side, stride=stride)
    layers.add("after", outputs, 32)
    layers.add("last", 32, 16)
    return layers.model(1, inputs, size, size)


def depthwise(channels: int, side: int, height: int, width: int) -> onnx.ModelProto:
    layers = Layers()
    layers.add("before", 32, channels)
    layers.add("it", channels, channels, side, channels)
    layers.add("after", channels, 32)
    layers.add("last", 32, 16)
    return layers.model(1, 32, height, width)


def microseconds(model: onnx.ModelProto) -> list[float]:
    """Return the time of the network with its layer `it` in int8, in float, and all in float."""
    prepared = prepare(model)
    shape = [dim.dim_value for dim in prepared.graph.input[0].type.tensor_type.shape.dim]
    images = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    # Without the rules, which would leave it float.
    scheme = type(CPU)(**{**vars(CPU), "skips_slow_kernels": False})
    quantizer = Quantizer(prepared, lambda: [images], scheme)
    models = [quantizer(PLAIN).model, quantizer(PLAIN, {"it": "to be measured"}).model, prepared]
    sessions = [open_session(item.SerializeToString(), threads=1) for item in models]
    taken: list[list[float]] = [[] for _ in sessions]
    for _ in range(ROUNDS):
        for session, times in zip(sessions, taken, strict=True):
            runs = []
            for _ in range(RUNS):
                start = time.perf_counter()
                session.run(None, {"x": images})
                runs.append(time.perf_counter() - start)
            times.append(min(runs))
    return [float(np.quantile(times, 0.25)) * 1e6 for times in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=("first", "depthwise"))
    which = parser.parse_args().which
    if which == "first":
        places = [(3, 2, 224), (3, 1, 96), (7, 2, 224), (5, 2, 224), (3, 2, 48)]
        rows = [
            (f"{side} x {side} / {stride} at {size}, {inputs} to {outputs}",
             first(inputs, outputs, side, stride, size))
            for (side, stride, size), inputs, outputs in itertools.product(places, (1, 3, 4), (8, 16, 32, 64))
        ]  # fmt: skip
    else:
        maps = [(3, 56, 56), (3, 14, 14), (5, 14, 14), (5, 7, 7), (5, 3, 96)]
        rows = [
            (f"{side} x {side} at {height} x {width}, {channels}", depthwise(channels, side, height, width))
            for (side, height, width), channels in itertools.product(
                maps, (16, 24, 40, 72, 96, 104, 200, 240)
            )
        ]
    print(f"{'':34} {'int8':>7} {'float':>7} {'ratio':>6}   all float")
    for name, model in rows:
        int8, left, whole = microseconds(model)
        print(f"{name:34} {int8:7.0f} {left:7.0f} {int8 / left:6.2f}   {whole:9.0f}", flush=True)


if __name__ == "__main__":
    main()
