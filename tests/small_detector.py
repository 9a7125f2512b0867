"""Networks that find bright cells, exact and without training: YOLOv8's layout, and a segmenter."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgecnn.tasks.boxes import Boxes

#: Side of the input; cells of 8, 16 and 32 pixels: 64, 16 and 4.
SIDE, STRIDES = 64, (8, 16, 32)


def _weights(stride: int) -> np.ndarray:
    """Six channels for a cell: centre and sides are left as they are; class 0 is red, class 1 is green."""
    values = np.zeros((6, 3, stride, stride), np.float32)
    values[:4] = np.random.default_rng(stride).normal(0, 0.02, (4, 3, 1, 1)) / stride
    values[4, 0] = values[5, 1] = 24 / stride**2
    values[4, 1] = values[5, 0] = -24 / stride**2
    return values


def detector(path: Path) -> Path:
    """Write a float detector that takes RGB of 0..1, (N, 3, 64, 64), and gives (N, 4 + 2, 84)."""
    nodes, values, maps, places = [], [], [], []
    for stride in STRIDES:
        cells = SIDE // stride
        values += [
            numpy_helper.from_array(_weights(stride), f"w{stride}"),
            numpy_helper.from_array(np.float32([0, 0, 0, 0, -12, -12]), f"b{stride}"),
            numpy_helper.from_array(np.array([0, 6, cells * cells]), f"s{stride}"),
        ]
        nodes += [
            helper.make_node("Conv", ["x", f"w{stride}", f"b{stride}"], [f"m{stride}"], f"cells{stride}",
                             strides=[stride, stride]),
            helper.make_node("Reshape", [f"m{stride}", f"s{stride}"], [f"f{stride}"]),
        ]  # fmt: skip
        maps.append(f"f{stride}")
        rows, columns = np.mgrid[:cells, :cells].reshape(2, -1)
        sides = np.full(cells * cells, stride)
        places.append(np.stack([(columns + 0.5) * stride, (rows + 0.5) * stride, sides, sides]))
    values += [
        numpy_helper.from_array(np.concatenate(places, axis=1)[None].astype(np.float32), "grid"),
        numpy_helper.from_array(np.array([4, 2]), "parts"),
    ]
    nodes += [
        helper.make_node("Concat", maps, ["all"], "join", axis=2),
        helper.make_node("Split", ["all", "parts"], ["offsets", "logits"], "split", axis=1),
        helper.make_node("Add", ["offsets", "grid"], ["boxes"], "place"),
        helper.make_node("Sigmoid", ["logits"], ["scores"], "sigmoid"),
        helper.make_node("Concat", ["boxes", "scores"], ["output0"], "output", axis=1),
    ]
    return _saved(path, nodes, values, "output0", ["n", 6, 84])


def segmenter(path: Path) -> Path:
    """Write a float segmenter of three classes, dark, red and green, that gives logits, (N, 3, 64, 64)."""
    weights = np.zeros((3, 3, 3, 3), np.float32)
    weights[1, 0], weights[1, 1], weights[2, 1], weights[2, 0] = 1, -1, 1, -1
    values = [
        numpy_helper.from_array(weights, "w"),
        numpy_helper.from_array(np.float32([3, 0, 0]), "b"),
    ]
    node = helper.make_node("Conv", ["x", "w", "b"], ["logits"], "pixels", pads=[1, 1, 1, 1])
    return _saved(path, [node], values, "logits", ["n", 3, SIDE, SIDE])


def _saved(path, nodes, values, name, shape) -> Path:
    graph = helper.make_graph(
        nodes, "cells",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        values,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def pictures(folder: Path, count: int) -> tuple[list[Path], list[Boxes], list[np.ndarray]]:
    """Write pictures with red and green squares where cells are; return their boxes and masks too."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(count)
    files, boxes, masks = [], [], []
    for number in range(count):
        pixels = generator.integers(0, 90, (2 * SIDE, 2 * SIDE, 3)).astype(np.uint8)
        mask, found, kinds = np.zeros((2 * SIDE, 2 * SIDE), np.uint8), [], []
        # One in each half, so that none lies on another; pictures are twice as large as the input.
        for half in range(2):
            stride = 2 * int(generator.choice([8, 16]))
            x = half * SIDE + stride * int(generator.integers(0, SIDE // stride))
            y = stride * int(generator.integers(0, 2 * SIDE // stride))
            kind = int(generator.integers(0, 2))
            pixels[y : y + stride, x : x + stride] = [(255, 30, 30), (30, 255, 30)][kind]
            mask[y : y + stride, x : x + stride] = kind + 1
            found.append([x, y, x + stride, y + stride])
            kinds.append(kind)
        files.append(folder / f"{number:03}.png")
        Image.fromarray(pixels).save(files[-1])
        boxes.append(Boxes(found, kinds))
        masks.append(mask)
    return files, boxes, masks
