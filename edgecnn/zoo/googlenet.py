"""GoogLeNet (Szegedy et al. 2014, "Going Deeper with Convolutions").

Two forms. `googlenet` is the paper's: biases, local response normalization, a true 5x5 branch.
`googlenet_bn` is torchvision's, with its state-dict keys: batch normalization instead of both, as in
Ioffe and Szegedy 2015, a 3x3 where the 5x5 should be, and a last max pooling of 2x2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.zoo.blocks import LocalResponseNorm
from edgecnn.zoo.width import scale

#: Table 1 of the paper; module: (1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection).
INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Unit(nn.Module):
    """A convolution and ReLU, with batch normalization between them or else with a bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bn: bool, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not bn)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3) if bn else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Four branches over the same input, concatenated by channel (figure 2b)."""

    def __init__(self, inputs: int, widths: tuple[int, ...], bn: bool) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pool = widths
        self.branch1 = Unit(inputs, one, 1, bn)
        self.branch2 = nn.Sequential(Unit(inputs, reduce3, 1, bn), Unit(reduce3, three, 3, bn))
        self.branch3 = nn.Sequential(Unit(inputs, reduce5, 1, bn), Unit(reduce5, five, 3 if bn else 5, bn))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), Unit(inputs, pool, 1, bn))
        self.outputs = one + three + five + pool

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Auxiliary(nn.Module):
    """A classifier on an intermediate feature map, for training only (section 5).

    The average pooling gives 4x4 cells for any input; the paper's 5x5 with stride 3 does for 14x14.
    """

    def __init__(self, inputs: int, alpha: float, num_classes: int, bn: bool) -> None:
        super().__init__()
        reduced, hidden = scale(128, alpha), scale(1024, alpha)
        self.conv = Unit(inputs, reduced, 1, bn)
        self.fc1 = nn.Linear(reduced * 4 * 4, hidden)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to logits (N, classes)."""
        x = torch.flatten(self.conv(F.adaptive_avg_pool2d(x, 4)), 1)
        return self.fc2(self.dropout(self.relu(self.fc1(x))))


def _lrn() -> nn.Module:
    """Return the normalization of Krizhevsky et al. 2012 (section 3.3), its alpha divided by the size."""
    return LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


class GoogLeNet(nn.Module):
    """Table 1 of the paper: two convolutional stages, nine inception modules, one linear layer."""

    def __init__(self, *, bn: bool, aux: bool, alpha: float, num_classes: int, in_channels: int) -> None:
        super().__init__()
        stem, second = scale(64, alpha), scale(192, alpha)
        self.conv1 = Unit(in_channels, stem, 7, bn, stride=2)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.norm1 = nn.Identity() if bn else _lrn()
        self.conv2 = Unit(stem, stem, 1, bn)
        self.conv3 = Unit(stem, second, 3, bn)
        self.norm2 = nn.Identity() if bn else _lrn()
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.pool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.pool4 = nn.MaxPool2d(2 if bn else 3, 2, ceil_mode=True)
        channels, width = second, {}
        for name, wanted in INCEPTION.items():
            module = Inception(channels, tuple(scale(count, alpha) for count in wanted), bn)
            self.add_module(f"inception{name}", module)
            channels = width[name] = module.outputs
        self.aux1 = Auxiliary(width["4a"], alpha, num_classes, bn) if aux else None
        self.aux2 = Auxiliary(width["4d"], alpha, num_classes, bn) if aux else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2 if bn else 0.4)
        self.fc = nn.Linear(channels, num_classes)

    def _inception(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = self.get_submodule(f"inception{name}")(x)
        return x

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map (N, C, H, W) to logits (N, classes).

        In training mode, with auxiliary classifiers: to (logits, aux1, aux2), each (N, classes). The
        paper adds the two losses with a weight of 0.3.
        """
        x = self.norm1(self.pool1(self.conv1(x)))
        x = self.pool2(self.norm2(self.conv3(self.conv2(x))))
        x = self.pool3(self._inception(x, "3a", "3b"))
        first = self._inception(x, "4a")
        second = self._inception(first, "4b", "4c", "4d")
        x = self.pool4(self._inception(second, "4e"))
        x = self._inception(x, "5a", "5b")
        logits = self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return logits, self.aux1(first), self.aux2(second)
        return logits


def googlenet(*, alpha: float, num_classes: int, in_channels: int, aux: bool = False) -> GoogLeNet:
    """Build the paper's GoogLeNet: 6,998,552 parameters at alpha 1.

    That is the network that is deployed. `aux=True` adds the two auxiliary classifiers, 6,379,728
    parameters more, which training needs and nothing else.
    """
    return GoogLeNet(bn=False, aux=aux, alpha=alpha, num_classes=num_classes, in_channels=in_channels)


def googlenet_bn(*, alpha: float, num_classes: int, in_channels: int, aux: bool = True) -> GoogLeNet:
    """Build torchvision's GoogLeNet: 13,004,888 parameters, 6,624,904 without auxiliary classifiers."""
    return GoogLeNet(bn=True, aux=aux, alpha=alpha, num_classes=num_classes, in_channels=in_channels)
