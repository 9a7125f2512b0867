"""FCOS' loss (Tian et al. 2019, arXiv:1904.01355, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgecnn.compress.heads.box_geometry import areas, generalized_iou_loss
from edgecnn.compress.heads.focal import focal_loss
from edgecnn.compress.heads.head_loss import HeadLoss
from edgecnn.compress.heads.truth import Truth
from edgecnn.image_size import Size
from edgecnn.tasks import anchors as tiling

#: A place belongs to an object whose centre is at most so many strides away,
_RADIUS = 1.5
#: and whose farthest side is between so many; the first and last level take all smaller and larger ones.
_NEAR, _FAR = 4, 8
#: More than the area of any image.
_HUGE = 1e8


class CenternessLoss(HeadLoss):
    """Focal loss of the scores, GIoU loss of the boxes, and how near the middle each place is."""

    def __init__(self, settings: Mapping[str, Any], size: Size) -> None:
        super().__init__(settings, size, tiling.fcos)

    def forward(self, outputs: Mapping[str, Tensor], truths: Sequence[Truth]) -> Tensor:
        """Return the sum of the three over the batch, for each place that has an object."""
        scores, boxes = outputs["scores"].float(), outputs["boxes"].float()
        centers, sides = self._points()
        wanted = torch.zeros_like(scores)
        decided = torch.ones(scores.shape[:2], dtype=torch.bool, device=scores.device)
        total, count = scores.new_zeros(()), 0
        for row, truth in enumerate(truths):
            found = self._matched(truth)
            taken = found >= 0
            decided[row] = taken | ~truth.in_crowd(self.anchors)
            corners, at, side = truth.corners[found[taken]], centers[taken], sides[taken]
            wanted[row, taken, self.columns(truth.classes[found[taken]])] = 1.0
            given = boxes[row, taken] * side[:, None]
            given = torch.cat([at - given[:, :2], at + given[:, 2:]], 1)
            total = total + generalized_iou_loss(given, corners).sum()
            total = total + F.binary_cross_entropy_with_logits(
                outputs["centerness"][row, taken, 0].float(), _nearness(at, corners), reduction="sum"
            )
            count += len(corners)
        return (total + focal_loss(scores[decided], wanted[decided])) / max(1, count)

    def _points(self) -> tuple[Tensor, Tensor]:
        """Return centre, (A, 2), and side, (A,), of each square."""
        return (self.anchors[:, :2] + self.anchors[:, 2:]) / 2, self.anchors[:, 2] - self.anchors[:, 0]

    @torch.no_grad()
    def _matched(self, truth: Truth) -> Tensor:
        """Return the object of each place, the smallest one where there are several; -1 for none."""
        if not len(truth):
            return torch.full((len(self.anchors),), -1, dtype=torch.int64, device=self.anchors.device)
        points, sides = self._points()
        middles = (truth.corners[:, :2] + truth.corners[:, 2:]) / 2
        near = (points[:, None] - middles[None]).abs().amax(2) < _RADIUS * sides[:, None]
        low, high = points[:, None] - truth.corners[:, :2], truth.corners[:, 2:] - points[:, None]
        distances = torch.cat([low, high], 2)
        inside = distances.amin(2) > 0
        least, most = sides * _NEAR, sides * _FAR
        least[: self.per_level[0]] = 0
        most[-self.per_level[-1] :] = torch.inf
        farthest = distances.amax(2)
        fits = (farthest > least[:, None]) & (farthest < most[:, None])
        small, found = ((near & inside & fits) * (_HUGE - areas(truth.corners))).max(1)
        return torch.where(small < 1e-5, -1, found)


def _nearness(points: Tensor, corners: Tensor) -> Tensor:
    """Return 1 in the middle of a box, and less towards its sides, (n,)."""
    low, high = points - corners[:, :2], corners[:, 2:] - points
    shares = torch.minimum(low, high) / torch.maximum(low, high)
    return (shares[:, 0] * shares[:, 1]).sqrt()
