"""Boxes of objects in one picture, labelled or found, and what is done with them alike everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.image_size import Size

#: Row numbers, a mask of rows, or a slice.
Rows = Any


@dataclass(frozen=True, eq=False)
class Boxes:
    """Objects of one picture, n of them; x to the right, y down, width = x1 - x0, as COCO counts."""

    #: (n, 4) float32 of x0, y0, x1, y1 in pixels.
    corners: npt.NDArray[np.float32]
    #: (n,) int64 of indices into the label set, which has no background.
    classes: npt.NDArray[np.int64]
    #: (n,) float32, higher is surer; None of labels.
    scores: npt.NDArray[np.float32] | None = None
    #: (n,) bool of labels that count neither as found nor as missed: a crowd, or too difficult. None: no box.
    crowd: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        fields = (("corners", np.float32), ("classes", np.int64), ("scores", np.float32), ("crowd", np.bool_))
        for name, kind in fields:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, np.asarray(value, kind))
        object.__setattr__(self, "corners", self.corners.reshape(-1, 4))
        if any(
            len(part) != len(self) for part in (self.classes, self.scores, self.crowd) if part is not None
        ):
            raise ValueError(f"{len(self)} boxes have other counts of classes, scores or crowds")

    @classmethod
    def none(cls) -> Boxes:
        """Return no boxes, with scores."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.int64), np.empty(0, np.float32))

    @classmethod
    def joined(cls, parts: Sequence[Boxes]) -> Boxes:
        """Return the boxes of several one after another; what one of them lacks, the result lacks."""
        if not parts:
            return cls.none()
        return cls(
            np.concatenate([item.corners for item in parts]),
            np.concatenate([item.classes for item in parts]),
            _joined([item.scores for item in parts]),
            _joined([item.crowd for item in parts]),
        )

    def __len__(self) -> int:
        return len(self.corners)

    @property
    def areas(self) -> npt.NDArray[np.float32]:
        """(n,) in square pixels; 0 of a box whose corners are the wrong way round."""
        sides = np.maximum(self.corners[:, 2:] - self.corners[:, :2], 0)
        return np.asarray(sides[:, 0] * sides[:, 1], np.float32)

    def take(self, rows: Rows) -> Boxes:
        """Return some of the boxes: by their numbers, a mask or a slice."""
        parts = (self.corners, self.classes, self.scores, self.crowd)
        return Boxes(*(None if part is None else part[rows] for part in parts))  # type: ignore[arg-type]

    def moved(self, scale_xy: tuple[float, float], offset_xy: tuple[float, float]) -> Boxes:
        """Return the boxes in another picture's pixels: scaled, and then moved by an offset in its pixels."""
        corners = self.corners.astype(np.float64) * (*scale_xy, *scale_xy) + (*offset_xy, *offset_xy)
        return Boxes(corners.astype(np.float32), self.classes, self.scores, self.crowd)

    def clipped(self, size: Size) -> Boxes:
        """Return the boxes, what lies outside a picture of that size cut off; those without a rest stay."""
        edges = np.array([size.width, size.height, size.width, size.height], np.float32)
        return Boxes(np.clip(self.corners, 0, edges), self.classes, self.scores, self.crowd)


def overlap(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the intersection over union of every pair of two sets of corners, (a, 4) and (b, 4): (a, b).

    It is 0 where both are empty.
    """
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    sides = np.maximum(high - low, 0)
    common = sides[..., 0] * sides[..., 1]
    union = _areas(left)[:, None] + _areas(right)[None] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0), np.float32)


def suppress(
    corners: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    iou: float,
    limit: int | None = None,
) -> npt.NDArray[np.int64]:
    """Return the rows of n boxes that none of a higher score and the same class overlaps by more than `iou`.

    At most `limit` of them, which is sooner done.
    Corners are (n, 4), scores and classes (n,); the rows, best first, are those of torchvision's batched_nms.
    """
    order = np.argsort(-scores, kind="stable")
    order = order[np.argsort(classes[order], kind="stable")]
    ends = np.flatnonzero(np.diff(classes[order])) + 1
    kept = [_best_of_class(corners, rows, iou, limit) for rows in np.split(order, ends)]
    rows = np.concatenate(kept) if kept else np.empty(0, np.int64)
    rows = np.sort(rows)
    return np.asarray(rows[np.argsort(-scores[rows], kind="stable")][:limit], np.int64)


def _best_of_class(
    corners: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], iou: float, limit: int | None
) -> npt.NDArray[np.int64]:
    """Return those of the rows, best first, that no better one overlaps."""
    kept: list[np.int64] = []
    while len(rows) and (limit is None or len(kept) < limit):
        best, rows = rows[0], rows[1:]
        kept.append(best)
        rows = rows[overlap(corners[best, None], corners[rows])[0] <= iou]
    return np.array(kept, np.int64)


def _areas(corners: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    sides = corners[:, 2:] - corners[:, :2]
    return np.asarray(sides[:, 0] * sides[:, 1])


def _joined(parts: Sequence[npt.NDArray[Any] | None]) -> npt.NDArray[Any] | None:
    """Return arrays one after another; None where one is missing."""
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if len(found) == len(parts) else None
