"""What training minimises. An objective maps (network, images, targets) to a loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Weight of each auxiliary classifier's loss (Szegedy 2015, section 5).
AUXILIARY_WEIGHT = 0.3


def one_hot(labels: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Return labels, (N,) integers, as target distributions, (N, classes) float32.

    `smoothing` is spread evenly over all classes (Szegedy 2016, section 7). Images whose label is -1, for
    there is none, get a target of zero everywhere, which costs nothing whatever the answer.
    """
    targets = torch.full((len(labels), classes), smoothing / classes, device=labels.device)
    targets.scatter_(1, labels.clamp(min=0)[:, None], 1 - smoothing + smoothing / classes)
    return targets * (labels >= 0)[:, None]


def cross_entropy(outputs: Tensor | tuple[Tensor, ...], targets: Tensor) -> Tensor:
    """Return the mean cross entropy to target distributions; of (logits, auxiliary, ...) a weighted sum."""
    logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
    loss = F.cross_entropy(logits.float(), targets)
    for other in auxiliary:
        loss = loss + AUXILIARY_WEIGHT * F.cross_entropy(other.float(), targets)
    return loss


class Supervised(nn.Module):
    """Cross entropy to the labels."""

    def forward(self, network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of images, (N, C, H, W), with target distributions, (N, classes)."""
        return cross_entropy(network(images), targets)
