"""FCOS (Tian et al. 2019, "FCOS: Fully Convolutional One-Stage Object Detection", arXiv:1904.01355).

State-dict keys of torchvision's `fcos_resnet50_fpn` are translated (`OTHER_NAMES`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgecnn.image_size import SizeLike
from edgecnn.zoo.heads import pyramid
from edgecnn.zoo.heads.backbone import feature_maps
from edgecnn.zoo.heads.detector import Detector, Typical, draw_small, flattened
from edgecnn.zoo.heads.retinanet import WIDTH, Scores, Tower, expect_rarely
from edgecnn.zoo.width import scale


class Distances(Tower):
    """Distances to the four sides, in strides, and how near the middle of its object a place is."""

    def __init__(self, width: int) -> None:
        super().__init__(width, norm=True)
        self.bbox_reg = nn.Conv2d(width, 4, 3, padding=1)
        self.bbox_ctrness = nn.Conv2d(width, 1, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Map (N, width, H, W) each to (N, 4, H, W) and (N, 1, H, W) each."""
        towers = [self.conv(x) for x in maps]
        return [self.relu(self.bbox_reg(x)) for x in towers], [self.bbox_ctrness(x) for x in towers]


class FCOSHead(nn.Module):
    """For each place of each map scores, a box and a centerness."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.columns = classes
        self.classification_head = Scores(width, classes, norm=True)
        self.regression_head = Distances(width)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Map maps to scores (N, A, classes), boxes (N, A, 4): left, top, right, bottom, and centerness."""
        scores, (boxes, centerness) = self.classification_head(maps), self.regression_head(maps)
        return {
            "scores": flattened(scores, self.columns),
            "boxes": flattened(boxes, 4),
            "centerness": flattened(centerness, 1),
        }

    @property
    def typical(self) -> Typical:
        """Most places are none of the classes."""
        return {
            "classification_head.cls_logits": ((-4.5,) * self.columns, 1.5),
            "regression_head.bbox_reg": ((3.0,) * 4, 1.5),
            "regression_head.bbox_ctrness": ((0.0,), 1.0),
        }

    def reset_weights(self, generator: torch.Generator) -> None:
        """Draw small weights, and let every score be rare."""
        draw_small(self, generator)
        expect_rarely(self.classification_head.cls_logits)


class FCOS(Detector):
    """Figure 2 of the paper."""

    OTHER_NAMES = pyramid.OTHER_NAMES


def fcos(*, backbone: str, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> FCOS:
    """Build FCOS over any network with maps of strides 8, 16 and 32."""
    maps = feature_maps(backbone, (3, 4, 5), alpha=alpha, in_channels=in_channels, resolution=resolution)
    width = scale(WIDTH, alpha)
    return FCOS(maps, pyramid.FeaturePyramid(maps.channels, width), FCOSHead(width, num_classes))
