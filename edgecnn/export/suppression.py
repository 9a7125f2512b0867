"""Decoding and non-maximum suppression as the end of a graph, which then gives boxes that need nothing more.

The output is that of end-to-end detectors: (images, boxes, 6) of corners in pixels of the input, score and
class, the best first, rows of score 0 where an image has fewer. They are the boxes of `tasks.decoders`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.errors import InvalidValueError, ParityError
from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.quantize.graph.edit import copy_of
from edgecnn.quantize.graph.free_names import Names
from edgecnn.tasks import anchors
from edgecnn.tasks.decoder_settings import number
from edgecnn.tasks.decoders import DECODERS, BoxDecoder
from edgecnn.tasks.decoders.box_coding import MOST_GROWTH, coding

#: What the nodes that are added are called.
PREFIX = "nms/"
#: The output in place of the network's own.
OUTPUT = "detections"
#: A box of the decoder is in the graph's if all sides of one of the same class are so near, in pixels; and
#: the share of boxes that have to be.
_SAME, _FOUND = 0.5, 0.99

Settings = Mapping[str, Any]
Array = npt.NDArray[Any]


def with_suppression(
    model: onnx.ModelProto, decoder: Settings, size: Size
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Return a copy of a model that ends in boxes, and the decoder that reads these.

    `decoder` is what reads the model's own outputs, for inputs of a size. Raises InvalidValueError for one
    that has no form as a graph.
    """
    name = str(decoder["name"])
    if name not in _ENDS:
        raise InvalidValueError(
            f"the decoder {name} has no form as a graph", hint=f"`nms` is for: {', '.join(_ENDS)}"
        )
    settings = DECODERS.get(name).settled(decoder)
    result = copy_of(model)
    graph = _Graph(result)
    outputs = {item.name: graph.wide(item) for item in model.graph.output}
    corners, scores, shape = _ENDS[name](graph, outputs, settings, size)
    limit = _selected(graph, corners, scores, shape, settings)
    batch = model.graph.output[0].type.tensor_type.shape.dim[0]
    sizes = [batch.dim_param or batch.dim_value, limit, 6]
    del result.graph.output[:]
    result.graph.output.append(helper.make_tensor_value_info(graph.result, TensorProto.FLOAT, sizes))
    return result, {"name": "end-to-end", "score": number(settings, "score"), "limit": limit}


def demand_same_boxes(raw: Sequence[Output], ended: Sequence[Output], decoder: Settings, size: Size) -> None:
    """Raise ParityError if a graph's boxes are not those that its decoder makes of its own outputs."""
    row = DECODERS.get(str(decoder["name"]))
    end = DECODERS.get("end-to-end")
    assert isinstance(row, BoxDecoder) and isinstance(end, BoxDecoder)
    kept = {"score": number(row.settled(decoder), "score"), "limit": ended[0].values.shape[1]}
    count = found = 0
    for ours, theirs in zip(row.decode(raw, decoder, size), end.decode(ended, kept, size), strict=True):
        # Not by their overlap: a box that lies outside of the input has no area.
        apart = np.abs(ours.corners[:, None] - theirs.corners[None]).max(axis=2)
        apart[ours.classes[:, None] != theirs.classes[None]] = np.inf
        count += max(len(ours), len(theirs))
        found += int((apart.min(axis=1, initial=np.inf) < _SAME).sum())
    if found < _FOUND * count:
        raise ParityError(
            f"of {count} boxes that the decoder makes, the graph with suppression finds {found}",
            hint="this is a defect of the export: please report it with the command line",
        )


class _Graph:
    """Nodes at a model's end; each method returns the tensor that it makes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._tensors, self._nodes = Names.of_tensors(model), Names.of_nodes(model)
        self.result = self._tensors.fresh(OUTPUT)

    def constant(self, value: npt.ArrayLike, kind: Any = np.float32) -> str:
        name = self._tensors.fresh(f"{PREFIX}constant")
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def node(self, op: str, *inputs: str, output: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Add a node; of several outputs the last one is returned, which the others are called like."""
        made = [output or self._tensors.fresh(f"{PREFIX}{op}") for _ in range(outputs)]
        name = self._nodes.fresh(f"{PREFIX}{op}")
        self._graph.node.append(helper.make_node(op, inputs, made, name, **attributes))
        return made[-1]

    def both(self, op: str, *inputs: str, **attributes: Any) -> tuple[str, str]:
        """Add a node of two outputs."""
        self.node(op, *inputs, outputs=2, **attributes)
        first, second = self._graph.node[-1].output
        return first, second

    def width(self, output: str) -> int:
        """Return the last size of one of the network's own outputs."""
        value = next(item for item in self._graph.output if item.name == output)
        return int(value.type.tensor_type.shape.dim[-1].dim_value)

    def wide(self, value: onnx.ValueInfoProto) -> str:
        """Return an output in float32."""
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            return value.name
        return self.node("Cast", value.name, to=TensorProto.FLOAT)

    def columns(self, tensor: str, *columns: int) -> str:
        """Return some of the last axis of (images, rows, columns)."""
        return self.node("Gather", tensor, self.constant(columns, np.int64), axis=2)

    def limited(self, corners: str, size: Size) -> str:
        """Return corners cut at the input's edges."""
        edges = self.constant([size.width, size.height] * 2)
        return self.node("Min", self.node("Max", corners, self.constant(0.0)), edges)

    def spread(self, middle: str, half: str) -> str:
        """Return corners of centres and half sides, (images, rows, 2) each."""
        return self.node("Concat", self.node("Sub", middle, half), self.node("Add", middle, half), axis=2)

    def labelled(self, scores: str, settings: Settings, columns: int | None = None) -> str:
        """Return the scores of the labels alone; `columns`: how many there are behind a background."""
        chosen = settings.get("classes")
        if chosen is None and columns is not None:
            chosen = range(1, columns)
        return scores if chosen is None else self.columns(scores, *chosen)

    def among_surest(self, scores: str, most: int, axis: int) -> str:
        """Return scores, of which all but the `most` highest along an axis are 0."""
        highest, _ = self.both("TopK", scores, self.constant([most], np.int64), axis=axis)
        least = self.node("Gather", highest, self.constant([most - 1], np.int64), axis=axis)
        low = self.node("Less", scores, least)
        return self.node("Where", low, self.constant(0.0), scores)


def _selected(graph: _Graph, corners: str, scores: str, shape: tuple[int, int], settings: Settings) -> int:
    """End a graph in the boxes that stay of candidates, and return how many an image has at most."""
    by_class = graph.node("Transpose", scores, perm=[0, 2, 1])
    rows, classes = shape
    each, iou = graph.constant([rows], np.int64), graph.constant([number(settings, "iou")])
    least = graph.constant([number(settings, "score")])
    stay = graph.node("NonMaxSuppression", corners, by_class, each, iou, least)
    # What stays is put back where it was, so that the best of an image are found among all of its values.
    values = graph.node("GatherND", by_class, stay)
    nothing = graph.node("Mul", by_class, graph.constant(0.0))
    kept = graph.node("ScatterND", nothing, stay, values)
    limit = min(int(settings["limit"]), classes * rows)
    flat = graph.node("Reshape", kept, graph.constant([0, classes * rows], np.int64))
    best, places = graph.both("TopK", flat, graph.constant([limit], np.int64), axis=1)
    count = graph.constant(rows, np.int64)
    column = graph.constant([2], np.int64)
    kinds = graph.node("Cast", graph.node("Div", places, count), to=TensorProto.FLOAT)
    row = graph.node("Unsqueeze", graph.node("Mod", places, count), column)
    boxes = graph.node(
        "GatherElements", corners, graph.node("Tile", row, graph.constant([1, 1, 4], np.int64)), axis=1
    )
    parts = [boxes, graph.node("Unsqueeze", best, column), graph.node("Unsqueeze", kinds, column)]
    graph.node("Concat", *parts, output=graph.result, axis=2)
    return limit


_Outputs = Mapping[str, str]
#: Corners (images, rows, 4); scores (images, rows, classes), above 0 of candidates alone; rows and classes.
_Made = tuple[str, str, tuple[int, int]]


def _offsets(graph: _Graph, boxes: str, around: Array, settings: Settings) -> str:
    """Return corners of offsets from anchors, as `box_coding.from_offsets` does."""
    x, y, width, height = coding(settings)
    sides = around[:, 2:] - around[:, :2]
    centres = around[:, :2] + 0.5 * sides
    moved = graph.node("Mul", graph.columns(boxes, 0, 1), graph.constant((sides / (x, y))[None]))
    middle = graph.node("Add", moved, graph.constant(centres[None]))
    grown = graph.node("Div", graph.columns(boxes, 2, 3), graph.constant([width, height]))
    grown = graph.node("Exp", graph.node("Min", grown, graph.constant(MOST_GROWTH)))
    return graph.spread(middle, graph.node("Mul", grown, graph.constant(0.5 * sides[None])))


def _by_level(graph: _Graph, scores: str, settings: Settings, size: Size, anchors_: int, classes: int) -> str:
    """Return scores of which each level keeps its `candidates` highest, as `selection.by_level` does."""
    cells, most = [grid.pixels for grid in anchors.grids(settings, size)], int(settings["candidates"])
    each, first, levels = anchors_ // sum(cells), 0, []
    for count in cells:
        rows = graph.constant(np.arange(first, first + each * count), np.int64)
        level = graph.node("Gather", scores, rows, axis=1)
        values = each * count * classes
        if most < values:
            flat = graph.node("Reshape", level, graph.constant([0, values], np.int64))
            flat = graph.among_surest(flat, most, 1)
            level = graph.node("Reshape", flat, graph.constant([0, each * count, classes], np.int64))
        levels.append(level)
        first += each * count
    return graph.node("Concat", *levels, axis=1)


def _columns(settings: Settings, outputs: int) -> int:
    return len(settings["classes"]) if settings.get("classes") is not None else outputs


def _ssd(graph: _Graph, outputs: _Outputs, settings: Settings, size: Size) -> _Made:
    around = anchors.ssd(settings, size)
    shares = graph.node("Softmax", outputs["scores"], axis=2)
    scores = graph.labelled(shares, settings, graph.width("scores"))
    if settings["candidates"] < len(around):
        scores = graph.among_surest(scores, int(settings["candidates"]), 1)
    shape = (len(around), _columns(settings, graph.width("scores") - 1))
    return graph.limited(_offsets(graph, outputs["boxes"], around, settings), size), scores, shape


def _retinanet(graph: _Graph, outputs: _Outputs, settings: Settings, size: Size) -> _Made:
    around = anchors.retinanet(settings, size)
    scores = graph.node("Sigmoid", graph.labelled(outputs["scores"], settings))
    classes = _columns(settings, graph.width("scores"))
    scores = _by_level(graph, scores, settings, size, len(around), classes)
    corners = graph.limited(_offsets(graph, outputs["boxes"], around, settings), size)
    return corners, scores, (len(around), classes)


def _fcos(graph: _Graph, outputs: _Outputs, settings: Settings, size: Size) -> _Made:
    around = anchors.fcos(settings, size)
    sides, centres = around[:, 2:] - around[:, :2], 0.5 * (around[:, :2] + around[:, 2:])
    scores = graph.node("Sigmoid", graph.labelled(outputs["scores"], settings))
    near = graph.node("Sigmoid", outputs["centerness"])
    scores = graph.node("Sqrt", graph.node("Mul", scores, near))
    classes = _columns(settings, graph.width("scores"))
    scores = _by_level(graph, scores, settings, size, len(around), classes)
    reach = graph.node("Mul", outputs["boxes"], graph.constant(np.tile(sides, 2)[None]))
    middle = graph.constant(centres[None])
    low = graph.node("Sub", middle, graph.columns(reach, 0, 1))
    high = graph.node("Add", middle, graph.columns(reach, 2, 3))
    corners = graph.limited(graph.node("Concat", low, high, axis=2), size)
    return corners, scores, (len(around), classes)


def _yolox(graph: _Graph, outputs: _Outputs, settings: Settings, size: Size) -> _Made:
    points = anchors.yolox(settings, size)
    stride = graph.constant(points[None, :, 2:])
    middle = graph.node("Add", graph.columns(outputs["boxes"], 0, 1), graph.constant(points[None, :, :2]))
    half = graph.node("Mul", graph.node("Exp", graph.columns(outputs["boxes"], 2, 3)), graph.constant(0.5))
    corners = graph.spread(graph.node("Mul", middle, stride), graph.node("Mul", half, stride))
    scores = graph.node("Sigmoid", graph.labelled(outputs["scores"], settings))
    scores = graph.node("Mul", scores, graph.node("Sigmoid", outputs["objectness"]))
    # A box is of its surest class alone.
    best = graph.node("ReduceMax", scores, graph.constant([2], np.int64), keepdims=1)
    scores = graph.node("Where", graph.node("Less", scores, best), graph.constant(0.0), scores)
    return corners, scores, (len(points), _columns(settings, graph.width("scores")))


_ENDS: dict[str, Callable[[_Graph, _Outputs, Settings, Size], _Made]] = {
    "ssd": _ssd,
    "retinanet": _retinanet,
    "fcos": _fcos,
    "yolox": _yolox,
}
