"""Xception (Chollet 2016, "Xception: Deep Learning with Depthwise Separable Convolutions").

State-dict keys: timm's `legacy_xception`, which holds the weights of the author's Keras network.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from edgecnn.zoo.blocks import GlobalPool
from edgecnn.zoo.width import scale


class SeparableConv(nn.Module):
    """A depthwise 3x3 and a pointwise convolution with nothing between them (section 4.7)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return self.pointwise(self.conv1(x))


class Block(nn.Module):
    """Separable convolutions, each after a ReLU and before batch normalization, and a shortcut (figure 5).

    `channels` lists what goes in and what each convolution gives. With `stride` 2 the branch ends in
    max pooling and the shortcut is a strided 1x1; `first_relu` is false where the stem has just done one.
    """

    def __init__(self, *channels: int, stride: int = 1, first_relu: bool = True) -> None:
        super().__init__()
        inputs, outputs = channels[0], channels[-1]
        self.skip: nn.Module = nn.Identity()
        self.skipbn: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.skipbn = nn.BatchNorm2d(outputs)
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.ReLU(), SeparableConv(before, after), nn.BatchNorm2d(after)]
        if stride != 1:
            layers.append(nn.MaxPool2d(3, stride, 1))
        self.rep = nn.Sequential(*layers[0 if first_relu else 1 :])

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.rep(x) + self.skipbn(self.skip(x))


class Xception(nn.Module):
    """Entry, middle and exit flow of figure 5: 36 convolutions in 14 modules.

    The first module (two plain convolutions) and the last (two separable ones) have no shortcut.
    """

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        first, c64, c128, c256, c728 = (scale(count, alpha) for count in (32, 64, 128, 256, 728))
        c1024, c1536, c2048 = (scale(count, alpha) for count in (1024, 1536, 2048))
        # The stem does not pad: 299 pixels become 149, then 147.
        self.conv1 = nn.Conv2d(in_channels, first, 3, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, c64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(c64)
        self.act = nn.ReLU()
        self.block1 = Block(c64, c128, c128, stride=2, first_relu=False)
        self.block2 = Block(c128, c256, c256, stride=2)
        self.block3 = Block(c256, c728, c728, stride=2)
        for number in range(4, 12):
            self.add_module(f"block{number}", Block(c728, c728, c728, c728))
        self.block12 = Block(c728, c728, c1024, stride=2)
        self.conv3 = SeparableConv(c1024, c1536)
        self.bn3 = nn.BatchNorm2d(c1536)
        self.conv4 = SeparableConv(c1536, c2048)
        self.bn4 = nn.BatchNorm2d(c2048)
        self.global_pool = GlobalPool()
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(c2048, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        x = self.act(self.bn1(self.conv1(x)))
        x = self.act(self.bn2(self.conv2(x)))
        for number in range(1, 13):
            x = self.get_submodule(f"block{number}")(x)
        x = self.act(self.bn3(self.conv3(x)))
        x = self.act(self.bn4(self.conv4(x)))
        return self.fc(self.drop(self.global_pool(x)))


def xception(*, alpha: float, num_classes: int, in_channels: int) -> Xception:
    """Build Xception: 22,855,952 parameters at alpha 1."""
    return Xception(alpha=alpha, num_classes=num_classes, in_channels=in_channels)
