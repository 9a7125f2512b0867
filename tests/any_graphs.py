"""Sixty small networks that are no plain image classifiers, each with what it takes.

One function makes each kind; a kind comes in several sizes, batches and forms of its outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
node = helper.make_node


@dataclass(frozen=True)
class Case:
    """A network, and what commands have to be told of its inputs."""

    model: onnx.ModelProto
    #: "--input" for networks that take constants beside images.
    constants: str = ""
    #: Shape and type of each input of a sample, for networks that take samples from files.
    samples: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    #: Height and width, of a network that takes any.
    size: tuple[int, int] | None = None
    #: Outputs that cannot be compared.
    integers: tuple[str, ...] = ()

    def write_samples(self, folder: Path, count: int = 16) -> Path:
        """Write smooth random samples."""
        rng = np.random.default_rng(7)
        folder.mkdir(exist_ok=True)
        for index in range(count):
            arrays = {}
            for name, (shape, kind) in self.samples.items():
                if kind == "int64":
                    arrays[name] = rng.integers(0, 16, shape)
                else:
                    arrays[name] = (0.4 * np.cumsum(rng.normal(size=shape), axis=-1)).astype(np.float32)
            np.savez(folder / f"{index}.npz", **arrays)
        return folder


class Net:
    """Nodes and constants, one after the other; random weights by name."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._seed = seed

    def weight(self, name: str, *shape: int, gain: float = 1.4) -> str:
        rng = np.random.default_rng([self._seed, *name.encode()])
        value = rng.normal(size=shape) * gain / np.sqrt(max(1, np.prod(shape[1:])))
        self.constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def value(self, name: str, value: object, kind: type = np.int64) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(self, kind: str, inputs: str, output: str, **attributes: object) -> str:
        outputs = output.split()
        self.nodes.append(node(kind, inputs.split(), outputs, name=f"{kind}_{outputs[0]}", **attributes))
        return outputs[0]

    def conv(self, source: str, name: str, inputs: int, outputs: int, rank: int = 2, **more: object) -> str:
        """A convolution of kernel 3 and its Relu."""
        self.weight(f"{name}_w", outputs, inputs, *[3] * rank)
        self.weight(f"{name}_b", outputs, gain=0.1)
        self.add("Conv", f"{source} {name}_w {name}_b", f"{name}_c", pads=[1] * (2 * rank), **more)
        return self.add("Relu", f"{name}_c", name)

    def stem(self, source: str = "x", channels: int = 3, prefix: str = "") -> str:
        """From an image to a map of 8 channels, half as large."""
        first = self.conv(source, f"{prefix}s1", channels, 8, strides=[2, 2])
        return self.conv(first, f"{prefix}s2", 8, 8)

    def pooled(self, source: str, name: str) -> str:
        """The mean over height and width, (N, channels)."""
        self.add("GlobalAveragePool", source, f"{name}_g")
        return self.add("Flatten", f"{name}_g", name)

    def linear(self, source: str, name: str, inputs: int, outputs: int) -> str:
        self.weight(f"{name}_w", outputs, inputs, gain=3.0)
        return self.add("Gemm", f"{source} {name}_w", name, transB=1)

    def case(
        self,
        inputs: dict[str, Sequence[object]],
        outputs: Sequence[str],
        kinds: dict[str, int] = {},  # noqa: B006 - it is only read
        **more: object,
    ) -> Case:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [
                helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)
                for name, shape in inputs.items()
            ],
            [
                helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None)
                for name in outputs
            ],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return Case(onnx.shape_inference.infer_shapes(model), **more)  # type: ignore[arg-type]


def several_outputs(batch: object, count: int) -> Case:
    """Class scores, a map, an embedding, one score; as many of them as asked."""
    net = Net(count)
    f = net.stem()
    flat = net.pooled(f, "flat")
    net.linear(flat, "scores", 8, 10)
    net.weight("m_w", 2, 8, 1, 1)
    net.add("Conv", f"{f} m_w", "map")
    net.linear(flat, "embedding", 8, 16)
    net.linear(flat, "logit", 8, 1)
    net.add("Sigmoid", "logit", "score")
    names = ["scores", "map", "embedding", "score"]
    return net.case({"x": [batch, 3, SIDE, SIDE]}, names[:count])


def of_rank(rank: int) -> Case:
    """An output of 1 to 5 dimensions."""
    net = Net(rank)
    f = net.stem()
    if rank <= 2:
        net.linear(net.pooled(f, "flat"), "l", 8, 1 if rank == 1 else 12)
        if rank == 1:
            net.value("axis", [1])
            net.add("Squeeze", "l axis", "y")
        else:
            net.add("Tanh", "l", "y")
    elif rank == 3:
        net.value("shape", [0, 8, -1])
        net.add("Reshape", f"{f} shape", "y")
    elif rank == 4:
        net.weight("m_w", 3, 8, 1, 1)
        net.add("Conv", f"{f} m_w", "y")
    else:
        net.value("shape", [0, 2, 4, 16, 16])
        net.add("Reshape", f"{f} shape", "y")
    return net.case({"x": ["n", 3, SIDE, SIDE]}, ["y"])


def nhwc(batch: object, channels: int, back: bool) -> Case:
    """Images with their channels last, as tf2onnx writes them; with a map that is so too."""
    net = Net(channels)
    net.add("Transpose", "x", "xt", perm=[0, 3, 1, 2])
    f = net.stem("xt", channels)
    net.linear(net.pooled(f, "flat"), "y", 8, 6)
    if back:
        net.add("Transpose", f, "map", perm=[0, 2, 3, 1])
    return net.case({"x": [batch, SIDE, SIDE, channels]}, ["y", "map"] if back else ["y"])


def free_sizes(height: int, width: int, pools: bool) -> Case:
    """Any height and width: a map, or class scores."""
    net = Net(height)
    f = net.stem()
    if pools:
        net.linear(net.pooled(f, "flat"), "y", 8, 10)
    else:
        net.weight("m_w", 1, 8, 1, 1)
        net.add("Conv", f"{f} m_w", "m")
        net.add("Sigmoid", "m", "y")
    return net.case({"x": ["n", 3, "h", "w"]}, ["y"], size=(height, width))


def not_square(height: int, width: int) -> Case:
    """A text line, a camera frame."""
    net = Net(width)
    net.linear(net.pooled(net.stem(), "flat"), "y", 8, 10)
    return net.case({"x": ["n", 3, height, width]}, ["y"])


def two_images(batch: object) -> Case:
    """Two pictures of which it says how they relate."""
    net = Net(3)
    for name in ("left", "right"):
        net.linear(net.pooled(net.stem(name, 3, name), f"{name}_f"), f"{name}_e", 8, 8)
    net.add("Sub", "left_e right_e", "difference")
    net.linear("difference", "y", 8, 4)
    return net.case({"left": [batch, 3, SIDE, SIDE], "right": [batch, 3, SIDE, SIDE]}, ["y", "difference"])


def image_and_vector(batch: object, scalar: bool) -> Case:
    """An image, and numbers that scale its features; a threshold for all."""
    net = Net(4)
    net.linear("v", "gain", 6, 8)
    net.add("Mul", f"{net.pooled(net.stem(), 'flat')} gain", "scaled")
    net.linear("scaled", "l", 8, 5)
    inputs: dict[str, Sequence[object]] = {"x": [batch, 3, SIDE, SIDE], "v": [batch, 6]}
    if scalar:
        net.add("Add", "l t", "y")
        inputs["t"] = []
    else:
        net.add("Tanh", "l", "y")
    return net.case(inputs, ["y"], constants="v=1,-0.5,0.25,2,1,0.5" + (" t=0.5" if scalar else ""))


def sampled_pair(batch: object) -> Case:
    """The same, with samples from files."""
    shapes = {"x": ((3, SIDE, SIDE), "float32"), "v": ((6,), "float32")}
    return Case(image_and_vector(batch, False).model, samples=shapes)


def tokens(batch: object, length: int) -> Case:
    """Numbers of words: an embedding, and a mean over them."""
    net = Net(length)
    net.weight("table", 16, 8)
    net.add("Gather", "table ids", "e")
    net.weight("w1", 8, 8)
    net.add("MatMul", "e w1", "h")
    net.add("Relu", "h", "r")
    net.weight("w2", 8, 8)
    net.add("MatMul", "r w2", "words")
    net.add("ReduceMean", "words", "y", axes=[1], keepdims=0)
    return net.case(
        {"ids": [batch, length]}, ["y", "words"], {"ids": TensorProto.INT64},
        samples={"ids": ((length,), "int64")},
    )  # fmt: skip


def one_dimensional(batch: object, length: int, pools: bool) -> Case:
    """A signal: three convolutions along time."""
    net = Net(length)
    f = net.conv("x", "c1", 4, 8, 1, strides=[2])
    f = net.conv(f, "c2", 8, 8, 1)
    if pools:
        net.linear(net.pooled(f, "flat"), "y", 8, 5)
    else:
        net.weight("m_w", 6, 8, 1)
        net.add("Conv", f"{f} m_w", "y")
    return net.case({"x": [batch, 4, length]}, ["y"], samples={"x": ((4, length), "float32")})


def three_dimensional(batch: object, pools: bool) -> Case:
    """A volume."""
    net = Net(5)
    f = net.conv("x", "c1", 2, 8, 3, strides=[2] * 3)
    f = net.conv(f, "c2", 8, 8, 3)
    if pools:
        net.linear(net.pooled(f, "flat"), "y", 8, 5)
    else:
        net.weight("m_w", 3, 8, 1, 1, 1)
        net.add("Conv", f"{f} m_w", "y")
    return net.case({"x": [batch, 2, 8, 16, 16]}, ["y"], samples={"x": ((2, 8, 16, 16), "float32")})


def matrices(batch: object) -> Case:
    """A row of numbers: no convolution at all."""
    net = Net(6)
    net.add("Relu", net.linear("x", "h", 12, 16), "r")
    net.linear("r", "y", 16, 4)
    return net.case({"x": [batch, 12]}, ["y"], samples={"x": ((12,), "float32")})


def recogniser(batch: object, form: str) -> Case:
    """A text recogniser: time comes first, or the classes, or several steps share the batch's axis."""
    net = Net(8)
    net.add("ReduceMean", net.stem(), "m", axes=[2], keepdims=0)
    net.add("Transpose", "m", "steps", perm=[2, 0, 1])
    net.weight("w1", 8, 8)
    net.add("MatMul", "steps w1", "q")
    net.add("Relu", "q", "qr")
    net.weight("w2", 8, 6)
    net.add("MatMul", "qr w2", "z")
    if form == "time first":
        net.add("Identity", "z", "y")
    elif form == "classes first":
        net.add("Transpose", "z", "y", perm=[2, 0, 1])
    else:
        net.add("Transpose", "z", "zt", perm=[1, 0, 2])
        net.value("shape", [-1, 6])
        net.add("Reshape", "zt shape", "y")
    return net.case({"x": [batch, 3, SIDE, SIDE]}, ["y"])


def with_indices(batch: object) -> Case:
    """Scores beside the index of the best."""
    net = Net(9)
    net.linear(net.pooled(net.stem(), "flat"), "scores", 8, 10)
    net.add("ArgMax", "scores", "best", axis=1, keepdims=0)
    return net.case(
        {"x": [batch, 3, SIDE, SIDE]}, ["scores", "best"], {"best": TensorProto.INT64}, integers=("best",)
    )


def _cases() -> dict[str, Callable[[], Case]]:
    made: dict[str, Callable[[], Case]] = {}

    def put(name: str, make: Callable[..., Case], *arguments: object) -> None:
        made[name] = lambda: make(*arguments)

    for batch in ("n", 1, 4):
        for count in (2, 3, 4):
            put(f"{count} outputs, batch {batch}", several_outputs, batch, count)
        for form in ("time first", "classes first", "steps in the batch"):
            put(f"{form}, batch {batch}", recogniser, batch, form)
        put(f"two images, batch {batch}", two_images, batch)
        put(f"index beside scores, batch {batch}", with_indices, batch)
        put(f"matrices, batch {batch}", matrices, batch)
        for channels, back in ((3, False), (1, True), (4, True)):
            put(f"NHWC of {channels}, batch {batch}", nhwc, batch, channels, back)
    for rank in range(1, 6):
        put(f"rank {rank}", of_rank, rank)
    for height, width, pools in ((32, 32, True), (32, 64, True), (48, 32, False), (64, 64, False)):
        put(f"any size, {height} x {width}", free_sizes, height, width, pools)
    for height, width in ((32, 96), (64, 32), (48, 40)):
        put(f"{height} x {width}", not_square, height, width)
    for batch, scalar in (("n", False), ("n", True), (1, True)):
        put(f"image and vector, batch {batch}, scalar {scalar}", image_and_vector, batch, scalar)
    for batch in ("n", 1):
        put(f"image and vector from files, batch {batch}", sampled_pair, batch)
    for batch, length in (("n", 8), (1, 12)):
        put(f"tokens, batch {batch}", tokens, batch, length)
    for batch, length, pools in (("n", 64, False), ("n", 32, True), (1, 64, True), (4, 32, False)):
        put(f"1-D, batch {batch}, length {length}", one_dimensional, batch, length, pools)
    for batch, pools in (("n", False), (1, True)):
        put(f"3-D, batch {batch}", three_dimensional, batch, pools)
    return made


CASES = _cases()
