"""What segmenters share: class scores of every pixel of the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Return maps (N, C, h, w) in the height and width of `like`, bilinearly."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class Segmenter(nn.Module):
    """A head over the last map of a backbone; in training another one over the first, whose loss helps it."""

    OTHER_NAMES = ((r"^backbone\.(?!network\.)", "backbone.network."),)

    #: What the names of the tensors begin with that another number of classes changes.
    predictors = ("classifier.", "aux_classifier.")

    def __init__(self, backbone: nn.Module, classifier: nn.Module, auxiliary: nn.Module) -> None:
        super().__init__()
        self.backbone, self.classifier, self.aux_classifier = backbone, classifier, auxiliary

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Map (N, C, H, W) to logits (N, classes, H, W); in training to those and the auxiliary head's."""
        maps: Sequence[Tensor] = self.backbone(x)
        logits = enlarged(self.classifier(maps[-1]), x)
        return (logits, enlarged(self.aux_classifier(maps[0]), x)) if self.training else logits


class MobileSegmenter(Segmenter):
    """The same over torchvision's MobileNets, whose layers are numbered without a name before."""

    OTHER_NAMES = ((r"^backbone\.(?!network\.)", "backbone.network.features."),)
