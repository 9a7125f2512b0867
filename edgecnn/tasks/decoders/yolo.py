"""The layouts of the YOLO family: from raw maps to boxes that need nothing more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.errors import ArtifactError
from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks import anchors
from edgecnn.tasks.boxes import Boxes, overlap
from edgecnn.tasks.decoder_settings import Settings, number
from edgecnn.tasks.decoders.anchored import demand_rows
from edgecnn.tasks.decoders.decoder import (
    Array,
    BoxDecoder,
    NetworkEnd,
    corners_of,
    default,
    labelled,
    parts,
    sigmoid,
    whole,
    wrong_outputs,
)
from edgecnn.tasks.decoders.selection import of_best_class, selected

#: Pixels of the input for each cell, of the levels that all of them have.
STRIDES = (8, 16, 32)
#: Classes of COCO: who has as many is a detector of these, and nothing that has more columns for keypoints.
_COCO = 80
#: Far above a probability, since int8 whose boxes and scores share a scale rounds up to a code of that: the
#: side of the input over 127 of them. Keypoints are tens and hundreds of pixels.
_MOST_SCORE = 16
_DEFAULTS = default(score=0.001, iou=0.7, limit=300, candidates=30000)


class Yolox(BoxDecoder):
    """Offsets of the cell that a box lies in, sides as logarithms of strides; as the authors export it."""

    name = "yolox"
    title = "YOLOX"
    defaults = default(**{**_DEFAULTS, "score": 0.01, "iou": 0.65, "strides": list(STRIDES)})

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes there are."""
        return max(0, end.last("scores") - (5 if len(end.outputs) == 1 else 0))

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the boxes of `boxes`, `objectness` and `scores`, (N, cells, ...) logits.

        Or of one output, (N, cells, 4 + 1 + classes), whose scores went through a sigmoid already.
        """
        settings = self.settled(settings)
        if len(outputs) == 1:
            (joined,) = parts(outputs, (outputs[0].name,), self.name)
            _demand_columns(joined, 2, 6, outputs, self.name)
            boxes, sure, scores = joined[..., :4], joined[..., 4:5], joined[..., 5:]
        else:
            boxes, sure, scores = parts(outputs, ("boxes", "objectness", "scores"), self.name)
            sure, scores = sigmoid(sure), sigmoid(scores)
        points = anchors.yolox(settings, size)
        demand_rows(points, boxes, sure, scores)
        stride = points[:, 2:]
        middle = (boxes[..., :2] + points[:, :2]) * stride
        with np.errstate(over="ignore"):
            sides = np.exp(boxes[..., 2:]) * stride
        corners = corners_of(np.concatenate([middle, sides], axis=-1))
        return _of_images(corners, sure * labelled(scores, settings), settings)


class YoloV5(BoxDecoder):
    """Boxes in pixels, an objectness and classes, in rows: three anchors in each cell."""

    name = "yolov5"
    title = "YOLOv5, YOLOv7; YOLOX and YOLOv6 with decoding in the graph"
    defaults = _DEFAULTS

    def suits(self, end: NetworkEnd) -> bool:
        """Return whether there are rows for three anchors of each cell, and columns for known classes."""
        shape = _only(end, 2)
        return shape is not None and (rows := _cells(end.size)) > 0 and shape == (3 * rows, 5 + _classes(end))

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes there are."""
        return max(0, end.last("") - 5 - _prototypes(end.shapes()))

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the boxes of (N, anchors, 5 + classes): centre, sides, objectness, classes.

        Of a network that also gives prototypes of masks, the columns that weight these are left out.
        """
        settings = self.settled(settings)
        values = _without_weights(outputs, 2, 6, self.name)
        scores = values[..., 4:5] * _probable(labelled(values[..., 5:], settings), self.name)
        return _of_images(corners_of(values), scores, settings)


class YoloV8(BoxDecoder):
    """Boxes in pixels and classes, in columns: one box in each cell, and no objectness."""

    name = "yolov8"
    title = "YOLOv8, YOLOv9, YOLO11, YOLO12"
    defaults = _DEFAULTS

    def suits(self, end: NetworkEnd) -> bool:
        """Return whether there are columns for each cell, and rows for known classes."""
        shape = _only(end, 2)
        return shape is not None and (cells := _cells(end.size)) > 0 and shape == (4 + _classes(end), cells)

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes there are."""
        return max(0, end.first(0) - 4 - _prototypes(end.shapes()))

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the boxes of (N, 4 + classes, cells): centre, sides, classes.

        Of a network that also gives prototypes of masks, the rows that weight these are left out.
        """
        settings = self.settled(settings)
        rows = _without_weights(outputs, 1, 5, self.name).transpose(0, 2, 1)
        scores = _probable(labelled(rows[..., 4:], settings), self.name)
        return _of_images(corners_of(rows), scores, settings)


class EndToEnd(BoxDecoder):
    """Boxes of which none overlap, best first: corners in pixels, score, class."""

    name = "end-to-end"
    title = "YOLOv10, YOLO26"
    defaults = default(score=0.001, limit=300)

    def suits(self, end: NetworkEnd) -> bool:
        """Return whether there are 300 rows of six, as these networks have."""
        return _only(end, 2) == (300, 6)

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the boxes of (N, boxes, 6)."""
        settings = self.settled(settings)
        values = _rows(outputs, self.name)
        if values.ndim != 3 or values.shape[2] != 6:
            raise wrong_outputs(outputs, self.name)
        found = []
        for rows in values:
            rows = rows[rows[:, 4] > number(settings, "score")]
            rows = rows[np.argsort(-rows[:, 4], kind="stable")][: whole(settings, "limit")]
            found.append(Boxes(rows[:, :4], rows[:, 5].astype(np.int64), rows[:, 4]))
        return found

    def paired(
        self, references: Sequence[Output], outputs: Sequence[Output], least: float
    ) -> tuple[Sequence[Output], Sequence[Output]]:
        """Return the boxes of the reference of at least a score, and beside each the nearest of its class.

        Two scores that nearly are the same change places by rounding, and with them all numbers of two rows.
        Where the reference has no such box, rows are compared as they are.
        """
        (before,), (after,) = references, outputs
        low, high = before.values[..., :2], before.values[..., 2:4]
        sure = (before.values[..., 4] >= least) & (high > low).all(axis=-1)
        if not sure.any():
            return references, outputs
        matched = np.zeros_like(before.values)
        for image, rows in enumerate(sure):
            matched[image, rows] = _nearest(before.values[image, rows], after.values[image])
        kept = np.where(sure[..., None], before.values, 0)
        return [Output(before.name, kept)], [Output(after.name, matched)]


def _nearest(rows: Array, others: Array) -> Array:
    """Return for each row that of the others of its class whose box overlaps it most; zeros for none."""
    shares = overlap(rows[:, :4], others[:, :4])
    shares[(rows[:, None, 5] != others[None, :, 5]) | (others[None, :, 4] <= 0)] = 0
    result = np.zeros_like(rows)
    for place in range(len(rows)):
        best = shares[place].argmax()
        if shares[place, best] > 0:
            result[place] = others[best]
            shares[:, best] = 0
    return result


def _of_images(corners: Array, scores: Array, settings: Settings) -> list[Boxes]:
    return [
        selected(of_best_class(places, shares, settings), settings)
        for places, shares in zip(corners, scores, strict=True)
    ]


def _rows(outputs: Sequence[Output], decoder: str) -> Array:
    """Return the first output; only maps may be beside it, else each output holds a part of the answer."""
    if any(item.values.ndim < 4 for item in outputs[1:]):
        raise wrong_outputs(outputs, decoder)
    (values,) = parts(outputs, (outputs[0].name,), decoder)
    return values


def _without_weights(outputs: Sequence[Output], axis: int, least: int, decoder: str) -> Array:
    """Return the first output without the columns, along an axis, that weight prototypes of masks."""
    values = _rows(outputs, decoder)
    _demand_columns(values, axis, least, outputs, decoder)
    count = values.shape[axis] - _prototypes([item.values.shape[1:] for item in outputs])
    if count < least:
        raise wrong_outputs(outputs, decoder)
    return values[:, :count] if axis == 1 else values[..., :count]


def _prototypes(shapes: Sequence[tuple[int | None, ...]]) -> int:
    """Return how many maps there are of which masks are sums: those of a second output of three sizes."""
    return (shapes[1][0] or 0) if len(shapes) == 2 and len(shapes[1]) == 3 else 0


def _probable(scores: Array, decoder: str) -> Array:
    """Return scores; raises ArtifactError for columns that are none, such as coordinates of keypoints."""
    most = scores.max(initial=0)
    if most > _MOST_SCORE:
        raise ArtifactError(
            f"the decoder {decoder} reads scores of at most 1, and the network gives up to {most:.4g}",
            hint="the columns after the boxes may be keypoints, angles or logits; `classes` of the decoder"
            " are the numbers of those columns that are classes",
        )
    return scores


def _demand_columns(values: Array, axis: int, least: int, outputs: Sequence[Output], decoder: str) -> None:
    if values.ndim != 3 or values.shape[axis] < least:
        raise wrong_outputs(outputs, decoder)


def _only(end: NetworkEnd, sizes: int) -> tuple[int | None, ...] | None:
    """Return the shape of the only output, where it has so many sizes and is of floats."""
    if len(end.outputs) != 1 or not end.outputs[0].dtype.startswith("float"):
        return None
    shape = end.shapes()[0]
    return shape if len(shape) == sizes else None


def _cells(size: Size | None) -> int:
    """Return the cells of all levels; 0 of an input whose size is not known."""
    if size is None:
        return 0
    return sum(grid.pixels for grid in anchors.grids({"strides": list(STRIDES)}, size))


def _classes(end: NetworkEnd) -> int:
    return end.classes or _COCO
