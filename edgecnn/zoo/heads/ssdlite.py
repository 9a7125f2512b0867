"""SSDLite (Sandler et al. 2018, "MobileNetV2", arXiv:1801.04381, section 6.2): SSD of separable convolutions.

State-dict keys of torchvision's `ssdlite320_mobilenet_v3_large` are translated (`OTHER_NAMES`).
"""

from __future__ import annotations

import re

from torch import nn

from edgecnn.image_size import SizeLike
from edgecnn.zoo.head_settings import SSDLITE
from edgecnn.zoo.heads.backbone import feature_maps
from edgecnn.zoo.heads.detector import Detector, OtherNames
from edgecnn.zoo.heads.ssd import ExtraMaps, MultiBoxHead
from edgecnn.zoo.width import scale

#: Widths of the layers behind the backbone.
_EXTRA = (512, 256, 256, 128)
#: Where the papers attach it: to the expansion of the last stage's first block, and to the last layer.
_ATTACHED = {
    "mobilenet_v2": {4: "features.14.conv.0", 5: "features.18"},
    "mobilenet_v3_small": {4: "features.9.block.0", 5: "features.12"},
    "mobilenet_v3_large": {4: "features.13.block.0", 5: "features.16"},
}


def _unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03),
        nn.ReLU6(),
    )


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_unit(inputs, inputs, 3, groups=inputs), nn.Conv2d(inputs, outputs, 1))


def _extra(inputs: int, outputs: int) -> nn.Sequential:
    squeezed = outputs // 2
    return nn.Sequential(
        _unit(inputs, squeezed, 1),
        _unit(squeezed, squeezed, 3, 2, groups=squeezed),
        _unit(squeezed, outputs, 1),
    )


def _renumbered(at: re.Match[str]) -> str:
    """The block in whose middle the maps part is the 13th of the first part, and the first of the second."""
    part, block, layer = at[1], int(at[2]), at[3]
    if part == "0":
        return f"backbone.network.features.{block}." + (f"block.0.{layer}" if block == 13 else layer)
    if block == 0:
        return f"backbone.network.features.13.block.{layer}"
    return f"backbone.network.features.{13 + block}.{layer}"


class SSDLite(Detector):
    """SSD whose predictors and further layers filter depthwise."""

    OTHER_NAMES: OtherNames = (
        (r"^backbone\.features\.([01])\.(\d+)\.(.+)$", _renumbered),
        (r"^backbone\.extra\.", "neck.blocks."),
        (r"^head\.classification_head\.module_list\.", "head.scores."),
        (r"^head\.regression_head\.module_list\.", "head.boxes."),
    )


def ssdlite(
    *,
    backbone: str,
    alpha: float,
    num_classes: int,
    in_channels: int,
    resolution: SizeLike,
    reduced: bool = False,
) -> SSDLite:
    """Build SSDLite over any network with maps of strides 16 and 32; four further ones halve those.

    `reduced` halves the last stage of MobileNetV3 (section 6.3 of its paper).
    """
    maps = feature_maps(
        backbone, (4, 5), alpha=alpha, in_channels=in_channels, resolution=resolution,
        modules=_ATTACHED.get(backbone), arguments={"reduced": True} if reduced else None,
    )  # fmt: skip
    blocks, channels = [], list(maps.channels)
    for outputs in _EXTRA:
        wide = scale(outputs, alpha)
        blocks.append(_extra(channels[-1], wide))
        channels.append(wide)
    head = MultiBoxHead(channels, SSDLITE["ratios"], num_classes, _separable)
    return SSDLite(maps, ExtraMaps(blocks), head)
