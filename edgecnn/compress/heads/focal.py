"""RetinaNet's loss (Lin et al. 2017, "Focal Loss for Dense Object Detection", arXiv:1708.02002)."""

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

#: Section 3.2: weight of what is there against what is not, and how little the easy ones count.
_ALPHA, _GAMMA = 0.25, 2
#: Section 4: an anchor belongs to an object from the one overlap on, and to the background below the other.
_LEAST, _BACKGROUND = 0.5, 0.4


def focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the sum of -alpha (1 - p)^gamma log(p) over independent scores; `wanted` is 0 or 1."""
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    found = logits.sigmoid()
    right = found * wanted + (1 - found) * (1 - wanted)
    weight = _ALPHA * wanted + (1 - _ALPHA) * (1 - wanted)
    return (weight * (1 - right) ** _GAMMA * entropy).sum()


class FocalLoss(HeadLoss):
    """Focal loss of the scores, and L1 of the offsets, image by image."""

    def __init__(self, settings: Mapping[str, Any], size: Size) -> None:
        super().__init__(settings, size, tiling.retinanet)

    def forward(self, outputs: Mapping[str, Tensor], truths: Sequence[Truth]) -> Tensor:
        """Return the mean over the images of the sum of both, for each anchor that has an object."""
        scores, boxes = outputs["scores"].float(), outputs["boxes"].float()
        losses = []
        for row, truth in enumerate(truths):
            found = matched(truth, self.anchors, least=_LEAST, background=_BACKGROUND, best="allow")
            taken, decided = found >= 0, found != UNDECIDED
            objects = found[taken]
            wanted = torch.zeros_like(scores[row])
            wanted[taken, self.columns(truth.classes[objects])] = 1.0
            offsets = encoded(truth.corners[objects], self.anchors[taken], self.settings["coding"])
            loss = focal_loss(scores[row, decided], wanted[decided])
            loss = loss + F.l1_loss(boxes[row, taken], offsets, reduction="sum")
            losses.append(loss / max(1, len(objects)))
        return torch.stack(losses).mean()
