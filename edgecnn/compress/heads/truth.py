"""The labelled objects of an image, as a loss takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgecnn.compress.heads.box_geometry import areas, common
from edgecnn.tasks.boxes import Boxes

#: An anchor that lies in a crowd for more than this share of itself is no background.
_IN_CROWD = 0.5


@dataclass(frozen=True)
class Truth:
    """Objects in one image, n of them, and places of which nobody says what is there."""

    #: (n, 4) float32: x0, y0, x1, y1 in pixels of the input, each with an area.
    corners: Tensor
    #: (n,) int64.
    classes: Tensor
    #: (k, 4) float32.
    crowd: Tensor

    @classmethod
    def of(cls, labels: Sequence[Boxes], device: torch.device | str = "cpu") -> list[Truth]:
        """Return the objects of each image on a device; what has no area is left out."""
        return [cls._of(boxes, device) for boxes in labels]

    @classmethod
    def _of(cls, boxes: Boxes, device: torch.device | str) -> Truth:
        crowd = np.zeros(len(boxes), bool) if boxes.crowd is None else boxes.crowd
        solid = boxes.areas > 0
        objects, others = boxes.take(solid & ~crowd), boxes.take(solid & crowd)
        parts = (objects.corners, objects.classes, others.corners)
        return cls(*(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in parts))

    def __len__(self) -> int:
        return len(self.classes)

    def in_crowd(self, corners: Tensor) -> Tensor:
        """Return which of (m, 4) corners lie in a crowd: (m,) bool."""
        if not len(self.crowd):
            return torch.zeros(len(corners), dtype=torch.bool, device=corners.device)
        share = common(self.crowd, corners) / areas(corners).clamp_min(1e-12)
        return share.amax(0) > _IN_CROWD
