"""FCN (Long et al. 2014, "Fully Convolutional Networks for Semantic Segmentation", arXiv:1411.4038), dilated.

State-dict keys of torchvision's `fcn_resnet50` are translated (`Segmenter.OTHER_NAMES`).
"""

from __future__ import annotations

from torch import nn

from edgecnn.image_size import SizeLike
from edgecnn.zoo.heads.backbone import dilate, feature_maps
from edgecnn.zoo.heads.segmenter import Segmenter


def fcn_head(inputs: int, classes: int) -> nn.Sequential:
    """Return a 3x3 convolution of a quarter of the width, and the scores."""
    width = inputs // 4
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1),
        nn.Conv2d(width, classes, 1),
    )  # fmt: skip


def fcn(
    *, backbone: str, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike
) -> Segmenter:
    """Build an FCN over any network with maps of strides 16 and 32, which are dilated to 8."""
    maps = feature_maps(backbone, (4, 5), alpha=alpha, in_channels=in_channels, resolution=resolution)
    fine, coarse = maps.channels
    return Segmenter(dilate(maps, 8), fcn_head(coarse, num_classes), fcn_head(fine, num_classes))
