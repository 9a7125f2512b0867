"""Where a picture lies in a network's input, and the way back for what was found there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.image_size import Size
from edgecnn.tasks.boxes import Boxes

#: Of a mask's pixel that is of no class: in a label it counts nowhere, in an answer nobody saw it.
IGNORED = 255


@dataclass(frozen=True)
class View:
    """A picture in the input: pixel (x, y) of it lies at (x, y) * scale + offset, in pixels of the input."""

    #: Of the picture, as `open_image` gives it.
    picture: Size
    #: Of the network's input.
    input: Size
    #: Of x and of y.
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def boxes_into(self, boxes: Boxes) -> Boxes:
        """Return boxes of the picture in pixels of the input."""
        return boxes.moved(self.scale, self.offset)

    def boxes_back(self, boxes: Boxes) -> Boxes:
        """Return boxes of the input in pixels of the picture, cut at its edges."""
        scale = (1 / self.scale[0], 1 / self.scale[1])
        offset = (-self.offset[0] * scale[0], -self.offset[1] * scale[1])
        return boxes.moved(scale, offset).clipped(self.picture)

    def mask_back(self, mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a mask of the input, (height, width), as large as the picture: the nearest pixel's class.

        What the input does not show of the picture is `IGNORED`.
        """
        columns = np.floor((np.arange(self.picture.width) + 0.5) * self.scale[0] + self.offset[0]).astype(int)
        rows = np.floor((np.arange(self.picture.height) + 0.5) * self.scale[1] + self.offset[1]).astype(int)
        height, width = mask.shape
        found = mask[np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)[None]]
        unseen = ((rows < 0) | (rows >= height))[:, None] | ((columns < 0) | (columns >= width))[None]
        return np.where(unseen, np.asarray(IGNORED, mask.dtype), found) if unseen.any() else found
