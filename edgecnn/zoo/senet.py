"""SENet (Hu, Shen, Albanie, Sun, Wu 2017, "Squeeze-and-Excitation Networks").

SE-ResNet-50, SE-ResNeXt-50 (32x4d) and SENet-154, the network of the authors' ILSVRC 2017 entry.
State-dict keys: timm's `seresnet50`, `seresnext50_32x4d` and `senet154`. timm's `legacy_senet154` is the
same network under other keys, but for the border of its max pooling, which Caffe rounds up.
"""

from __future__ import annotations

import math

from torch import nn

from edgecnn.zoo.blocks import SqueezeExcitation
from edgecnn.zoo.resnet import DEPTHS, Bottleneck, ResNet, shortcut

#: The reduction ratio r (section 6.1 of the paper).
REDUCTION = 16


class SEBottleneck(Bottleneck):
    """A bottleneck whose residual branch is reweighted by channel before the addition (figure 3)."""

    def excitation(self, channels: int) -> nn.Module:
        """Return the squeeze-and-excitation of the branch."""
        return SqueezeExcitation(channels, max(channels // REDUCTION, 1))


class SENet154Bottleneck(SEBottleneck):
    """SENet-154's: the first 1x1 has half the channels, a strided shortcut is 3x3 (appendix)."""

    def first_width(self, width: int, groups: int) -> int:
        """Return half the width of the 3x3 convolution, rounded up to a whole number per group."""
        return math.ceil(width / 2 / groups) * groups

    def shortcut(self, inputs: int, outputs: int, stride: int) -> nn.Module:
        """Return a shortcut that sees every pixel, where a 1x1 with stride 2 sees one in four."""
        return shortcut(inputs, outputs, stride, kernel=1 if stride == 1 else 3)


class SENet154(ResNet):
    """Three 3x3 convolutions in place of the 7x7, 64 groups of twice ResNeXt's width, dropout (appendix)."""

    stem_width = 128

    def stem(self, in_channels: int, channels: int) -> nn.Module:
        """Return three convolutions; the last one's batch normalization is the network's `bn1`."""
        inner = channels // 2
        return nn.Sequential(
            nn.Conv2d(in_channels, inner, 3, 2, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, inner, 3, 1, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, channels, 3, 1, 1, bias=False),
        )  # fmt: skip


def se_resnet(
    *, depth: int, alpha: float, num_classes: int, in_channels: int, groups: int = 1, group_width: int = 64
) -> ResNet:
    """Build SE-ResNet-`depth` or, with groups, SE-ResNeXt (table 1); `depth` is 50, 101 or 152."""
    return ResNet(
        block=SEBottleneck, layers=DEPTHS[depth][1], alpha=alpha, num_classes=num_classes,
        in_channels=in_channels, groups=groups, group_width=group_width,
    )  # fmt: skip


def senet154(*, alpha: float, num_classes: int, in_channels: int) -> SENet154:
    """Build SENet-154: 115,088,984 parameters at alpha 1; a ResNeXt-152 (64x4d) at heart."""
    return SENet154(
        block=SENet154Bottleneck, layers=DEPTHS[152][1], alpha=alpha, num_classes=num_classes,
        in_channels=in_channels, groups=64, group_width=4, dropout=0.2,
    )  # fmt: skip
