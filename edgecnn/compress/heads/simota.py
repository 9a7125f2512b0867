"""YOLOX' loss, whose objects choose places by what these cost (Ge et al. 2021, arXiv:2107.08430)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgecnn.compress.heads.box_geometry import overlap
from edgecnn.compress.heads.head_loss import HeadLoss
from edgecnn.compress.heads.truth import Truth
from edgecnn.image_size import Size
from edgecnn.tasks import anchors as tiling

#: An object may choose the places in it, and those at most so many cells from its centre; both are preferred.
_RADIUS = 2.5
#: Weight of the overlap in the cost, and what a place costs that is not both.
_OVERLAP, _ELSEWHERE = 3.0, 1e5
#: An object gets as many places as its best ones overlap it together.
_CANDIDATES = 10
#: Weight of the boxes in the loss.
_BOXES = 5.0


class SimOTALoss(HeadLoss):
    """Cross entropy of objectness and classes, and 1 - IoU^2 of the boxes."""

    def __init__(self, settings: Mapping[str, Any], size: Size) -> None:
        super().__init__(settings, size, tiling.yolox)

    def forward(self, outputs: Mapping[str, Tensor], truths: Sequence[Truth]) -> Tensor:
        """Return the sum of the three over the batch, for each place that was chosen."""
        scores, objectness = outputs["scores"].float(), outputs["objectness"].float()[..., 0]
        corners = self._corners(outputs["boxes"].float())
        there = torch.zeros_like(objectness)
        decided = torch.ones_like(objectness, dtype=torch.bool)
        total, count = scores.new_zeros(()), 0
        for row, truth in enumerate(truths):
            decided[row] = ~truth.in_crowd(corners[row].detach())
            if not len(truth):
                continue
            columns = self.columns(truth.classes)
            places, objects, shares = self._chosen(truth, columns, corners[row], scores[row], objectness[row])
            there[row, places] = 1.0
            decided[row, places] = True
            wanted = F.one_hot(columns[objects], scores.shape[2]) * shares[:, None]
            total = total + F.binary_cross_entropy_with_logits(scores[row, places], wanted, reduction="sum")
            total = total + _BOXES * (1 - _paired(corners[row, places], truth.corners[objects]) ** 2).sum()
            count += len(places)
        total = total + F.binary_cross_entropy_with_logits(
            objectness[decided], there[decided], reduction="sum"
        )
        return total / max(1, count)

    def _corners(self, boxes: Tensor) -> Tensor:
        """Return raw boxes, (N, A, 4), as corners in pixels."""
        strides = self.anchors[:, 2:]
        centres = (boxes[..., :2] + self.anchors[:, :2]) * strides
        sides = boxes[..., 2:].exp() * strides
        return torch.cat([centres - sides / 2, centres + sides / 2], -1)

    @torch.no_grad()
    def _chosen(
        self, truth: Truth, columns: Tensor, corners: Tensor, scores: Tensor, objectness: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return places that were chosen, the object of each, and how much its box overlaps it."""
        allowed, preferred = self._candidates(truth)
        places = allowed.nonzero()[:, 0]
        shares = overlap(truth.corners, corners[places])
        joint = (scores[places].sigmoid() * objectness[places, None].sigmoid()).sqrt()
        wanted = F.one_hot(columns, scores.shape[1]).float()
        pairs = (len(truth), len(places), scores.shape[1])
        cost = F.binary_cross_entropy(
            joint[None].expand(pairs), wanted[:, None].expand(pairs), reduction="none"
        ).sum(2)
        cost = cost - _OVERLAP * torch.log(shares + 1e-8) + _ELSEWHERE * ~preferred[:, places]
        taken = _cheapest(cost, shares)
        at = taken.any(0).nonzero()[:, 0]
        objects = taken[:, at].float().argmax(0)
        return places[at], objects, shares[objects, at]

    def _candidates(self, truth: Truth) -> tuple[Tensor, Tensor]:
        """Return the places that any object may choose, (A,), and those that each prefers, (objects, A)."""
        strides = self.anchors[:, 2]
        points = (self.anchors[:, :2] + 0.5) * strides[:, None]
        low = points[None] - truth.corners[:, None, :2]
        high = truth.corners[:, None, 2:] - points[None]
        inside = torch.minimum(low, high).amin(2) > 0
        middles = (truth.corners[:, :2] + truth.corners[:, 2:]) / 2
        near = (points[None] - middles[:, None]).abs().amax(2) < _RADIUS * strides
        return (inside | near).any(0), inside & near


def _cheapest(cost: Tensor, shares: Tensor) -> Tensor:
    """Return which places each object takes, (objects, places) bool; a place has one object at most."""
    best = shares.topk(min(_CANDIDATES, shares.shape[1]), 1).values
    taken = torch.zeros_like(cost, dtype=torch.bool)
    for row, count in enumerate(best.sum(1).int().clamp_min(1).tolist()):
        taken[row, cost[row].topk(count, largest=False).indices] = True
    contested = taken.sum(0) > 1
    if contested.any():
        cheapest = cost[:, contested].argmin(0)
        taken[:, contested] = False
        taken[cheapest, contested.nonzero()[:, 0]] = True
    return taken


def _paired(left: Tensor, right: Tensor) -> Tensor:
    """Return the intersection over union of boxes pair by pair, (n,)."""
    low, high = torch.maximum(left[:, :2], right[:, :2]), torch.minimum(left[:, 2:], right[:, 2:])
    sides = (high - low).clamp_min(0)
    shared = sides[:, 0] * sides[:, 1]
    both = [(part[:, 2] - part[:, 0]) * (part[:, 3] - part[:, 1]) for part in (left, right)]
    return shared / (both[0] + both[1] - shared + 1e-16)
