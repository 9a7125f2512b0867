"""RetinaNet (Lin et al. 2017, "Focal Loss for Dense Object Detection", arXiv:1708.02002).

State-dict keys of torchvision's `retinanet_resnet50_fpn` are translated (`OTHER_NAMES`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgecnn.image_size import SizeLike
from edgecnn.zoo.head_settings import RETINANET
from edgecnn.zoo.heads import pyramid
from edgecnn.zoo.heads.backbone import feature_maps
from edgecnn.zoo.heads.detector import PRIOR, Detector, OtherNames, Typical, draw_small, flattened
from edgecnn.zoo.width import scale

#: Width of all maps, and 3x3 convolutions before a prediction.
WIDTH, DEPTH = 256, 4
#: Channels of a group that is normalized together: at every width as many as at that one.
_GROUP = 8


class Tower(nn.Module):
    """Four 3x3 convolutions, which all levels share, before the layers that predict."""

    def __init__(self, width: int, norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(DEPTH):
            layers.append(nn.Conv2d(width, width, 3, padding=1))
            if norm:
                layers.append(nn.GroupNorm(width // _GROUP, width))
            layers.append(nn.ReLU())
        self.conv = nn.Sequential(*layers)


class Scores(Tower):
    """A score for each class."""

    def __init__(self, width: int, outputs: int, norm: bool = False) -> None:
        super().__init__(width, norm)
        self.cls_logits = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map (N, width, H, W) each to (N, outputs, H, W)."""
        return [self.cls_logits(self.conv(x)) for x in maps]


class Boxes(Tower):
    """The four numbers of each box."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(width)
        self.bbox_reg = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map (N, width, H, W) each to (N, outputs, H, W)."""
        return [self.bbox_reg(self.conv(x)) for x in maps]


class RetinaHead(nn.Module):
    """For each anchor independent scores, and the offsets of its box."""

    def __init__(self, width: int, anchors: int, classes: int) -> None:
        super().__init__()
        self.columns = classes
        self.classification_head = Scores(width, anchors * classes)
        self.regression_head = Boxes(width, anchors * 4)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Map maps (N, C, H, W) to scores (N, A, classes) and boxes (N, A, 4): dx, dy, dw, dh."""
        scores, boxes = self.classification_head(maps), self.regression_head(maps)
        return {"scores": flattened(scores, self.columns), "boxes": flattened(boxes, 4)}

    @property
    def typical(self) -> Typical:
        """Most anchors are none of the classes."""
        return {
            "classification_head.cls_logits": ((-4.5,) * self.columns, 1.5),
            "regression_head.bbox_reg": ((0.0,) * 4, 0.3),
        }

    def reset_weights(self, generator: torch.Generator) -> None:
        """Draw small weights, and let every score be rare (section 4.1)."""
        draw_small(self, generator)
        expect_rarely(self.classification_head.cls_logits)


def expect_rarely(layer: nn.Conv2d) -> None:
    """Let the layer's scores begin as those of what is rare."""
    assert layer.bias is not None
    nn.init.constant_(layer.bias, -math.log((1 - PRIOR) / PRIOR))


class RetinaNet(Detector):
    """Figure 3 of the paper."""

    OTHER_NAMES: OtherNames = (
        *pyramid.OTHER_NAMES,
        (r"_head\.conv\.(\d+)\.0\.", lambda at: f"_head.conv.{2 * int(at[1])}."),
    )


def retinanet(
    *, backbone: str, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike
) -> RetinaNet:
    """Build RetinaNet over any network with maps of strides 8, 16 and 32."""
    maps = feature_maps(backbone, (3, 4, 5), alpha=alpha, in_channels=in_channels, resolution=resolution)
    width = scale(WIDTH, alpha)
    anchors = len(RETINANET["ratios"]) * len(RETINANET["sizes"][0])
    return RetinaNet(
        maps, pyramid.FeaturePyramid(maps.channels, width), RetinaHead(width, anchors, num_classes)
    )
