"""Small graphs like networks that people have, of each kind that tools refused or measured wrongly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from foreign_graphs import constant, drawn, node
from onnx import TensorProto, helper, numpy_helper

Part = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


@dataclass(frozen=True)
class Like:
    """A graph from `x`, and what its images are: (height, width), and the options that say so."""

    parts: tuple[Part, ...]
    outputs: tuple[str, ...] = ("y",)
    size: tuple[int, int] = (64, 64)
    #: Of the input as the file declares it; the images' where it is empty.
    shape: tuple[object, ...] = ()
    options: tuple[str, ...] = ("--pixels", "1")
    #: Whether weights lie in a file beside.
    beside: bool = False

    def save(self, path: Path) -> Path:
        """Write the file."""
        graph = helper.make_graph(
            [item for nodes, _ in self.parts for item in nodes],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape or ("n", 3, *self.size))],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs],
            [item for _, constants in self.parts for item in constants],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        beside = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 1000}
        onnx.save(model, path, **(beside if self.beside else {}))
        return path


def _backbone(source: str = "x", activation: Callable[[str, str], Part] | None = None) -> Part:
    """Three convolutions to a map f of 32 channels, an eighth as large."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    for index, (inputs, outputs) in enumerate(((3, 16), (16, 32), (32, 32))):
        made, result = f"c{index}", "f" if index == 2 else f"r{index}"
        read = [source, f"w{index}", f"b{index}"]
        nodes.append(node("Conv", read, [made], name=f"conv{index}", strides=[2, 2], pads=[1] * 4))
        constants += [drawn(f"w{index}", outputs, inputs, 3, 3), drawn(f"b{index}", outputs, gain=0.1)]
        after = activation or (lambda before, end: ([node("Relu", [before], [end], name=f"{end}_relu")], []))
        more = after(made, result)
        nodes, constants, source = [*nodes, *more[0]], [*constants, *more[1]], result
    return nodes, constants


def _head(result: str = "y", source: str = "f") -> Part:
    nodes = [
        node("GlobalAveragePool", [source], ["g"], name="gap"),
        node("Flatten", ["g"], ["flat"], name="flatten"),
        node("Gemm", ["flat", "wf", "bf"], [result], name="fc", transB=1),
    ]
    return nodes, [drawn("wf", 10, 32), drawn("bf", 10, gain=0.1)]


def _hard_swish(before: str, end: str) -> Part:
    names = [f"{end}_{part}" for part in ("three", "zero", "six")]
    constants = [constant(name, value) for name, value in zip(names, (3.0, 0.0, 6.0), strict=True)]
    nodes = [
        node("Add", [before, names[0]], [f"{end}_p"], name=f"{end}_add"),
        node("Clip", [f"{end}_p", *names[1:]], [f"{end}_q"], name=f"{end}_clip"),
        node("Mul", [before, f"{end}_q"], [f"{end}_m"], name=f"{end}_mul"),
        node("Div", [f"{end}_m", names[2]], [end], name=f"{end}_div"),
    ]
    return nodes, constants


def _operator(before: str, end: str) -> Part:
    return [node("HardSwish", [before], [end], name=f"{end}_swish")], []


def _depth() -> Part:
    """A map that int8 ruins: one channel of what its convolution reads is huge, and of no weight."""
    scale = np.ones((1, 32, 1, 1), np.float32)
    scale[0, 0] = 300
    weight = numpy_helper.to_array(drawn("wd", 8, 32, 1, 1)).copy()
    weight[:, 0] = 0
    nodes = [
        node("Mul", ["f", "s"], ["fs"], name="scale"),
        node("MaxPool", ["fs"], ["fp"], name="pool", kernel_shape=[3, 3], pads=[1] * 4),
        node("Conv", ["fp", "wd"], ["d"], name="depth1"),
        node("Relu", ["d"], ["dr"], name="depth_relu"),
        node("Conv", ["dr", "wd2"], ["depth"], name="depth2"),
    ]
    return nodes, [constant("s", scale), constant("wd", weight), drawn("wd2", 1, 8, 1, 1)]


def _map(activation: str = "Sigmoid") -> Part:
    nodes = [node("Conv", ["f", "wo"], ["o"], name="out"), node(activation, ["o"], ["y"], name="act")]
    return nodes, [drawn("wo", 1, 32, 1, 1)]


def _sequence() -> Part:
    """(time, batch, channels) inside, as before an LSTM."""
    nodes = [
        node("ReduceMean", ["f"], ["m"], name="mean", axes=[2], keepdims=0),
        node("Transpose", ["m"], ["t"], name="there", perm=[2, 0, 1]),
        node("MatMul", ["t", "wm1"], ["q"], name="mm1"),
        node("Relu", ["q"], ["qr"], name="mm_relu"),
        node("MatMul", ["qr", "wm2"], ["z"], name="mm2"),
        node("Transpose", ["z"], ["y"], name="back", perm=[1, 0, 2]),
    ]
    return nodes, [drawn("wm1", 32, 32), drawn("wm2", 32, 12)]


def _boxes() -> Part:
    """Boxes in pixels and scores of 0..1 in one output."""
    nodes = [
        node("Conv", ["f", "wb"], ["box0"], name="boxes"),
        node("Sigmoid", ["box0"], ["box1"], name="box_sigmoid"),
        node("Mul", ["box1", "stride"], ["box2"], name="pixels"),
        node("Conv", ["f", "ws", "bs"], ["s0"], name="scores"),
        node("Sigmoid", ["s0"], ["s1"], name="score_sigmoid"),
        node("Concat", ["box2", "s1"], ["cat"], name="cat", axis=1),
        node("Reshape", ["cat", "wide"], ["y"], name="flat"),
    ]
    constants = [
        drawn("wb", 4, 32, 1, 1),
        drawn("ws", 6, 32, 1, 1, gain=1.5),
        constant("bs", np.full(6, -3.0)),
        constant("stride", 400.0),
        constant("wide", [0, 10, -1], np.int64),
    ]
    return nodes, constants


def _zero_branch() -> Part:
    nodes = [
        node("Conv", ["f", "wz", "bz"], ["z"], name="zero", pads=[1] * 4),
        node("Add", ["f", "z"], ["sum"], name="add"),
        node("Relu", ["sum"], ["k"], name="k_relu"),
    ]
    return nodes, [constant("wz", np.zeros((32, 32, 3, 3))), constant("bz", np.zeros(32))]


def _wide() -> Part:
    nodes = [
        node("Relu", ["hid"], ["hr"], name="hid_relu"),
        node("Gemm", ["hr", "big"], ["y"], name="fc2", transB=1),
    ]
    return nodes, [drawn("big", 500, 10)]


def _of_bytes() -> Part:
    """The first weights of a network that takes pixels of 0..255."""
    nodes, constants = _backbone()
    return nodes, [constant("w0", numpy_helper.to_array(constants[0]) / 64), *constants[1:]]


_TURNED = [node("Transpose", ["x"], ["xt"], name="nhwc", perm=[0, 3, 1, 2])], []
_SOFTMAX = [node("Softmax", ["l"], ["y"], name="softmax", axis=1)], []
_PIXELS = ("--pixels", "1")

LIKE = {
    "batch of -1": Like((_backbone(), _head()), shape=(-1, 3, 64, 64)),
    "everything -1": Like(
        (_backbone(), _head()), shape=(-1, 3, -1, -1), options=(*_PIXELS, "--size", "64")
    ),
    "batch not first": Like((_backbone(), _sequence())),
    "not square": Like((_backbone(), _head()), size=(96, 160)),
    "free width": Like(
        (_backbone(), _head()), size=(48, 96), shape=("n", 3, 48, "w"), options=(*_PIXELS, "--size", "48x96")
    ),
    "NHWC": Like((_TURNED, _backbone("xt"), _head()), shape=("n", 64, 64, 3)),
    "second output ruined": Like((_backbone(), _head(), _depth()), ("y", "depth")),
    "softmax": Like((_backbone(), _head("l"), _SOFTMAX)),
    "hard swish spelled out": Like((_backbone(activation=_hard_swish), _head())),
    "hard swish": Like((_backbone(activation=_operator), _head())),
    "boxes and scores": Like((_backbone(), _boxes()), size=(128, 128)),
    "pixels of 0..255": Like((_of_bytes(), _head()), options=("--pixels", "255")),
    "one output, ruined": Like((_backbone(), _depth()), ("depth",)),
    "free size": Like(
        (_backbone(), _map()), size=(64, 96), shape=("n", 3, "h", "w"), options=(*_PIXELS, "--size", "64x96")
    ),
    "weights beside": Like((_backbone(), _head("hid"), _wide()), beside=True),
    "a branch of zeros": Like((_backbone(), _zero_branch(), _head(source="k")), size=(128, 128)),
}  # fmt: skip
