"""GhostNet (Han et al. 2020, "GhostNet: More Features from Cheap Operations").

State-dict keys: timm's `ghostnet_100`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.zoo.blocks import SqueezeExcitation
from edgecnn.zoo.width import scale

#: Table 1 of the paper, stage by stage: (kernel, inner channels, channels, squeeze-and-excitation, stride).
STAGES: tuple[tuple[tuple[int, int, int, bool, int], ...], ...] = (
    ((3, 16, 16, False, 1),),
    ((3, 48, 24, False, 2),),
    ((3, 72, 24, False, 1),),
    ((5, 72, 40, True, 2),),
    ((5, 120, 40, True, 1),),
    ((3, 240, 80, False, 2),),
    (
        (3, 200, 80, False, 1), (3, 184, 80, False, 1), (3, 184, 80, False, 1), (3, 480, 112, True, 1),
        (3, 672, 112, True, 1),
    ),
    ((5, 672, 160, True, 2),),
    ((5, 960, 160, False, 1), (5, 960, 160, True, 1), (5, 960, 160, False, 1), (5, 960, 160, True, 1)),
)  # fmt: skip


class GhostModule(nn.Module):
    """Half of the channels by a 1x1 convolution, the other half by a 3x3 filter on each of those."""

    def __init__(self, inputs: int, outputs: int, act: bool) -> None:
        super().__init__()
        primary = -(-outputs // 2)
        self.outputs = outputs
        self.primary_conv = _conv_norm(inputs, primary, 1, act=act)
        self.cheap_operation = _conv_norm(primary, primary, 3, groups=primary, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        x = self.primary_conv(x)
        return torch.cat([x, self.cheap_operation(x)], 1)[:, : self.outputs]


def _conv_norm(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, act: bool = False
) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([nn.ReLU()] if act else []))


class GhostBottleneck(nn.Module):
    """Expand and project by ghost modules; with stride 2 a depthwise convolution between (figure 3)."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, kernel: int, stride: int, squeezed: int
    ) -> None:
        super().__init__()
        self.ghost1 = GhostModule(inputs, hidden, act=True)
        self.conv_dw: nn.Module = nn.Identity()
        self.bn_dw: nn.Module = nn.Identity()
        if stride > 1:
            self.conv_dw = nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False)
            self.bn_dw = nn.BatchNorm2d(hidden)
        self.se = (
            SqueezeExcitation(hidden, squeezed, gate=nn.Hardsigmoid, names=("conv_reduce", "conv_expand"))
            if squeezed
            else nn.Identity()
        )
        self.ghost2 = GhostModule(hidden, outputs, act=False)
        self.shortcut = (
            nn.Sequential()
            if stride == 1 and inputs == outputs
            else nn.Sequential(
                *_conv_norm(inputs, inputs, kernel, stride=stride, groups=inputs),
                *_conv_norm(inputs, outputs, 1),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.bn_dw(self.conv_dw(self.ghost1(x)))
        return self.ghost2(self.se(out)) + self.shortcut(x)


class ConvAct(nn.Module):
    """A 1x1 convolution with batch normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return self.act(self.bn1(self.conv(x)))


class GhostNet(nn.Module):
    """A 3x3 stem, ghost bottlenecks from a table, and a 1x1 convolution on the pooled vector."""

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        channels = scale(16, alpha, 4)
        self.conv_stem = nn.Conv2d(in_channels, channels, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU()
        stages, hidden = [], channels
        for rows in STAGES:
            blocks = []
            for kernel, inner, wanted, squeeze, stride in rows:
                hidden, outputs = scale(inner, alpha, 4), scale(wanted, alpha, 4)
                squeezed = _multiple_of_four(hidden / 4) if squeeze else 0
                blocks.append(GhostBottleneck(channels, hidden, outputs, kernel, stride, squeezed))
                channels = outputs
            stages.append(nn.Sequential(*blocks))
        stages.append(nn.Sequential(ConvAct(channels, hidden)))
        self.blocks = nn.Sequential(*stages)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        head = scale(1280, alpha)
        self.conv_head = nn.Conv2d(hidden, head, 1)
        self.act2 = nn.ReLU()
        self.drop = nn.Dropout(0.2)
        self.classifier = nn.Linear(head, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = self.blocks(self.act1(self.bn1(self.conv_stem(x))))
        x = self.act2(self.conv_head(self.global_pool(x)))
        return self.classifier(self.drop(torch.flatten(x, 1)))


def _multiple_of_four(channels: float) -> int:
    """Return the nearest multiple of 4, at least 4 and never under 90 %."""
    rounded = max(4, int(channels + 2) // 4 * 4)
    return rounded + 4 if rounded < 0.9 * channels else rounded


def ghostnet(*, alpha: float, num_classes: int, in_channels: int) -> GhostNet:
    """Build GhostNet: 5,182,508 parameters at alpha 1; alpha is the paper's width multiplier."""
    return GhostNet(alpha=alpha, num_classes=num_classes, in_channels=in_channels)
