"""ResNet (He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition") and its widened kin.

Wide ResNet (Zagoruyko and Komodakis 2016) and ResNeXt (Xie et al. 2016, "Aggregated Residual
Transformations for Deep Neural Networks") change only the 3x3 convolution of a bottleneck.

State-dict keys: torchvision's. As there, a bottleneck strides in its 3x3 convolution ("version 1.5").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgecnn.zoo.width import scale


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (figure 5, left)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, outputs: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, outputs, 3, 1, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut (figure 5, right).

    With groups it is ResNeXt's block in its form (c): figure 3 of that paper shows why all three
    forms are the same function.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, outputs: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        first = self.first_width(width, groups)
        self.conv1 = nn.Conv2d(inputs, first, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.se = self.excitation(outputs)
        self.relu = nn.ReLU()
        self.downsample = self.shortcut(inputs, outputs, stride)

    def first_width(self, width: int, groups: int) -> int:
        """Return the number of channels that the 3x3 convolution reads."""
        return width

    def excitation(self, channels: int) -> nn.Module:
        """Return what the residual branch ends with."""
        return nn.Identity()

    def shortcut(self, inputs: int, outputs: int, stride: int) -> nn.Module:
        """Return the branch beside the convolutions."""
        return shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.se(self.bn3(self.conv3(out))) + self.downsample(x))


def shortcut(inputs: int, outputs: int, stride: int, kernel: int = 1) -> nn.Module:
    """Return the identity, or a projection where the shapes differ (section 3.3, option B)."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)
    )


#: Table 1 of the paper; depth: (block, number of blocks per stage).
DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """A 7x7 stem, four stages of residual blocks, global pooling and one linear layer.

    `groups` is ResNeXt's cardinality, `group_width` the channels of one group in the first stage.
    """

    #: Channels after the stem.
    stem_width = 64

    def __init__(
        self,
        *,
        block: type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, int, int, int],
        alpha: float,
        num_classes: int,
        in_channels: int,
        groups: int = 1,
        group_width: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels = scale(self.stem_width, alpha)
        self.conv1 = self.stem(in_channels, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        stages = []
        for stage, blocks in enumerate(layers):
            # Every group keeps a whole number of channels, and the tensor a multiple of 8.
            width = scale(groups * group_width * 2**stage, alpha, math.lcm(groups, 8))
            outputs = scale(64 * 2**stage, alpha) * block.expansion
            modules = []
            for index in range(blocks):
                modules.append(block(channels, width, outputs, 2 if stage and index == 0 else 1, groups))
                channels = outputs
            stages.append(nn.Sequential(*modules))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)

    def stem(self, in_channels: int, channels: int) -> nn.Module:
        """Return the first convolution: (N, C, H, W) to (N, channels, H / 2, W / 2)."""
        return nn.Conv2d(in_channels, channels, 7, 2, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.drop(torch.flatten(self.avgpool(x), 1)))


def resnet(
    *, depth: int, alpha: float, num_classes: int, in_channels: int, groups: int = 1, group_width: int = 64
) -> ResNet:
    """Build ResNet-`depth`.

    `group_width=128` gives Wide ResNet's bottlenecks with an inner width twice the usual;
    `groups=32, group_width=4` ResNeXt's "32x4d" (table 1 of that paper).
    """
    block, layers = DEPTHS[depth]
    return ResNet(
        block=block, layers=layers, alpha=alpha, num_classes=num_classes, in_channels=in_channels,
        groups=groups, group_width=group_width,
    )  # fmt: skip
