"""DeepLabV3 (Chen et al. 2017, "Rethinking Atrous Convolution for Semantic Image Segmentation").

arXiv:1706.05587. State-dict keys of torchvision's `deeplabv3_resnet50` and `deeplabv3_mobilenet_v3_large`
are translated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.image_size import SizeLike
from edgecnn.zoo.heads.backbone import dilate, feature_maps
from edgecnn.zoo.heads.fcn import fcn_head
from edgecnn.zoo.heads.segmenter import MobileSegmenter, Segmenter
from edgecnn.zoo.width import scale

#: Dilations of the pyramid's filters at a stride of 8 pixels.
_RATES = (12, 24, 36)


def _unit(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> list[nn.Module]:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


class ImagePooling(nn.Sequential):
    """What the whole image is like, at every place."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_unit(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return super().forward(x).expand(-1, -1, *x.shape[2:])


class AtrousPyramid(nn.Module):
    """Filters of several dilations side by side (figure 5 of the paper)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                nn.Sequential(*_unit(inputs, outputs)),
                *(nn.Sequential(*_unit(inputs, outputs, 3, rate)) for rate in _RATES),
                ImagePooling(inputs, outputs),
            ]
        )
        self.project = nn.Sequential(*_unit(len(self.convs) * outputs, outputs), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return self.project(torch.cat([conv(x) for conv in self.convs], 1))


def _head(inputs: int, width: int, classes: int) -> nn.Sequential:
    pyramid = AtrousPyramid(inputs, width)
    return nn.Sequential(pyramid, *_unit(width, width, 3), nn.Conv2d(width, classes, 1))


def deeplabv3(
    *, backbone: str, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike
) -> Segmenter:
    """Build DeepLabV3 over any network with maps of strides 16 and 32, which are dilated to 8."""
    maps = feature_maps(backbone, (4, 5), alpha=alpha, in_channels=in_channels, resolution=resolution)
    fine, coarse = maps.channels
    head = _head(coarse, scale(256, alpha), num_classes)
    return Segmenter(dilate(maps, 8), head, fcn_head(fine, num_classes))


def deeplabv3_mobilenet_v3_large(
    *, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike
) -> Segmenter:
    """Build DeepLabV3 over MobileNetV3-Large, dilated to 16: 11,029,328 parameters."""
    maps = feature_maps(
        "mobilenet_v3_large", (3, 5), alpha=alpha, in_channels=in_channels, resolution=resolution,
        modules={3: "features.4", 5: "features.16"},
    )  # fmt: skip
    fine, coarse = maps.channels
    head = _head(coarse, scale(256, alpha), num_classes)
    return MobileSegmenter(dilate(maps, 16, first=True), head, fcn_head(fine, num_classes))
