"""MobileNetV3 (Howard et al. 2019, "Searching for MobileNetV3").

State-dict keys: torchvision's `mobilenet_v3_small` and `mobilenet_v3_large`.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgecnn.zoo.blocks import GlobalPool, SqueezeExcitation
from edgecnn.zoo.width import scale

#: (kernel, expanded channels, channels, squeeze and excitation, hard swish, stride) per layer.
Rows = tuple[tuple[int, int, int, bool, bool, int], ...]

#: Table 1 of the paper.
LARGE: Rows = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1), (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1),
)  # fmt: skip
#: Table 2 of the paper.
SMALL: Rows = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2), (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1),
)  # fmt: skip


#: Layers of the last stage, whose maps have a stride of 32 pixels.
_LAST_STAGE = 3


def _reduced(rows: Rows) -> Rows:
    """Return a table whose last stage is half as wide, for detectors (section 6.3)."""
    last = len(rows) - _LAST_STAGE
    return tuple(
        (row[0], row[1] // (1 + (at > last)), row[2] // (1 + (at >= last)), *row[3:])
        for at, row in enumerate(rows)
    )


def _unit(
    inputs: int, outputs: int, kernel: int, act: type[nn.Module] | None, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return convolution, batch normalization and, if one is given, an activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
        *([] if act is None else [act()]),
    )


class InvertedResidual(nn.Module):
    """Expand, filter depthwise, reweight the channels, project linearly (figure 4 of the paper).

    The gate is a hard sigmoid (section 5.2) and its hidden layer a quarter of the expansion (5.3).
    """

    def __init__(
        self, inputs: int, hidden: int, outputs: int, kernel: int, stride: int,
        act: type[nn.Module], *, expand: bool, squeeze: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        layers: list[nn.Module] = [_unit(inputs, hidden, 1, act)] if expand else []
        layers.append(_unit(hidden, hidden, kernel, act, stride, groups=hidden))
        if squeeze:
            layers.append(SqueezeExcitation(hidden, scale(hidden, 0.25), gate=nn.Hardsigmoid))
        layers.append(_unit(hidden, outputs, 1, None))
        self.block = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return x + self.block(x) if self.residual else self.block(x)


class MobileNetV3(nn.Module):
    """A table of layers between a 3x3 stem and two linear layers.

    Two rules of the width multiplier give the paper's figures for its 0.75 networks (table 3): the
    expansion is a multiple of the layer's scaled input, and, as in MobileNetV2, an alpha below 1 leaves
    the layer before the classifier.
    """

    def __init__(
        self,
        rows: Rows,
        last: int,
        *,
        alpha: float,
        num_classes: int,
        in_channels: int,
        reduced: bool = False,
    ) -> None:
        super().__init__()
        channels, wanted = scale(16, alpha), 16
        features: list[nn.Module] = [_unit(in_channels, channels, 3, nn.Hardswish, 2)]
        for kernel, expanded, given, squeeze, swish, stride in _reduced(rows) if reduced else rows:
            outputs = scale(given, alpha)
            act = nn.Hardswish if swish else nn.ReLU
            hidden = scale(expanded, channels / wanted)
            block = InvertedResidual(
                channels, hidden, outputs, kernel, stride, act,
                expand=expanded != wanted, squeeze=squeeze,
            )  # fmt: skip
            features.append(block)
            channels, wanted = outputs, given
        hidden, head = scale(6 * wanted, alpha), scale(last, max(1.0, alpha))
        features.append(_unit(channels, hidden, 1, nn.Hardswish))
        self.features = nn.Sequential(*features)
        self.global_pool = GlobalPool()
        self.classifier = nn.Sequential(
            nn.Linear(hidden, head), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(head, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.classifier(self.global_pool(self.features(x)))


def mobilenet_v3_small(*, alpha: float, num_classes: int, in_channels: int) -> MobileNetV3:
    """Build MobileNetV3-Small: 2,542,856 parameters at alpha 1."""
    return MobileNetV3(SMALL, 1024, alpha=alpha, num_classes=num_classes, in_channels=in_channels)


def mobilenet_v3_large(
    *, alpha: float, num_classes: int, in_channels: int, reduced: bool = False
) -> MobileNetV3:
    """Build MobileNetV3-Large: 5,483,032 parameters at alpha 1; `reduced` halves its last stage."""
    return MobileNetV3(
        LARGE, 1280, alpha=alpha, num_classes=num_classes, in_channels=in_channels, reduced=reduced
    )
