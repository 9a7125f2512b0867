"""SSD (Liu et al. 2015, "SSD: Single Shot MultiBox Detector", arXiv:1512.02325).

State-dict keys of torchvision's `ssd300_vgg16` are translated (`OTHER_NAMES`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.image_size import SizeLike
from edgecnn.zoo import head_settings
from edgecnn.zoo.heads.backbone import feature_maps
from edgecnn.zoo.heads.detector import Detector, OtherNames, Typical, draw_small, flattened
from edgecnn.zoo.vgg import vgg
from edgecnn.zoo.width import scale

#: Widths of the layers behind the backbone of any network (figure 2 of the paper): squeezed, and given.
_EXTRA = ((256, 512), (128, 256), (128, 256), (128, 256))


class MultiBoxHead(nn.Module):
    """For each default box scores, background first, and its offsets; a predictor of both for each map."""

    def __init__(
        self,
        channels: Sequence[int],
        ratios: Sequence[Sequence[float]],
        classes: int,
        predictor: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__()
        # A square, a larger one, and two boxes for each ratio.
        boxes = [2 + 2 * len(shapes) for shapes in ratios]
        self.columns = classes + 1
        pairs = list(zip(channels, boxes, strict=True))
        self.scores = nn.ModuleList(predictor(width, count * self.columns) for width, count in pairs)
        self.boxes = nn.ModuleList(predictor(width, count * 4) for width, count in pairs)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Map maps (N, C, H, W) to scores (N, A, classes + 1) and boxes (N, A, 4): dx, dy, dw, dh."""
        scores = [layer(x) for layer, x in zip(self.scores, maps, strict=True)]
        boxes = [layer(x) for layer, x in zip(self.boxes, maps, strict=True)]
        return {"scores": flattened(scores, self.columns), "boxes": flattened(boxes, 4)}

    @property
    def typical(self) -> Typical:
        """Most boxes are background."""
        return {"scores": ((5.0,) + (0.0,) * (self.columns - 1), 1.5), "boxes": ((0.0,) * 4, 1.0)}

    def reset_weights(self, generator: torch.Generator) -> None:
        """Draw small weights."""
        draw_small(self, generator, 0.03)


class ExtraMaps(nn.Module):
    """The backbone's maps, and smaller ones that further layers make of the last."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map the backbone's maps to all maps."""
        found = list(maps)
        for block in self.blocks:
            found.append(block(found[-1]))
        return found


def _extra(inputs: int, squeezed: int, outputs: int, stride: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, outputs, 3, stride, padding), nn.ReLU()
    )


def _plain(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class VGGMaps(nn.Module):
    """VGG-16 to its fourth stage and, with a finer fifth one and dilated filters, its first linear layer.

    The fourth stage's map is normalized in each place, to a length that is learned for each channel.
    """

    strides = (8, 16)

    def __init__(self, alpha: float, in_channels: int) -> None:
        super().__init__()
        layers = list(
            vgg(depth=16, batch_norm=False, alpha=alpha, num_classes=1, in_channels=in_channels).features
        )
        pools = [at for at, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        layers[pools[2]] = nn.MaxPool2d(2, ceil_mode=True)  # 75 pixels become 38
        width, wide = scale(512, alpha), scale(1024, alpha)
        self.length = nn.Parameter(torch.full((width,), 20.0))
        self.features = nn.Sequential(*layers[: pools[3]])
        self.fifth = nn.Sequential(*layers[pools[3] : pools[4]])
        self.linear = nn.Sequential(
            nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(width, wide, 3, padding=6, dilation=6), nn.ReLU(),
            nn.Conv2d(wide, wide, 1), nn.ReLU(),
        )  # fmt: skip
        self.channels = (width, wide)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, H, W) to maps of strides 8 and 16."""
        x = self.features(x)
        return self.length.view(1, -1, 1, 1) * F.normalize(x), self.linear(self.fifth(x))


class SSD300(Detector):
    """Figure 2 of the paper, for images of 300 pixels."""

    OTHER_NAMES: OtherNames = (
        (r"^backbone\.scale_weight$", "backbone.length"),
        (r"^backbone\.extra\.0\.7\.", "backbone.linear."),
        (r"^backbone\.extra\.0\.", "backbone.fifth."),
        (r"^backbone\.extra\.(\d+)\.", lambda at: f"neck.blocks.{int(at[1]) - 1}."),
        (r"^head\.classification_head\.module_list\.", "head.scores."),
        (r"^head\.regression_head\.module_list\.", "head.boxes."),
    )  # fmt: skip


def ssd300_vgg16(*, alpha: float, num_classes: int, in_channels: int) -> Detector:
    """Build SSD300 over VGG-16: 35,641,826 parameters with 90 classes."""
    backbone, blocks = VGGMaps(alpha, in_channels), []
    channels = list(backbone.channels)
    for at, (squeezed, outputs) in enumerate(_EXTRA):
        wide = scale(outputs, alpha)
        blocks.append(_extra(channels[-1], scale(squeezed, alpha), wide, *((2, 1) if at < 2 else (1, 0))))
        channels.append(wide)
    head = MultiBoxHead(channels, head_settings.SSD300["ratios"], num_classes, _plain)
    return SSD300(backbone, ExtraMaps(blocks), head)


def ssd(*, backbone: str, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> Detector:
    """Build SSD over any network with maps of strides 16 and 32; four further ones halve those."""
    maps = feature_maps(backbone, (4, 5), alpha=alpha, in_channels=in_channels, resolution=resolution)
    blocks, channels = [], list(maps.channels)
    for squeezed, outputs in _EXTRA:
        wide = scale(outputs, alpha)
        blocks.append(_extra(channels[-1], scale(squeezed, alpha), wide, 2, 1))
        channels.append(wide)
    head = MultiBoxHead(channels, head_settings.SSD["ratios"], num_classes, _plain)
    return Detector(maps, ExtraMaps(blocks), head)
