"""Transformers that answer a fixed number of queries: each is one box, or none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks.boxes import Boxes
from edgecnn.tasks.decoder_settings import Settings, number
from edgecnn.tasks.decoders.decoder import (
    Array,
    BoxDecoder,
    NetworkEnd,
    corners_of,
    default,
    labelled,
    parts,
    sigmoid,
    softmax,
    whole,
    wrong_outputs,
)

_NAMES = ("logits", "pred_boxes")


class Detr(BoxDecoder):
    """Softmax over classes, of which the last is none; boxes as shares of the input."""

    name = "detr"
    title = "DETR"
    defaults = default(score=0.001, limit=100)

    def suits(self, end: NetworkEnd) -> bool:
        """Return whether outputs are called so, and 100 queries have 91 classes and none."""
        return _named(end) and end.shapes()[0] == (100, 92)

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes there are besides none."""
        return max(0, end.last("logits") - 1)

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the boxes of `logits`, (N, queries, classes + 1), and `pred_boxes`, (N, queries, 4)."""
        settings = self.settled(settings)
        logits, boxes = _parts(outputs, self.name)
        scores = labelled(softmax(logits)[..., :-1], settings)
        best = scores.argmax(axis=2)
        sure = np.take_along_axis(scores, best[..., None], axis=2)[..., 0]
        corners = _pixels(boxes, size)
        return [_kept(*image, settings) for image in zip(corners, best, sure, strict=True)]


class RtDetr(BoxDecoder):
    """A sigmoid for each class, so that a query may answer several; boxes as shares of the input."""

    name = "rt-detr"
    title = "RT-DETR, Deformable DETR, D-FINE"
    defaults = default(score=0.001, limit=300)

    def suits(self, end: NetworkEnd) -> bool:
        """Return whether outputs are called so, and 300 queries have the classes of COCO."""
        return _named(end) and end.shapes()[0] == (300, 80)

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes there are."""
        return end.last("logits")

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the boxes of `logits`, (N, queries, classes), and `pred_boxes`, (N, queries, 4)."""
        settings = self.settled(settings)
        logits, boxes = _parts(outputs, self.name)
        scores = sigmoid(labelled(logits, settings))
        corners = _pixels(boxes, size)
        count = scores.shape[2]
        rows = np.repeat(np.arange(scores.shape[1]), count)
        classes = np.tile(np.arange(count), scores.shape[1])
        return [
            _kept(places[rows], classes, shares.reshape(-1), settings)
            for places, shares in zip(corners, scores, strict=True)
        ]


def _kept(corners: Array, classes: Array, scores: Array, settings: Settings) -> Boxes:
    order = np.argsort(-scores, kind="stable")[: whole(settings, "limit")]
    order = order[scores[order] > number(settings, "score")]
    return Boxes(corners[order], classes[order], scores[order])


def _parts(outputs: Sequence[Output], decoder: str) -> list[Array]:
    found = parts(outputs, _NAMES, decoder)
    if any(item.ndim != 3 for item in found) or found[1].shape[2] != 4:
        raise wrong_outputs(outputs, decoder)
    return found


def _pixels(boxes: Array, size: Size) -> Array:
    return corners_of(boxes) * np.array([size.width, size.height] * 2, np.float32)


def _named(end: NetworkEnd) -> bool:
    return tuple(spec.name for spec in end.outputs) == _NAMES
