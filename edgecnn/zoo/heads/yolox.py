"""YOLOX (Ge et al. 2021, "YOLOX: Exceeding YOLO Series in 2021", arXiv:2107.08430).

State-dict keys of the reference implementation are translated (`OTHER_NAMES`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgecnn.image_size import SizeLike
from edgecnn.zoo.heads.backbone import feature_maps
from edgecnn.zoo.heads.csp import CSPDarknet, PathAggregation, Unit, unit
from edgecnn.zoo.heads.detector import Detector, Typical, draw_small, flattened
from edgecnn.zoo.heads.retinanet import expect_rarely
from edgecnn.zoo.width import scale

#: Widths of the neck's maps at width 1.
_WIDTHS = (256, 512, 1024)


class DecoupledHead(nn.Module):
    """Of each map its own layers: one branch for the classes, one for the boxes (figure 2 of the paper)."""

    def __init__(self, channels: Sequence[int], width: int, classes: int, depthwise: bool = False) -> None:
        super().__init__()
        self.columns = classes

        def branch() -> nn.Sequential:
            return nn.Sequential(*(unit(width, width, 3, depthwise=depthwise) for _ in range(2)))

        self.stems = nn.ModuleList(Unit(count, width, 1) for count in channels)
        self.cls_convs = nn.ModuleList(branch() for _ in channels)
        self.reg_convs = nn.ModuleList(branch() for _ in channels)
        self.cls_preds = nn.ModuleList(nn.Conv2d(width, classes, 1) for _ in channels)
        self.reg_preds = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in channels)
        self.obj_preds = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in channels)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Map maps to boxes (N, A, 4): cx, cy, log w, log h in cells, objectness (N, A, 1), and scores."""
        stems = [layer(x) for layer, x in zip(self.stems, maps, strict=True)]
        classes = [layer(x) for layer, x in zip(self.cls_convs, stems, strict=True)]
        boxes = [layer(x) for layer, x in zip(self.reg_convs, stems, strict=True)]
        return {
            "boxes": self._predicted(self.reg_preds, boxes, 4),
            "objectness": self._predicted(self.obj_preds, boxes, 1),
            "scores": self._predicted(self.cls_preds, classes, self.columns),
        }

    @staticmethod
    def _predicted(layers: nn.ModuleList, maps: Sequence[Tensor], columns: int) -> Tensor:
        return flattened([layer(x) for layer, x in zip(layers, maps, strict=True)], columns)

    @property
    def typical(self) -> Typical:
        """Most cells hold no object; what does is one of the classes."""
        return {
            "cls_preds": ((-2.0,) * self.columns, 1.5),
            "reg_preds": ((0.5, 0.5, 1.0, 1.0), 0.5),
            "obj_preds": ((-4.5,), 2.0),
        }

    def reset_weights(self, generator: torch.Generator) -> None:
        """Draw small weights for what predicts, and let every score be rare."""
        for layers in (self.cls_preds, self.reg_preds, self.obj_preds):
            draw_small(layers, generator)
        for layer in (*self.cls_preds, *self.obj_preds):
            assert isinstance(layer, nn.Conv2d)
            expect_rarely(layer)


class YOLOX(Detector):
    """Any backbone, a path aggregation neck and a decoupled head without anchors."""

    OTHER_NAMES = (
        (r"^backbone\.backbone\.", "backbone."),
        (r"^backbone\.((lateral|reduce|bu)_conv|C3_)", r"neck.\1"),
    )


def _over(
    backbone: nn.Module, channels: Sequence[int], depth: float, width: float, alpha: float, classes: int,
    depthwise: bool,
) -> YOLOX:  # fmt: skip
    widths = [scale(int(count * width), alpha) for count in _WIDTHS]
    neck = PathAggregation(channels, widths, round(3 * depth), depthwise)
    return YOLOX(backbone, neck, DecoupledHead(widths, widths[0], classes, depthwise))


def yolox_darknet(
    *, depth: float, width: float, alpha: float, num_classes: int, in_channels: int, depthwise: bool = False
) -> YOLOX:
    """Build YOLOX over its own backbone: 5,055,855 parameters at depth 0.33, width 0.375 (`yolox_tiny`)."""
    backbone = CSPDarknet(depth, width, alpha=alpha, in_channels=in_channels, depthwise=depthwise)
    return _over(backbone, backbone.channels, depth, width, alpha, num_classes, depthwise)


def yolox(*, backbone: str, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> YOLOX:
    """Build the neck and head of `yolox_nano` over any network with maps of strides 8, 16 and 32."""
    maps = feature_maps(backbone, (3, 4, 5), alpha=alpha, in_channels=in_channels, resolution=resolution)
    return _over(maps, maps.channels, 0.33, 0.25, alpha, num_classes, True)
