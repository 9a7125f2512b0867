"""MnasNet (Tan et al. 2018, "MnasNet: Platform-Aware Neural Architecture Search for Mobile").

MnasNet-B1: the network of the paper's first version, found in a search space without squeeze and
excitation (A1 is the later one with it). State-dict keys: torchvision's `mnasnet0_5` to `mnasnet1_3`.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgecnn.zoo.blocks import GlobalPool
from edgecnn.zoo.width import scale

#: Momentum of the running statistics: the published weights were trained with 0.9997 of the old.
_MOMENTUM = 3e-4

#: (kernel, channels, layers, stride of the first layer, expansion) per stage.
STAGES = (
    (3, 24, 3, 2, 3), (5, 40, 3, 2, 3), (5, 80, 3, 2, 6),
    (3, 96, 2, 1, 6), (5, 192, 4, 2, 6), (3, 320, 1, 1, 6),
)  # fmt: skip


def _unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution and its batch normalization."""
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, momentum=_MOMENTUM),
    ]


class InvertedResidual(nn.Module):
    """MobileNetV2's block with ReLU and a 3x3 or 5x5 kernel."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.layers = nn.Sequential(
            *_unit(inputs, hidden, 1), nn.ReLU(),
            *_unit(hidden, hidden, kernel, stride, groups=hidden), nn.ReLU(),
            *_unit(hidden, outputs, 1),
        )  # fmt: skip
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return x + self.layers(x) if self.residual else self.layers(x)


class MnasNet(nn.Module):
    """A 3x3 stem, one separable convolution, six searched stages, a 1x1 and a linear layer.

    As in MobileNetV2, the last layer is never narrower than 1280 channels.
    """

    def __init__(self, *, width: float, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        stem, channels = (scale(scale(count, width), alpha) for count in (32, 16))
        layers = [*_unit(in_channels, stem, 3, 2), nn.ReLU()]
        layers += [*_unit(stem, stem, 3, groups=stem), nn.ReLU(), *_unit(stem, channels, 1)]
        for kernel, wanted, depth, stride, expansion in STAGES:
            outputs = scale(scale(wanted, width), alpha)
            blocks = []
            for index in range(depth):
                step = stride if index == 0 else 1
                blocks.append(InvertedResidual(channels, outputs, kernel, step, expansion))
                channels = outputs
            layers.append(nn.Sequential(*blocks))
        last = scale(1280, max(1.0, alpha))
        layers += [*_unit(channels, last, 1), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.global_pool = GlobalPool()
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.classifier(self.global_pool(self.layers(x)))


def mnasnet(*, width: float, alpha: float, num_classes: int, in_channels: int) -> MnasNet:
    """Build MnasNet-B1 at one of its published widths, 0.5 to 1.3; `alpha` scales it further."""
    return MnasNet(width=width, alpha=alpha, num_classes=num_classes, in_channels=in_channels)
