"""U-Net (Ronneberger et al. 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
arXiv:1505.04597) with any network as its contracting path.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.image_size import SizeLike
from edgecnn.zoo.blocks import conv_bn_act
from edgecnn.zoo.catalog import architecture
from edgecnn.zoo.feature_layers import feature_layers
from edgecnn.zoo.features import FeatureMaps
from edgecnn.zoo.heads.backbone import feature_maps
from edgecnn.zoo.width import scale

#: Widths of the expanding path, from the last but one map up to the image itself.
_WIDTHS = (256, 128, 64, 32, 16)


class Up(nn.Module):
    """Enlarge, put the finer map beside it, and convolve twice (figure 1 of the paper)."""

    def __init__(self, coarse: int, fine: int, outputs: int) -> None:
        super().__init__()
        self.first = conv_bn_act(coarse + fine, outputs, 3, 1, act=nn.ReLU)
        self.second = conv_bn_act(outputs, outputs, 3, 1, act=nn.ReLU)

    def forward(self, coarse: Tensor, fine: Tensor | None, size: Sequence[int]) -> Tensor:
        """Map (N, coarse, h, w) and (N, fine, H, W), or None, to (N, outputs, H, W)."""
        x = F.interpolate(coarse, size=tuple(size))
        return self.second(self.first(x if fine is None else torch.cat([x, fine], 1)))


class UNet(nn.Module):
    """A contracting path, and an expanding one that reads each of its maps."""

    #: What the names of the tensors begin with that another number of classes changes.
    predictors = ("classifier.",)

    def __init__(self, backbone: FeatureMaps, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        coarse, *finer = reversed(backbone.channels)
        ups = []
        for fine, width in zip((*finer, 0), widths, strict=True):
            ups.append(Up(coarse, fine, width))
            coarse = width
        self.ups = nn.ModuleList(ups)
        self.classifier = nn.Conv2d(coarse, classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes, H, W)."""
        found, *finer = reversed(self.backbone(x))
        for up, fine in zip(self.ups, (*finer, None), strict=True):
            found = up(found, fine, (x if fine is None else fine).shape[2:])
        return self.classifier(found)


def unet(*, backbone: str, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> UNet:
    """Build a U-Net over any network with several maps."""
    levels = [layer.level for layer in feature_layers(architecture(backbone))]
    maps = feature_maps(backbone, levels, alpha=alpha, in_channels=in_channels, resolution=resolution)
    widths = [scale(width, alpha) for width in _WIDTHS[-len(levels) :]]
    return UNet(maps, widths, num_classes)
