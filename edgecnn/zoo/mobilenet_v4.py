"""MobileNetV4 (Qin et al. 2024, "MobileNetV4: Universal Models for the Mobile Ecosystem").

State-dict keys: timm's `mobilenetv4_conv_small`, `medium` and `large`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.zoo.blocks import ConvNormAct
from edgecnn.zoo.width import scale


class ConvBlock(nn.Module):
    """A convolution with batch normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.act(self.bn1(self.conv(x)))


class FusedBottleneck(nn.Module):
    """Expand by a 3x3 convolution, project linearly: the first stage of the larger networks (FusedIB)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.conv_exp = nn.Conv2d(inputs, hidden, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.act = nn.ReLU()
        self.conv_pwl = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.bn2(self.conv_pwl(self.act(self.bn1(self.conv_exp(x)))))
        return x + out if self.residual else out


class UniversalInvertedBottleneck(nn.Module):
    """Expand and project, with a depthwise convolution before, between, both or neither (figure 4).

    `start` and `middle` are the kernels of the two; 0 leaves one out. Middle only is MobileNetV2's
    block, start only ConvNeXt's, neither a transformer's feed-forward layer, both the paper's ExtraDW.
    """

    def __init__(
        self, inputs: int, outputs: int, start: int, middle: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        # The stride belongs to the depthwise convolution in the middle, if there is one.
        strides = (1, stride) if middle else (stride, 1)
        self.dw_start = (
            ConvNormAct(inputs, inputs, start, strides[0], inputs, act=False) if start else nn.Identity()
        )
        self.pw_exp = ConvNormAct(inputs, hidden, 1)
        self.dw_mid = ConvNormAct(hidden, hidden, middle, strides[1], hidden) if middle else nn.Identity()
        self.pw_proj = ConvNormAct(hidden, outputs, 1, act=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.pw_proj(self.dw_mid(self.pw_exp(self.dw_start(x))))
        return x + out if self.residual else out


Stages = tuple[tuple[tuple[int, ...], ...], ...]
#: The paper's tables, stage by stage. A convolution: (kernel, channels, stride); a fused bottleneck:
#: (kernel, channels, stride, expansion); a universal one: (start kernel, middle kernel, channels, stride,
#: expansion).
CONV_SMALL: Stages = (
    ((3, 32, 2), (1, 32, 1)),
    ((3, 96, 2), (1, 64, 1)),
    ((5, 5, 96, 2, 3), *[(0, 3, 96, 1, 2)] * 4, (3, 0, 96, 1, 4)),
    ((3, 3, 128, 2, 6), (5, 5, 128, 1, 4), (0, 5, 128, 1, 4), (0, 5, 128, 1, 3), *[(0, 3, 128, 1, 4)] * 2),
    ((1, 960, 1),),
)
CONV_MEDIUM: Stages = (
    ((3, 48, 2, 4),),
    ((3, 5, 80, 2, 4), (3, 3, 80, 1, 2)),
    (
        (3, 5, 160, 2, 6), *[(3, 3, 160, 1, 4)] * 2, (3, 5, 160, 1, 4), (3, 3, 160, 1, 4), (3, 0, 160, 1, 4),
        (0, 0, 160, 1, 2), (3, 0, 160, 1, 4),
    ),
    (
        (5, 5, 256, 2, 6), (5, 5, 256, 1, 4), *[(3, 5, 256, 1, 4)] * 2, (0, 0, 256, 1, 4), (3, 0, 256, 1, 4),
        (3, 5, 256, 1, 2), (5, 5, 256, 1, 4), *[(0, 0, 256, 1, 4)] * 2, (5, 0, 256, 1, 2),
    ),
    ((1, 960, 1),),
)  # fmt: skip
CONV_LARGE: Stages = (
    ((3, 48, 2, 4),),
    ((3, 5, 96, 2, 4), (3, 3, 96, 1, 4)),
    (
        (3, 5, 192, 2, 4), *[(3, 3, 192, 1, 4)] * 3, (3, 5, 192, 1, 4), *[(5, 3, 192, 1, 4)] * 5,
        (3, 0, 192, 1, 4),
    ),
    (
        (5, 5, 512, 2, 4), *[(5, 5, 512, 1, 4)] * 3, (5, 0, 512, 1, 4), (5, 3, 512, 1, 4),
        *[(5, 0, 512, 1, 4)] * 2, (5, 3, 512, 1, 4), (5, 5, 512, 1, 4), *[(5, 0, 512, 1, 4)] * 3,
    ),
    ((1, 960, 1),),
)  # fmt: skip


class MobileNetV4(nn.Module):
    """A 3x3 stem, stages from a table, global pooling, and a 1x1 convolution on the pooled vector."""

    def __init__(
        self,
        stages: Stages,
        *,
        stem: int,
        alpha: float,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        channels = scale(stem, alpha)
        self.conv_stem = nn.Conv2d(in_channels, channels, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()
        modules = []
        for stage in stages:
            blocks: list[nn.Module] = []
            for row in stage:
                if len(row) == 3:
                    kernel, wanted, stride = row
                    outputs = scale(wanted, alpha)
                    blocks.append(ConvBlock(channels, outputs, kernel, stride))
                elif len(row) == 4:
                    kernel, wanted, stride, expansion = row
                    outputs = scale(wanted, alpha)
                    blocks.append(FusedBottleneck(channels, outputs, kernel, stride, expansion))
                else:
                    start, middle, wanted, stride, expansion = row
                    outputs = scale(wanted, alpha)
                    blocks.append(
                        UniversalInvertedBottleneck(channels, outputs, start, middle, stride, expansion)
                    )
                channels = outputs
            modules.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*modules)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        head = scale(1280, alpha)
        self.conv_head = nn.Conv2d(channels, head, 1, bias=False)
        self.norm_head = nn.BatchNorm2d(head)
        self.classifier = nn.Linear(head, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = self.blocks(self.act(self.bn1(self.conv_stem(x))))
        x = self.act(self.norm_head(self.conv_head(self.global_pool(x))))
        return self.classifier(torch.flatten(x, 1))


#: Channels of the stem, and the stages.
SIZES: dict[str, tuple[int, Stages]] = {
    "small": (32, CONV_SMALL), "medium": (32, CONV_MEDIUM), "large": (24, CONV_LARGE)
}  # fmt: skip


def mobilenet_v4_conv(*, size: str, alpha: float, num_classes: int, in_channels: int) -> MobileNetV4:
    """Build MNv4-Conv-S, M or L; convolution, batch normalization and ReLU only."""
    stem, stages = SIZES[size]
    return MobileNetV4(stages, stem=stem, alpha=alpha, num_classes=num_classes, in_channels=in_channels)
