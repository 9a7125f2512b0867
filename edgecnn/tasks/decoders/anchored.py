"""Networks whose outputs are offsets from anchors, as torchvision's: SSD and SSDlite, RetinaNet, FCOS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.errors import ArtifactError
from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks import anchors
from edgecnn.tasks.boxes import Boxes
from edgecnn.tasks.decoder_settings import Settings
from edgecnn.tasks.decoders.box_coding import from_distances, from_offsets
from edgecnn.tasks.decoders.decoder import (
    Array,
    BoxDecoder,
    NetworkEnd,
    default,
    labelled,
    parts,
    sigmoid,
    softmax,
)
from edgecnn.tasks.decoders.selection import by_class, by_level, selected


class Ssd(BoxDecoder):
    """Softmax over classes, of which the first is the background; default boxes."""

    name = "ssd"
    title = "SSD, SSDlite"
    defaults = default(score=0.01, iou=0.45, limit=200, candidates=400, coding=[10, 10, 5, 5])

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes there are besides the background."""
        return max(0, end.last("scores") - 1)

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the boxes of `scores`, (N, anchors, 1 + classes) logits, and `boxes`, (N, anchors, 4)."""
        settings = self.settled(settings)
        scores, offsets = parts(outputs, ("scores", "boxes"), self.name)
        around = anchors.ssd(settings, size)
        demand_rows(around, offsets, scores)
        found = []
        for row, offset in zip(scores, offsets, strict=True):
            corners = from_offsets(offset, around, settings)
            shares = labelled(softmax(row), settings, background=True)
            found.append(selected(by_class(_clipped(corners, size), shares, settings), settings))
        return found


class RetinaNet(BoxDecoder):
    """A sigmoid for each class; anchors of several sizes and ratios."""

    name = "retinanet"
    title = "RetinaNet"
    defaults = default(score=0.05, iou=0.5, limit=300, candidates=1000)

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes there are."""
        return end.last("scores")

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the boxes of `scores`, (N, anchors, classes) logits, and `boxes`, (N, anchors, 4)."""
        settings = self.settled(settings)
        scores, offsets = parts(outputs, ("scores", "boxes"), self.name)
        around = anchors.retinanet(settings, size)
        demand_rows(around, offsets, scores)
        return [
            _of_levels(from_offsets(offset, around, settings), sigmoid(row), settings, size)
            for row, offset in zip(scores, offsets, strict=True)
        ]


class Fcos(BoxDecoder):
    """A sigmoid for each class and one for how near a point is to its object's centre; points."""

    name = "fcos"
    title = "FCOS"
    defaults = default(score=0.2, iou=0.6, limit=100, candidates=1000)

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes there are."""
        return end.last("scores")

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the boxes of `scores`, (N, points, classes), `boxes`, (.., 4), and `centerness`, (.., 1)."""
        settings = self.settled(settings)
        scores, distances, near = parts(outputs, ("scores", "boxes", "centerness"), self.name)
        around = anchors.fcos(settings, size)
        demand_rows(around, distances, scores, near)
        return [
            _of_levels(
                from_distances(distance, around),
                np.sqrt(sigmoid(row) * sigmoid(centre.reshape(-1, 1))),
                settings,
                size,
            )
            for row, distance, centre in zip(scores, distances, near, strict=True)
        ]


def demand_rows(around: Array, boxes: Array, *others: Array) -> None:
    """Raise ArtifactError for outputs that have another number of rows than there are anchors."""
    if boxes.shape[-1] != 4:
        raise ArtifactError(
            f"the network gives boxes of {boxes.shape[-1]} numbers", hint="each anchor has four offsets"
        )
    rows = {item.shape[1] if item.ndim == 3 else 0 for item in (boxes, *others)}
    if rows != {len(around)}:
        raise ArtifactError(
            f"the decoder's settings make {len(around)} anchors, and the outputs have"
            f" {', '.join(map(str, sorted(rows)))} rows",
            hint="strides or grids, and sizes, ratios or scales, are those that the network was trained with",
        )


def _of_levels(corners: Array, scores: Array, settings: Settings, size: Size) -> Boxes:
    cells = [grid.pixels for grid in anchors.grids(settings, size)]
    each = len(corners) // sum(cells)
    levels = [each * count for count in cells]
    candidates = by_level(_clipped(corners, size), labelled(scores, settings), settings, levels)
    return selected(candidates, settings)


def _clipped(corners: Array, size: Size) -> Array:
    return np.clip(corners, 0, np.array([size.width, size.height] * 2, np.float32))
