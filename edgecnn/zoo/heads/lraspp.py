"""LR-ASPP (Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244, section 6.4).

State-dict keys of torchvision's `lraspp_mobilenet_v3_large` are translated (`OTHER_NAMES`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from edgecnn.image_size import SizeLike
from edgecnn.zoo.features import FeatureMaps
from edgecnn.zoo.heads.backbone import dilate, feature_maps
from edgecnn.zoo.heads.segmenter import MobileSegmenter, enlarged
from edgecnn.zoo.width import scale


class LiteHead(nn.Module):
    """A gate from the whole image on a coarse map, and a fine map added to it (figure 10 of the paper)."""

    def __init__(self, fine: int, coarse: int, width: int, classes: int) -> None:
        super().__init__()
        self.cbr = nn.Sequential(nn.Conv2d(coarse, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(coarse, width, 1, bias=False), nn.Sigmoid()
        )
        self.low_classifier = nn.Conv2d(fine, classes, 1)
        self.high_classifier = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map a fine map (N, fine, h, w) and a coarse one to scores (N, classes, h, w)."""
        fine, coarse = maps
        gated = self.cbr(coarse) * self.scale(coarse)
        return self.low_classifier(fine) + self.high_classifier(enlarged(gated, fine))


class LRASPP(nn.Module):
    """The head over maps of strides 8 and 16."""

    OTHER_NAMES = MobileSegmenter.OTHER_NAMES
    #: What the names of the tensors begin with that another number of classes changes.
    predictors = ("classifier.low_classifier.", "classifier.high_classifier.")

    def __init__(self, backbone: FeatureMaps, width: int, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        fine, coarse = backbone.channels
        self.classifier = LiteHead(fine, coarse, width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes, H, W)."""
        return enlarged(self.classifier(self.backbone(x)), x)


def _over(
    backbone: str,
    alpha: float,
    classes: int,
    in_channels: int,
    resolution: SizeLike,
    modules: Mapping[int, str] | None = None,
) -> LRASPP:
    maps = feature_maps(
        backbone, (3, 5), alpha=alpha, in_channels=in_channels, resolution=resolution, modules=modules
    )
    return LRASPP(dilate(maps, 16, first=True), scale(128, alpha), classes)


def lraspp(
    *, backbone: str, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike
) -> LRASPP:
    """Build LR-ASPP over any network with maps of strides 8 and 32, which is dilated to 16."""
    return _over(backbone, alpha, num_classes, in_channels, resolution)


def lraspp_mobilenet_v3_large(
    *, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike
) -> LRASPP:
    """Build LR-ASPP over MobileNetV3-Large: 3,221,538 parameters."""
    modules = {3: "features.4", 5: "features.16"}
    return _over("mobilenet_v3_large", alpha, num_classes, in_channels, resolution, modules)
