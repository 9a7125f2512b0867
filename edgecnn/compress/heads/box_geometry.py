"""Arithmetic of boxes in PyTorch, (n, 4) corners each: x0, y0, x1, y1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def areas(corners: Tensor) -> Tensor:
    """Return (n,) areas of boxes."""
    sides = corners[..., 2:] - corners[..., :2]
    return sides[..., 0] * sides[..., 1]


def common(left: Tensor, right: Tensor) -> Tensor:
    """Return the area that each of (a, 4) boxes shares with each of (b, 4): (a, b)."""
    low = torch.maximum(left[:, None, :2], right[None, :, :2])
    high = torch.minimum(left[:, None, 2:], right[None, :, 2:])
    sides = (high - low).clamp_min(0)
    return sides[..., 0] * sides[..., 1]


def overlap(left: Tensor, right: Tensor) -> Tensor:
    """Return the intersection over union of each of (a, 4) boxes with each of (b, 4): (a, b)."""
    shared = common(left, right)
    return shared / (areas(left)[:, None] + areas(right)[None] - shared)


def generalized_iou_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Return 1 - GIoU of boxes pair by pair, (n,) (Rezatofighi et al. 2019, arXiv:1902.09630)."""
    tiny = 1e-7
    low, high = torch.maximum(found[:, :2], wanted[:, :2]), torch.minimum(found[:, 2:], wanted[:, 2:])
    sides = high - low
    shared = torch.where((sides > 0).all(1), sides[:, 0] * sides[:, 1], sides.new_zeros(()))
    union = areas(found) + areas(wanted) - shared
    hull = torch.cat(
        [torch.minimum(found[:, :2], wanted[:, :2]), torch.maximum(found[:, 2:], wanted[:, 2:])], 1
    )
    around = areas(hull)
    return 1 - (shared / (union + tiny) - (around - union) / (around + tiny))


def encoded(wanted: Tensor, anchors: Tensor, coding: Sequence[float]) -> Tensor:
    """Return boxes as offsets of anchors, (n, 4) (Girshick et al. 2013, arXiv:1311.2524, appendix C).

    dx, dy in sides of the anchor and dw, dh as logarithms, each times its number of `coding`.
    """
    sides, own = anchors[:, 2:] - anchors[:, :2], wanted[:, 2:] - wanted[:, :2]
    centres = anchors[:, :2] + 0.5 * sides
    moved = (wanted[:, :2] + 0.5 * own - centres) / sides
    return torch.cat([moved, torch.log(own / sides)], 1) * moved.new_tensor(tuple(coding))
