"""Segmenters' loss: cross entropy of every pixel that has a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.tasks.view import IGNORED

#: Weight of the loss of a head that helps in training.
_AUXILIARY = 0.5


class PixelLoss(nn.Module):
    """The mean over the pixels with a label; of (logits, auxiliary ...) a weighted sum."""

    @staticmethod
    def targets(labels: Sequence[npt.NDArray[Any]], device: torch.device) -> Tensor:
        """Return masks, (H, W) each, as class indices on a device, (N, H, W) int64."""
        return torch.from_numpy(np.stack(list(labels)).astype(np.int64)).to(device)

    def forward(self, outputs: Tensor | tuple[Tensor, ...], masks: Tensor) -> Tensor:
        """Return the loss of logits, (N, classes, H, W), and class indices, (N, H, W) int64."""
        logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        # A batch without a label has a sum of 0 in place of a mean of nothing.
        count = (masks != IGNORED).sum().clamp_min(1)
        losses = [
            F.cross_entropy(item.float(), masks, ignore_index=IGNORED, reduction="sum") / count
            for item in (logits, *auxiliary)
        ]
        loss = losses[0]
        for other in losses[1:]:
            loss = loss + _AUXILIARY * other
        return loss
