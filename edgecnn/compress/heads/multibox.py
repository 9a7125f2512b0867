"""SSD's loss (Liu et al. 2015, arXiv:1512.02325, section 2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgecnn.compress.heads.box_geometry import encoded
from edgecnn.compress.heads.head_loss import HeadLoss
from edgecnn.compress.heads.matching import UNDECIDED, matched
from edgecnn.compress.heads.truth import Truth
from edgecnn.image_size import Size
from edgecnn.tasks import anchors as tiling

#: Least overlap of an anchor with its object, and background anchors for each that has one.
_LEAST, _NEGATIVES = 0.5, 3


class MultiBoxLoss(HeadLoss):
    """Cross entropy over classes and background, whose hardest anchors count, and smooth L1 of offsets."""

    def __init__(self, settings: Mapping[str, Any], size: Size) -> None:
        super().__init__(settings, size, tiling.ssd)

    def forward(self, outputs: Mapping[str, Tensor], truths: Sequence[Truth]) -> Tensor:
        """Return the sum of both over the batch, for each anchor that has an object."""
        scores, boxes = outputs["scores"].float(), outputs["boxes"].float()
        columns = torch.zeros(scores.shape[:2], dtype=torch.int64, device=scores.device)
        free = torch.zeros_like(columns, dtype=torch.bool)
        of_boxes = scores.new_zeros(())
        for row, truth in enumerate(truths):
            found = matched(truth, self.anchors, least=_LEAST, background=_LEAST, best="force")
            taken = found >= 0
            free[row] = found == UNDECIDED
            columns[row, taken] = self.columns(truth.classes[found[taken]], background=1)
            wanted = encoded(truth.corners[found[taken]], self.anchors[taken], self.settings["coding"])
            of_boxes = of_boxes + F.smooth_l1_loss(boxes[row, taken], wanted, reduction="sum")
        taken = columns > 0
        losses = F.cross_entropy(scores.flatten(0, 1), columns.flatten(), reduction="none").view(
            columns.shape
        )
        counted = taken | self._hardest(losses.detach(), taken, free)
        return (of_boxes + losses[counted].sum()) / taken.sum().clamp_min(1)

    @staticmethod
    def _hardest(losses: Tensor, taken: Tensor, free: Tensor) -> Tensor:
        """Return the background anchors with the largest losses, so many for each that has an object."""
        order = losses.masked_fill(taken | free, -torch.inf).argsort(1, descending=True)
        place = order.argsort(1)
        return (place < _NEGATIVES * taken.sum(1, keepdim=True)) & ~free
