"""Where the pixels of a network's input come from in a picture; boxes and masks go the same way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecnn.image_size import Size
from edgecnn.tasks.boxes import Boxes
from edgecnn.tasks.view import IGNORED, View

#: Point (x, y) shows the point (a x + b y + c, d x + e y + f) of what was before.
Matrix = tuple[float, float, float, float, float, float]

#: A box of which less is left in the input is no object there; and a side of it is at least a pixel.
_LEAST_LEFT, _LEAST_SIDE = 0.25, 1.0
#: A box of which a larger share was erased is no object either.
_MOST_ERASED = 0.7


@dataclass(frozen=True)
class Framing:
    """An input of a size: its point (x, y) shows a point of the picture, by `matrix`."""

    #: Of the picture, as `open_image` gives it.
    picture: Size
    size: Size
    matrix: Matrix
    #: What was erased of the input: left, top, right, bottom in pixels.
    erased: tuple[int, int, int, int] | None = None

    @classmethod
    def whole(cls, picture: Size, size: Size) -> Framing:
        """Return the framing of a picture that was resized as a whole."""
        return cls(picture, size, (picture.width / size.width, 0, 0, 0, picture.height / size.height, 0))

    @classmethod
    def of(cls, view: View) -> Framing:
        """Return the framing of a picture that was fitted."""
        (x, y), (right, down) = view.scale, view.offset
        return cls(view.picture, view.input, (1 / x, 0, -right / x, 0, 1 / y, -down / y))

    def then(self, matrix: Matrix, size: Size | None = None) -> Framing:
        """Return the framing after a further change, whose points show points of this one."""
        a, b, c, d, e, f = self.matrix
        p, q, r, s, t, u = matrix
        joined = (
            *(a * p + b * s, a * q + b * t, a * r + b * u + c),
            *(d * p + e * s, d * q + e * t, d * r + e * u + f),
        )
        return replace(self, matrix=joined, size=size or self.size)

    def boxes(self, boxes: Boxes) -> Boxes:
        """Return boxes of the picture in pixels of the input, without those of which too little is left.

        Of a box that was turned, the upright one around it.
        """
        a, b, c, d, e, f = self.matrix
        back = np.linalg.inv(np.array([[a, b], [d, e]], np.float64))
        x0, y0, x1, y1 = boxes.corners.astype(np.float64).T
        points = np.stack([[x0, x1, x1, x0], [y0, y0, y1, y1]]).transpose(2, 1, 0)  # (n, 4, 2)
        moved = (points - (c, f)) @ back.T
        whole = np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)
        cut = np.clip(whole, 0, [self.size.width, self.size.height] * 2)
        if b or d:
            for row in np.flatnonzero((cut != whole).any(axis=1)):
                cut[row] = _around_rest(moved[row], self.size)
        sides = cut[:, 2:] - cut[:, :2]
        left = sides.prod(axis=1)
        use = (left >= _LEAST_LEFT * (whole[:, 2:] - whole[:, :2]).prod(axis=1)) & (sides >= _LEAST_SIDE).all(
            axis=1
        )
        if self.erased is not None:
            low, high = np.maximum(cut[:, :2], self.erased[:2]), np.minimum(cut[:, 2:], self.erased[2:])
            use &= np.maximum(high - low, 0).prod(axis=1) <= _MOST_ERASED * left
        kept = boxes.take(use)
        return Boxes(cut[use].astype(np.float32), kept.classes, kept.scores, kept.crowd)

    def mask(self, mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a mask of the picture, (H, W), as the input's: the nearest pixel's class.

        What the picture does not cover, and what was erased, is `IGNORED`.
        """
        picture = Image.fromarray(mask)
        size = (self.size.width, self.size.height)
        moved = picture.transform(
            size, Image.Transform.AFFINE, self.matrix, Image.Resampling.NEAREST, fillcolor=IGNORED
        )
        found = np.array(moved)
        if self.erased is not None:
            left, top, right, bottom = self.erased
            found[top:bottom, left:right] = IGNORED
        return found


def _around_rest(corners: npt.NDArray[np.float64], size: Size) -> npt.NDArray[np.float64]:
    """Return x0 y0 x1 y1 of the upright box around what an input of a size shows of a polygon, (n, 2).

    The polygon is cut at one edge of the input after the other (Sutherland and Hodgman 1974).
    """
    points = list(corners)
    for axis, sign, edge in ((0, 1, 0), (0, -1, -size.width), (1, 1, 0), (1, -1, -size.height)):
        rest = []
        for start, end in zip(points, [*points[1:], *points[:1]], strict=True):
            before, after = sign * start[axis] - edge, sign * end[axis] - edge
            if before >= 0:
                rest.append(start)
            if before * after < 0:
                rest.append(start + before / (before - after) * (end - start))
        points = rest
    if not points:
        return np.zeros(4)
    return np.concatenate([np.min(points, axis=0), np.max(points, axis=0)])
